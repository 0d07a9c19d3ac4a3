package kongtest

import (
	"net/netip"
	"strconv"
	"strings"
)

var pdkRequest = map[string]pdkFunc{
	"kong.request.get_scheme": func(x *exchange, _ []any) (any, error) {
		return x.req.Scheme, nil
	},
	"kong.request.get_host": func(x *exchange, _ []any) (any, error) {
		return x.req.Host, nil
	},
	"kong.request.get_port": func(x *exchange, _ []any) (any, error) {
		return float64(x.req.Port), nil
	},
	"kong.request.get_forwarded_scheme": func(x *exchange, _ []any) (any, error) {
		if v := x.trustedHeader("x-forwarded-proto"); v != "" {
			return strings.ToLower(v), nil
		}
		return x.req.Scheme, nil
	},
	"kong.request.get_forwarded_host": func(x *exchange, _ []any) (any, error) {
		if v := x.trustedHeader("x-forwarded-host"); v != "" {
			return hostOnly(v[strings.IndexByte(v, '@')+1:]), nil
		}
		return x.req.Host, nil
	},
	"kong.request.get_forwarded_port": forwardedPort,
	"kong.request.get_http_version": func(x *exchange, _ []any) (any, error) {
		return x.req.HTTPVersion, nil
	},
	"kong.request.get_method": func(x *exchange, _ []any) (any, error) {
		return x.up.Method, nil // as changed by set_method
	},
	"kong.request.get_path": func(x *exchange, _ []any) (any, error) {
		path, _ := x.req.split()
		return normalizePath(path), nil
	},
	"kong.request.get_path_with_query": func(x *exchange, _ []any) (any, error) {
		return x.req.URI, nil
	},
	"kong.request.get_raw_query": func(x *exchange, _ []any) (any, error) {
		return x.up.RawQuery, nil // as changed by set_raw_query
	},
	"kong.request.get_query_arg": func(x *exchange, args []any) (any, error) {
		v := queryTable(x.up.RawQuery, 100)[text(args[0])]
		if list, ok := v.([]any); ok {
			return list[0], nil
		}
		return v, nil
	},
	"kong.request.get_query": func(x *exchange, args []any) (any, error) {
		n, err := limit("max_args", args[0])
		return queryTable(x.up.RawQuery, n), err
	},
	"kong.request.get_header": func(x *exchange, args []any) (any, error) {
		return x.header(text(args[0])), nil
	},
	"kong.request.get_headers": func(x *exchange, args []any) (any, error) {
		n, err := limit("max_headers", args[0])
		return headerTable(x.up.Header, n), err
	},
	"kong.request.get_raw_body":     getRawBody,
	"kong.request.get_uri_captures": func(*exchange, []any) (any, error) { return map[string]any{}, nil },
}

func limit(name string, v any) (int, error) {
	n, _ := v.(float64)
	switch {
	case n < 1:
		return 0, raise("%s must be >= 1", name)
	case n > 1000:
		return 0, raise("%s must be <= 1000", name)
	}
	return int(n), nil
}

// getRawBody waits for the client's upload to end.
func getRawBody(x *exchange, _ []any) (any, error) {
	if x.up.Body != nil {
		return map[string]any{"content": string(x.up.Body)}, nil
	}
	if err := x.body.load(); err != nil {
		// nginx ends a request whose body can't be read; Kong sees nothing more of it.
		return nil, raise("reading the request's body: %v", err)
	}
	if x.body.file != "" {
		return map[string]any{"body_filepath": x.body.file}, nil
	}
	return map[string]any{"content": string(x.body.content)}, nil
}

func forwardedPort(x *exchange, _ []any) (any, error) {
	if p, err := strconv.ParseUint(x.trustedHeader("x-forwarded-port"), 10, 16); err == nil && p > 0 {
		return float64(p), nil
	}
	if v := x.trustedHeader("x-forwarded-host"); v != "" {
		if a, err := netip.ParseAddrPort("127.0.0.1" + v[strings.LastIndexByte(v, ':')+1:]); err == nil {
			return float64(a.Port()), nil
		}
	}
	return float64(x.req.Port), nil
}

func (x *exchange) trustedHeader(name string) string {
	if !x.req.Trusted {
		return ""
	}
	return text(x.header(name))
}

// split is the request's path and query string.
func (r *Request) split() (path, query string) {
	path, query, _ = strings.Cut(r.URI, "?")
	return path, query
}
