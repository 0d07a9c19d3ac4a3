package kongtest

import (
	"kong-vault-auth/kongtest/internal/lua"
)

var pdkRouter = map[string]pdkFunc{
	"kong.router.get_route": func(x *Exchange, _ []any) (any, error) {
		if x.Request.Route == nil {
			return nil, nil
		}
		return x.Request.Route.table(), nil
	},
	"kong.router.get_service": func(x *Exchange, _ []any) (any, error) {
		if x.Request.Service == nil {
			return nil, nil
		}
		return x.Request.Service.table(), nil
	},
}

func (r *Route) table() map[string]any {
	t := map[string]any{
		"id": r.ID, "strip_path": r.StripPath, "preserve_host": r.PreserveHost,
		"https_redirect_status_code": 426.0, "regex_priority": 0.0,
	}
	if r.Name != "" {
		t["name"] = r.Name
	}
	for key, list := range map[string][]string{
		"protocols": r.Protocols, "methods": r.Methods, "hosts": r.Hosts, "paths": r.Paths, "tags": r.Tags,
	} {
		if len(list) > 0 {
			t[key] = lua.Array(list)
		}
	}
	if r.ServiceID != "" {
		t["service"] = map[string]any{"id": r.ServiceID}
	}
	return t
}

func (s *Service) table() map[string]any {
	t := map[string]any{
		"id": s.ID, "protocol": s.Protocol, "host": s.Host, "port": float64(s.Port), "retries": 5.0,
		"connect_timeout": 60000.0, "write_timeout": 60000.0, "read_timeout": 60000.0,
	}
	if s.Name != "" {
		t["name"] = s.Name
	}
	if s.Path != "" {
		t["path"] = s.Path
	}
	if len(s.Tags) > 0 {
		t["tags"] = lua.Array(s.Tags)
	}
	return t
}
