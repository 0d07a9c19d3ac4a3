package kongtest

var pdkContext = map[string]pdkFunc{
	"kong.ctx.shared.get": func(x *exchange, args []any) (any, error) {
		return x.shared[text(args[0])], nil
	},
	"kong.ctx.shared.set": func(x *exchange, args []any) (any, error) {
		x.shared[text(args[0])] = args[1]
		return nil, nil
	},
	"kong.nginx.get_ctx": func(x *exchange, args []any) (any, error) {
		switch key := text(args[0]); key {
		case "authenticated_consumer":
			return tableOrNil(x.consumer), nil
		case "authenticated_credential":
			return tableOrNil(x.credential), nil
		default:
			return x.ctx[key], nil
		}
	},
	"kong.nginx.set_ctx": func(x *exchange, args []any) (any, error) {
		x.ctx[text(args[0])] = args[1]
		return nil, nil
	},
	"kong.nginx.get_var": func(x *exchange, args []any) (any, error) {
		return x.nginxVar(text(args[0])), nil
	},
	"kong.nginx.get_tls1_version_str": func(x *exchange, _ []any) (any, error) {
		if x.req.Scheme != "https" {
			return nil, raise("bad ssl")
		}
		return "TLSv1.3", nil
	},
	"kong.nginx.get_subsystem": func(*exchange, []any) (any, error) {
		return "http", nil
	},
	"kong.nginx.req_start_time": func(x *exchange, _ []any) (any, error) {
		return float64(x.started.UnixMilli()) / 1000, nil
	},
}

// nginxVar is ngx.var[name], nil if there is no such variable.
func (x *exchange) nginxVar(name string) any {
	if v, ok := x.req.Vars[name]; ok {
		return v
	}
	path, _ := x.req.split()
	switch name {
	case "request_method":
		return x.req.Method
	case "upstream_uri":
		return x.up.Path
	case "request_uri":
		return x.req.URI
	case "uri":
		return normalizePath(path)
	case "args", "query_string":
		return x.up.RawQuery
	case "scheme":
		return x.req.Scheme
	case "host":
		return x.req.Host
	case "remote_addr":
		return x.req.Forwarded.Addr().String()
	case "realip_remote_addr":
		return x.req.Client.Addr().String()
	case "server_port":
		return tostring(float64(x.req.Port))
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
