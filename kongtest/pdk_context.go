package kongtest

import (
	"net/netip"

	"kong-vault-auth/kongtest/internal/lua"
	"kong-vault-auth/kongtest/internal/nginx"
)

var pdkContext = map[string]pdkFunc{
	"kong.ctx.shared.get": func(x *Exchange, args []any) (any, error) {
		return x.shared[lua.Text(args[0])], nil
	},
	"kong.ctx.shared.set": func(x *Exchange, args []any) (any, error) {
		key := lua.Text(args[0])
		x.shared[key] = args[1]
		if args[1] == nil {
			delete(x.shared, key)
		}
		return nil, nil
	},
	"kong.nginx.get_ctx": func(x *Exchange, args []any) (any, error) {
		switch key := lua.Text(args[0]); key {
		case "authenticated_consumer":
			return tableOrNil(x.consumer), nil
		case "authenticated_credential":
			return tableOrNil(x.credential), nil
		default:
			return x.ctx[key], nil
		}
	},
	"kong.nginx.set_ctx": func(x *Exchange, args []any) (any, error) {
		x.ctx[lua.Text(args[0])] = args[1]
		return nil, nil
	},
	"kong.nginx.get_var": func(x *Exchange, args []any) (any, error) {
		return x.nginxVar(lua.Text(args[0])), nil
	},
	"kong.nginx.get_tls1_version_str": func(x *Exchange, _ []any) (any, error) {
		if x.Request.Scheme != "https" {
			return nil, raise("bad ssl")
		}
		return "TLSv1.3", nil
	},
	"kong.nginx.get_subsystem": func(*Exchange, []any) (any, error) {
		return "http", nil
	},
	"kong.nginx.req_start_time": func(x *Exchange, _ []any) (any, error) {
		return float64(x.Started.UnixMilli()) / 1000, nil
	},
}

// nginxVar is ngx.var[name], nil if there is no such variable.
func (x *Exchange) nginxVar(name string) any {
	if v, ok := x.Request.Vars[name]; ok {
		return v
	}
	path := x.Request.Path()
	switch name {
	case "request_method":
		return x.Request.Method
	case "upstream_uri":
		return x.Upstream.Path
	case "request_uri":
		return x.Request.URI
	case "uri":
		return nginx.NormalizePath(path)
	case "args", "query_string":
		return x.Upstream.RawQuery
	case "scheme":
		return x.Request.Scheme
	case "host":
		return x.Request.Host
	case "remote_addr":
		return x.Request.Forwarded.Addr().String()
	case "realip_remote_addr":
		return x.Request.Client.Addr().String()
	case "server_port":
		return lua.ToString(float64(x.Request.Port))
	case "content_type":
		return x.header("content_type")
	case "content_length":
		return x.header("content_length")
	}
	if len(name) > 5 && name[:5] == "http_" {
		return x.headerVar(name[5:])
	}
	return nil
}

var pdkNode = map[string]pdkFunc{
	"kong.node.get_id": func(*Exchange, []any) (any, error) {
		return nodeID, nil
	},
	"kong.node.get_memory_stats": func(*Exchange, []any) (any, error) {
		return map[string]any{"lua_shared_dicts": map[string]any{}, "workers_lua_vms": []any{}}, nil
	},
	"kong.ip.is_trusted": func(x *Exchange, args []any) (any, error) {
		addr, err := netip.ParseAddr(lua.Text(args[0]))
		return err == nil && x.Request.Trusted && addr == x.Request.Client.Addr(), nil
	},
}

const nodeID = "7f3c2a5e-8d41-4b7c-9a0e-6b1d2c3e4f50"
