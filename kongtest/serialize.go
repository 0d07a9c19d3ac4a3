package kongtest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// serialized is what kong.log.serialize gives log plugins, as far as an auth
// plugin can have a part in it: headers and query arguments as plugins have
// changed them, the URL as the client sent it.
func (x *exchange) serialized() string {
	headers := headerTable(x.up.Header, 100)
	for _, name := range []string{"authorization", "proxy-authorization"} {
		if headers[name] != nil {
			headers[name] = "REDACTED"
		}
	}
	upstream := x.up.Path
	if x.up.RawQuery != "" {
		upstream += "?" + x.up.RawQuery
	}
	request := map[string]any{
		"id": x.req.Vars["kong_request_id"], "method": x.req.Method, "uri": x.req.URI,
		"url":         x.req.Scheme + "://" + x.req.Host + ":" + tostring(float64(x.req.Port)) + x.req.URI,
		"querystring": queryTable(x.up.RawQuery, 100), "headers": headers,
	}
	root := map[string]any{
		"request": request, "client_ip": x.req.Forwarded.Addr().String(),
		"upstream_uri": upstream, "started_at": x.started.UnixMilli(),
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

// setPath sets a value below a dotted key, making tables on the way; nil takes
// the key out.
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
