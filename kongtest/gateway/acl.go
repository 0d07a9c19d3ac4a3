package gateway

import (
	"strings"

	"kong-vault-auth/kongtest/internal/lua"
)

// acl is Kong's acl (kong/plugins/acl/handler.lua): a consumer's own groups count unless
// an auth plugin has named others, and those of a credential do so only on demand.
func acl(x *exchange, config map[string]any, w *worker) {
	outcome := x.Outcome()
	_, denies := config["deny"].([]any)
	header := "X-Authenticated-Groups"
	if denies {
		header = "" // Kong means to set it, but treats a nil as false
	}
	var groups []any
	known := false
	if outcome.Consumer == nil || outcome.Credential == nil || config["always_use_authenticated_groups"] == true {
		groups, known = authenticatedGroups(x)
	}
	if !known && outcome.Consumer != nil {
		header = "X-Consumer-Groups"
		groups = w.gen.snapshot.Load().groups[outcome.Consumer.ID]
		known = denies || len(groups) > 0
	}
	switch {
	case !known && outcome.Credential == nil:
		x.Fail(401, "Unauthorized")
	case !known, !allows(config, groups):
		x.Fail(403, "You cannot consume this service")
	case config["hide_groups_header"] != true && header != "":
		names := make([]string, len(groups))
		for i, g := range groups {
			names[i] = lua.Text(g)
		}
		x.pdk("kong.service.request.set_header", header, strings.Join(names, ", "))
	}
}

// authenticatedGroups are those that an auth plugin has named.
func authenticatedGroups(x *exchange) (groups []any, named bool) {
	const key = "authenticated_groups"
	for _, table := range []any{x.pdk("kong.ctx.shared.get", key), x.pdk("kong.nginx.get_ctx", key)} {
		switch t := table.(type) {
		case []any:
			return t, true
		case map[string]any: // a table without a list, as an empty one
			return nil, true
		}
	}
	return nil, false
}

func allows(config map[string]any, groups []any) bool {
	listed, denies := config["deny"].([]any)
	if !denies {
		listed, _ = config["allow"].([]any)
	}
	for _, l := range listed {
		for _, g := range groups {
			if lua.Text(g) == lua.Text(l) {
				return !denies
			}
		}
	}
	return denies
}
