package kongtest

import (
	"net"
	"slices"
	"strings"

	"kong-vault-auth/kongtest/internal/lua"
	"kong-vault-auth/kongtest/internal/nginx"
)

var pdkService = map[string]pdkFunc{
	"kong.service.set_upstream": func(*Exchange, []any) (any, error) {
		return nil, nil // there are no upstream entities here
	},
	"kong.service.set_target": func(x *Exchange, args []any) (any, error) {
		host, port := lua.Text(args[0]), args[1].(float64)
		if port < 0 || port > 65535 {
			return nil, raise("port must be an integer between 0 and 65535: given %s", lua.ToString(port))
		}
		x.Upstream.Host = host
		x.Upstream.Address = net.JoinHostPort(host, lua.ToString(port))
		return nil, nil
	},
}

var pdkServiceRequest = map[string]pdkFunc{
	"kong.service.request.set_scheme": func(x *Exchange, args []any) (any, error) {
		scheme := lua.Text(args[0])
		if scheme != "http" && scheme != "https" {
			return nil, raise("invalid scheme: %s", scheme)
		}
		x.Upstream.Scheme = scheme
		return nil, nil
	},
	"kong.service.request.set_path": func(x *Exchange, args []any) (any, error) {
		path := lua.Text(args[0])
		if !strings.HasPrefix(path, "/") {
			return nil, raise("path must start with /")
		}
		x.Upstream.Path = nginx.EscapePath(path)
		return nil, nil
	},
	"kong.service.request.set_raw_query": func(x *Exchange, args []any) (any, error) {
		x.Upstream.RawQuery = nginx.EscapeArgs(lua.Text(args[0]))
		return nil, nil
	},
	"kong.service.request.set_query": func(x *Exchange, args []any) (any, error) {
		t, _ := args[0].(map[string]any)
		query, err := nginx.EncodeArgs(t)
		if err != nil {
			return nil, &LuaError{err.Error()}
		}
		x.Upstream.RawQuery = query
		return nil, nil
	},
	"kong.service.request.set_method": func(x *Exchange, args []any) (any, error) {
		method := lua.Text(args[0])
		if !slices.Contains(settableMethods, method) {
			return nil, raise("invalid method: %s", method)
		}
		x.Upstream.Method = method
		return nil, nil
	},
	"kong.service.request.set_header": func(x *Exchange, args []any) (any, error) {
		return nil, x.setUpstreamHeader(lua.Text(args[0]), args[1])
	},
	"kong.service.request.add_header": func(x *Exchange, args []any) (any, error) {
		name := lua.Text(args[0])
		values, err := headerValues(name, args[1])
		for _, v := range values {
			x.Upstream.Header = append(x.Upstream.Header, Header{name, v})
		}
		return nil, err
	},
	"kong.service.request.clear_header": func(x *Exchange, args []any) (any, error) {
		x.Upstream.Header = setHeader(x.Upstream.Header, lua.Text(args[0]))
		return nil, nil
	},
	"kong.service.request.set_headers": func(x *Exchange, args []any) (any, error) {
		t, _ := args[0].(map[string]any)
		for name, v := range t {
			if _, err := headerValues(name, v); err != nil {
				return nil, err
			}
		}
		for name, v := range t {
			if err := x.setUpstreamHeader(name, v); err != nil {
				return nil, err
			}
		}
		return nil, nil
	},
	"kong.service.request.set_raw_body": func(x *Exchange, args []any) (any, error) {
		if err := x.body.load(); err != nil {
			return nil, raise("reading the request's body: %v", err)
		}
		x.Upstream.Body = []byte(lua.Text(args[0]))
		return nil, nil
	},
}

var settableMethods = []string{
	"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "MKCOL", "COPY", "MOVE",
	"PROPFIND", "PROPPATCH", "LOCK", "UNLOCK", "PATCH", "TRACE",
}

func (x *Exchange) setUpstreamHeader(name string, v any) error {
	values, err := headerValues(name, v)
	if err != nil {
		return err
	}
	if strings.EqualFold(name, "host") {
		x.Upstream.Host = lua.ToString(v) // of a list, "table: 0x…": such an upstream request fails
	}
	x.Upstream.Header = setHeader(x.Upstream.Header, name, values...)
	return nil
}
