package kongtest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"kong-vault-auth/kongtest/internal/lua"
	"kong-vault-auth/kongtest/internal/nginx"
)

var pdkLog = map[string]pdkFunc{
	"kong.log.alert":               logAt("alert"),
	"kong.log.crit":                logAt("crit"),
	"kong.log.err":                 logAt("error"),
	"kong.log.warn":                logAt("warn"),
	"kong.log.notice":              logAt("notice"),
	"kong.log.info":                logAt("info"),
	"kong.log.debug":               logAt("debug"),
	"kong.log.set_serialize_value": setSerializeValue,
	"kong.log.serialize": func(x *Exchange, _ []any) (any, error) {
		return x.Serialized(), nil
	},
}

func logAt(level string) pdkFunc {
	return func(x *Exchange, args []any) (any, error) {
		var b strings.Builder
		for _, a := range args {
			b.WriteString(lua.ToString(a))
		}
		x.Log(level, b.String())
		return nil, nil
	}
}

func setSerializeValue(x *Exchange, args []any) (any, error) {
	if x.serialize == nil {
		x.serialize = map[string]any{}
	}
	x.serialize[lua.Text(args[0])] = args[1]
	return nil, nil
}

// Serialized returns what kong.log.serialize gives log plugins, as far as an
// auth plugin can influence it: headers and query arguments as plugins have
// changed them, the URL as the client sent it.
func (x *Exchange) Serialized() string {
	headers := headerTable(x.Upstream.Header, 100)
	for _, name := range []string{"authorization", "proxy-authorization"} {
		if headers[name] != nil {
			headers[name] = "REDACTED"
		}
	}
	upstream := x.Upstream.Path
	if x.Upstream.RawQuery != "" {
		upstream += "?" + x.Upstream.RawQuery
	}
	request := map[string]any{
		"id": x.Request.Vars["kong_request_id"], "method": x.Request.Method, "uri": x.Request.URI,
		"url":         x.Request.Scheme + "://" + x.Request.Host + ":" + lua.ToString(float64(x.Request.Port)) + x.Request.URI,
		"querystring": nginx.ParseArgs(x.Upstream.RawQuery, 100), "headers": headers,
	}
	root := map[string]any{
		"request": request, "client_ip": x.Request.Forwarded.Addr().String(),
		"upstream_uri": upstream, "started_at": x.Started.UnixMilli(),
	}
	if x.consumer != nil {
		root["consumer"] = x.consumer
	}
	if x.credential != nil {
		root["authenticated_entity"] = map[string]any{"id": x.credential["id"]}
	}
	for _, key := range slices.Sorted(maps.Keys(x.serialize)) {
		setPath(root, strings.Split(key, "."), x.serialize[key])
	}
	b, err := json.Marshal(root)
	if err != nil {
		return "{}"
	}
	return string(b)
}

// setPath sets a value below a dotted key, and makes the tables on the way; nil removes
// the key.
func setPath(t map[string]any, path []string, v any) {
	for _, key := range path[:len(path)-1] {
		next, ok := t[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			t[key] = next
		}
		t = next
	}
	if v == nil {
		delete(t, path[len(path)-1])
		return
	}
	t[path[len(path)-1]] = v
}
