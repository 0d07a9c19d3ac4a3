package gateway

import "testing"

const aclConfig = `
_format_version: "3.0"
services:
- name: echo
  url: %s
  routes:
  - name: allow
    paths: [/allow]
    plugins: [{name: key-auth}, {name: acl, config: {allow: [gold, silver]}}]
  - name: hidden
    paths: [/hidden]
    plugins: [{name: key-auth}, {name: acl, config: {allow: [gold], hide_groups_header: true, always_use_authenticated_groups: true}}]
  - name: deny
    paths: [/deny]
    plugins: [{name: key-auth}, {name: acl, config: {deny: [gold]}}]
  - name: nobody
    paths: [/nobody]
    plugins: [{name: acl, config: {allow: [gold]}}]
consumers:
- {username: none, keyauth_credentials: [{key: none}]}
- {username: gold, keyauth_credentials: [{key: gold}], acls: [{group: gold}, {group: night}]}
- {username: iron, keyauth_credentials: [{key: iron}], acls: [{group: iron}]}
`

func TestACLStandsInForKongs(t *testing.T) {
	g := wireGateway(t, aclConfig, Options{})
	tests := []struct {
		path, key string
		status    int
		groups    string // that the upstream saw
	}{
		{"/allow", "gold", 200, "gold, night"},
		{"/allow", "iron", 403, ""},
		{"/allow", "none", 403, ""},
		{"/hidden", "gold", 200, ""},
		{"/deny", "gold", 403, ""},
		{"/deny", "iron", 200, "iron"},
		{"/deny", "none", 200, ""},
		{"/nobody", "gold", 401, ""},
	}
	for _, test := range tests {
		a := get(t, g, test.path, "apikey", test.key)
		if a.Status != test.status {
			t.Errorf("%s as %s: %d %s", test.path, test.key, a.Status, a.Body)
			continue
		}
		if a.Status != 200 {
			continue
		}
		h := a.echoed(t).Header
		if got := h.Get("X-Consumer-Groups"); got != test.groups || h.Get("X-Authenticated-Groups") != "" {
			t.Errorf("%s as %s: the upstream saw %v", test.path, test.key, h)
		}
	}
}
