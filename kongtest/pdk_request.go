package kongtest

import (
	"net/netip"
	"strconv"
	"strings"

	"kong-vault-auth/kongtest/internal/lua"
	"kong-vault-auth/kongtest/internal/nginx"
)

var pdkRequest = map[string]pdkFunc{
	"kong.request.get_scheme": func(x *Exchange, _ []any) (any, error) {
		return x.Request.Scheme, nil
	},
	"kong.request.get_host": func(x *Exchange, _ []any) (any, error) {
		return x.Request.Host, nil
	},
	"kong.request.get_port": func(x *Exchange, _ []any) (any, error) {
		return float64(x.Request.Port), nil
	},
	"kong.request.get_forwarded_scheme": func(x *Exchange, _ []any) (any, error) {
		if v := x.TrustedHeader("x-forwarded-proto"); v != "" {
			return strings.ToLower(v), nil
		}
		return x.Request.Scheme, nil
	},
	"kong.request.get_forwarded_host": func(x *Exchange, _ []any) (any, error) {
		if v := x.TrustedHeader("x-forwarded-host"); v != "" {
			return nginx.HostOnly(v[strings.IndexByte(v, '@')+1:]), nil
		}
		return x.Request.Host, nil
	},
	"kong.request.get_forwarded_port": forwardedPort,
	"kong.request.get_http_version": func(x *Exchange, _ []any) (any, error) {
		return x.Request.HTTPVersion, nil
	},
	"kong.request.get_method": func(x *Exchange, _ []any) (any, error) {
		return x.Upstream.Method, nil // as changed by set_method
	},
	"kong.request.get_path": func(x *Exchange, _ []any) (any, error) {
		path := x.Request.Path()
		return nginx.NormalizePath(path), nil
	},
	"kong.request.get_path_with_query": func(x *Exchange, _ []any) (any, error) {
		return x.Request.URI, nil
	},
	"kong.request.get_raw_query": func(x *Exchange, _ []any) (any, error) {
		return x.Upstream.RawQuery, nil // as changed by set_raw_query
	},
	"kong.request.get_query_arg": func(x *Exchange, args []any) (any, error) {
		v := nginx.ParseArgs(x.Upstream.RawQuery, 100)[lua.Text(args[0])]
		if list, ok := v.([]any); ok {
			return list[0], nil
		}
		return v, nil
	},
	"kong.request.get_query": func(x *Exchange, args []any) (any, error) {
		n, err := limit("max_args", args[0])
		return nginx.ParseArgs(x.Upstream.RawQuery, n), err
	},
	"kong.request.get_header": func(x *Exchange, args []any) (any, error) {
		return x.header(lua.Text(args[0])), nil
	},
	"kong.request.get_headers": func(x *Exchange, args []any) (any, error) {
		n, err := limit("max_headers", args[0])
		return headerTable(x.Upstream.Header, n), err
	},
	"kong.request.get_raw_body":     getRawBody,
	"kong.request.get_uri_captures": func(*Exchange, []any) (any, error) { return map[string]any{}, nil },
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
func getRawBody(x *Exchange, _ []any) (any, error) {
	if x.Upstream.Body != nil {
		return map[string]any{"content": string(x.Upstream.Body)}, nil
	}
	if err := x.body.load(); err != nil {
		// nginx ends a request whose body can't be read; Kong never sees more of it.
		return nil, raise("reading the request's body: %v", err)
	}
	if x.body.file != "" {
		return map[string]any{"body_filepath": x.body.file}, nil
	}
	return map[string]any{"content": string(x.body.content)}, nil
}

func forwardedPort(x *Exchange, _ []any) (any, error) {
	if p, err := strconv.ParseUint(x.TrustedHeader("x-forwarded-port"), 10, 16); err == nil && p > 0 {
		return float64(p), nil
	}
	if v := x.TrustedHeader("x-forwarded-host"); v != "" {
		if a, err := netip.ParseAddrPort("127.0.0.1" + v[strings.LastIndexByte(v, ':')+1:]); err == nil {
			return float64(a.Port()), nil
		}
	}
	return float64(x.Request.Port), nil
}

// TrustedHeader returns the first value of a header if the client is one of
// Kong's trusted_ips.
func (x *Exchange) TrustedHeader(name string) string {
	if !x.Request.Trusted {
		return ""
	}
	return lua.Text(x.header(name))
}
