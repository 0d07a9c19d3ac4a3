package kongtest

import (
	"net"
	"slices"
	"strings"
)

var pdkService = map[string]pdkFunc{
	"kong.service.set_upstream": func(*exchange, []any) (any, error) {
		return nil, nil // there are no upstream entities here
	},
	"kong.service.set_target": func(x *exchange, args []any) (any, error) {
		host, port := text(args[0]), args[1].(float64)
		if port < 0 || port > 65535 {
			return nil, raise("port must be an integer between 0 and 65535: given %s", tostring(port))
		}
		x.up.Host = host
		x.up.Address = net.JoinHostPort(host, tostring(port))
		return nil, nil
	},
}

var pdkServiceRequest = map[string]pdkFunc{
	"kong.service.request.set_scheme": func(x *exchange, args []any) (any, error) {
		scheme := text(args[0])
		if scheme != "http" && scheme != "https" {
			return nil, raise("invalid scheme: %s", scheme)
		}
		x.up.Scheme = scheme
		return nil, nil
	},
	"kong.service.request.set_path": func(x *exchange, args []any) (any, error) {
		path := text(args[0])
		if !strings.HasPrefix(path, "/") {
			return nil, raise("path must start with /")
		}
		x.up.Path = escapePath(path)
		return nil, nil
	},
	"kong.service.request.set_raw_query": func(x *exchange, args []any) (any, error) {
		x.up.RawQuery = escapeArgs(text(args[0]))
		return nil, nil
	},
	"kong.service.request.set_query": func(x *exchange, args []any) (any, error) {
		t, _ := args[0].(map[string]any)
		query, err := encodeArgs(t)
		if err == nil {
			x.up.RawQuery = query
		}
		return nil, err
	},
	"kong.service.request.set_method": func(x *exchange, args []any) (any, error) {
		method := text(args[0])
		if !slices.Contains(settableMethods, method) {
			return nil, raise("invalid method: %s", method)
		}
		x.up.Method = method
		return nil, nil
	},
	"kong.service.request.set_header": func(x *exchange, args []any) (any, error) {
		return nil, x.setUpstreamHeader(text(args[0]), args[1])
	},
	"kong.service.request.add_header": func(x *exchange, args []any) (any, error) {
		name := text(args[0])
		values, err := headerValues(name, args[1])
		for _, v := range values {
			x.up.Header = append(x.up.Header, Header{name, v})
		}
		return nil, err
	},
	"kong.service.request.clear_header": func(x *exchange, args []any) (any, error) {
		x.up.Header = setHeader(x.up.Header, text(args[0]))
		return nil, nil
	},
	"kong.service.request.set_headers": func(x *exchange, args []any) (any, error) {
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
	"kong.service.request.set_raw_body": func(x *exchange, args []any) (any, error) {
		if err := x.body.load(); err != nil {
			return nil, raise("reading the request's body: %v", err)
		}
		x.up.Body = []byte(text(args[0]))
		return nil, nil
	},
}

var settableMethods = []string{
	"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "MKCOL", "COPY", "MOVE",
	"PROPFIND", "PROPPATCH", "LOCK", "UNLOCK", "PATCH", "TRACE",
}

func (x *exchange) setUpstreamHeader(name string, v any) error {
	values, err := headerValues(name, v)
	if err != nil {
		return err
	}
	if strings.EqualFold(name, "host") {
		x.up.Host = tostring(v) // of a list, "table: 0x…": such an upstream request fails
	}
	x.up.Header = setHeader(x.up.Header, name, values...)
	return nil
}
