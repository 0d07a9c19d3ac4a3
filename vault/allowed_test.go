package vault

import (
	"errors"
	"strings"
	"testing"

	"kong-vault-auth/secretstore"
)

func TestWhoMayNameAnObject(t *testing.T) {
	const s, r, w, other = "s-id", "r-id", "w-id", "other-id"
	tests := []struct {
		name    string
		allowed allowed
		scope   Scope
		want    string // the list that lacks it; empty: it may
	}{
		{"everybody", allowed{}, Scope{}, ""},
		{"everybody, somewhere", allowed{}, Scope{s, r, w}, ""},

		{"service", allowed{Services: []string{other, s}}, Scope{Service: s, Workspace: w}, ""},
		{"service, in capitals", allowed{Services: []string{s}}, Scope{Service: "S-ID"}, ""},
		{"service and route", allowed{Services: []string{s}}, Scope{Service: s, Route: r}, ""},
		{"other service", allowed{Services: []string{s}}, Scope{Service: other}, "for the service other-id, which is not in the object's allowed_services"},
		{"a route of it, for all we know", allowed{Services: []string{s}}, Scope{Route: r}, "for the route r-id, which is not in the object's allowed_routes"},
		{"global", allowed{Services: []string{s}}, Scope{Workspace: w}, "for all services and routes, and the object has allowed_services or allowed_routes"},
		{"route of that id", allowed{Services: []string{s}}, Scope{Route: s}, "allowed_routes"},

		{"route", allowed{Routes: []string{r}}, Scope{Route: r}, ""},
		{"other route", allowed{Routes: []string{r}}, Scope{Route: other}, "allowed_routes"},
		{"its service", allowed{Routes: []string{r}}, Scope{Service: s}, "allowed_services"},

		{"one of both: service", allowed{Services: []string{s}, Routes: []string{r}}, Scope{Service: s}, ""},
		{"one of both: route", allowed{Services: []string{s}, Routes: []string{r}}, Scope{Route: r}, ""},
		{"one of both: neither", allowed{Services: []string{s}, Routes: []string{r}}, Scope{Service: other, Route: other}, "allowed_routes"},

		{"workspace", allowed{Workspaces: []string{w}}, Scope{Workspace: w}, ""},
		{"workspace, on a route", allowed{Workspaces: []string{w}}, Scope{Route: r, Workspace: w}, ""},
		{"other workspace", allowed{Workspaces: []string{w}}, Scope{Service: s, Workspace: other}, "in the workspace other-id, which is not in the object's allowed_workspaces"},
		{"no workspace", allowed{Workspaces: []string{w}}, Scope{}, "allowed_workspaces of the object needs Kong 3.9 or newer"},
		{"workspace and service", allowed{Workspaces: []string{w}, Services: []string{s}}, Scope{Service: s, Workspace: w}, ""},
		{"workspace and other service", allowed{Workspaces: []string{w}, Services: []string{s}}, Scope{Service: other, Workspace: w}, "allowed_services"},
		{"other workspace and service", allowed{Workspaces: []string{w}, Services: []string{s}}, Scope{Service: s, Workspace: other}, "allowed_workspaces"},
	}
	for _, tt := range tests {
		err := tt.allowed.check("kong-auth", tt.scope)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.want != "" && (!errors.Is(err, secretstore.ErrConfig) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), `"kong-auth"`)):
			t.Errorf("%s: %v, want an ErrConfig with %q", tt.name, err, tt.want)
		}
	}
}

// A pair that is cached for an allowed configuration is not accepted for another one, and
// a change of the vaults file takes effect at once.
func TestOnlyAllowedConfigurationsLookUpInAnObject(t *testing.T) {
	const allowed, other = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
	file := func(route string) string {
		return strings.Replace(vaultsYML(""), "config:", "allowed_routes: ["+route+"], config:", 1)
	}
	stores := &fakeStores{records: someRecords()}
	r, path := fileRegistry(t, stores, &logbook{}, file(allowed))
	r.node.stop()
	open := func(route string) *Object {
		o, _ := mustOpen(t, r, "plugin of "+route, Config{Vault: "kong-auth", Scope: Scope{Route: route}})
		return o
	}
	wantDenied := func(o *Object) {
		t.Helper()
		for _, access := range []string{"ac-alice", "malformed/token"} {
			if _, err := o.Lookup(t.Context(), access, "right", nil); !errors.Is(err, secretstore.ErrConfig) || errors.Is(err, ErrRefused) {
				t.Errorf("Lookup(%q) = %v, want an ErrConfig", access, err)
			}
		}
		if err := o.Usable(); !errors.Is(err, secretstore.ErrConfig) {
			t.Errorf("Usable() = %v, want an ErrConfig", err)
		}
	}
	mine, yours := open(allowed), open(other)
	wantAccepted(t, mine, "ac-alice", "right")
	wantDenied(yours)

	writeFile(t, path, file(other))
	r.node.reload()
	wantDenied(mine)
	wantAccepted(t, yours, "ac-alice", "right")
	if n := len(stores.all()); n != 1 {
		t.Errorf("%d stores for one object", n)
	}
}
