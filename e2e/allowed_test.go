package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// The ids by which a plugin learns from Kong what its configuration is for.
const (
	serviceID        = "5e471ce0-0000-4000-8000-000000000001"
	routeID          = "4007e000-0000-4000-8000-000000000001"
	defaultWorkspace = "0dc6f45b-8f8d-40d2-a504-473544ee190b" // of Kong without a database
)

// TestOnlyAllowedConfigurationsNameAnObject: Kong gives the plugin a route's id without that
// of its service, so allowing a service allows none of its routes.
func TestOnlyAllowedConfigurationsNameAnObject(t *testing.T) {
	a := newAuthEnv(t)
	p := a.credential(nil)
	for _, tt := range []struct {
		name    string
		allowed object
		want    map[string]int // by path: a route, another one
	}{
		{"everybody", nil, map[string]int{"/mine": 200, "/yours": 200}},
		{"one route", object{"allowed_routes": []string{routeID}}, map[string]int{"/mine": 200, "/yours": 500}},
		{"one service, whose routes can't be known", object{"allowed_services": []string{serviceID}}, map[string]int{"/mine": 500, "/yours": 500}},
		{"the workspace", object{"allowed_workspaces": []string{defaultWorkspace}}, map[string]int{"/mine": 200, "/yours": 200}},
		{"another workspace", object{"allowed_workspaces": []string{serviceID}, "allowed_routes": []string{routeID}}, map[string]int{"/mine": 500, "/yours": 500}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := a.in(t)
			vault := object{"name": "hcv", "prefix": "kong-auth", "config": a.settings(nil)}
			for field, ids := range tt.allowed {
				vault[field] = ids
			}
			file, err := json.Marshal(object{"vaults": []object{vault}})
			a.must(err)
			named := object{"vault": "kong-auth", "anonymous": "guest"}
			config := a.declare(consumers(), a.guarded("/mine", named), a.guarded("/yours", named))
			config = strings.Replace(config, `"name": "route-mine"`, `"name": "route-mine", "id": "`+routeID+`"`, 1)
			config = strings.Replace(config, `"name": "upstream"`, `"name": "upstream", "id": "`+serviceID+`"`, 1)
			g := start(t, config, "VAULT_AUTH_VAULTS_FILE="+a.file("vaults.json", string(file)), "KONG_NGINX_MAIN_ENV=VAULT_AUTH_VAULTS_FILE")
			for path, want := range tt.want {
				if tt.allowed["allowed_workspaces"] != nil && !tellsWorkspaces(t, g) {
					want = 500
				}
				for _, h := range []http.Header{p.header(), nil} {
					if got := a.get(g, path, h); got.Status != want {
						t.Errorf("%s: %d %s, want %d", path, got.Status, got.Body, want)
					}
				}
				if want == 500 {
					a.says([]string{"this configuration may not name"}, g.Log())
				}
			}
		})
	}
}

// tellsWorkspaces reports whether the gateway tells plugins the workspace of a
// configuration. Kong 3.8 doesn't.
func tellsWorkspaces(t *testing.T, g gateway) bool {
	t.Helper()
	k, is := g.(*genuineGateway)
	if !is {
		return true
	}
	version, err := k.Version()
	if err != nil {
		t.Fatal(err)
	}
	return !strings.HasPrefix(version, "3.8.")
}

// TestServiceThatIsAllowed names an object in a configuration for a service.
func TestServiceThatIsAllowed(t *testing.T) {
	a := newAuthEnv(t)
	p := a.credential(nil)
	for id, want := range map[string]int{serviceID: 200, routeID: 500} {
		vaults, err := json.Marshal(object{"vaults": []object{{
			"name": "hcv", "prefix": "kong-auth", "config": a.settings(nil), "allowed_services": []string{id},
		}}})
		a.must(err)
		config, err := json.Marshal(object{
			"_format_version": "3.0",
			"services": []object{{
				"id": serviceID, "name": "upstream", "url": a.upstream.URL,
				"routes":  []object{{"name": "all", "paths": []string{"/"}}},
				"plugins": []object{a.vaultAuth(object{"vault": "kong-auth"})},
			}},
			"consumers": consumers(),
		})
		a.must(err)
		g := start(t, string(config), "VAULT_AUTH_VAULTS_FILE="+a.file(id, string(vaults)), "KONG_NGINX_MAIN_ENV=VAULT_AUTH_VAULTS_FILE")
		if got := a.get(g, "/", p.header()); got.Status != want {
			t.Errorf("allowed to %s: %d %s, want %d", id, got.Status, got.Body, want)
		}
	}
}
