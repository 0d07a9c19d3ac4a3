package hashivault

import (
	"errors"
	"testing"

	"kong-vault-auth/secretstore"
	"kong-vault-auth/secretstore/storetest"
)

func TestInspection(t *testing.T) {
	v := startVault(t)
	v.do("POST", "sys/mounts/plain", fields{"type": "kv"})
	policy := func(name, rules string) string {
		v.do("PUT", "sys/policies/acl/"+name, fields{"policy": rules})
		return v.token(fields{"policies": []string{name}})
	}
	revoked := v.token(nil)
	v.do("POST", "auth/token/revoke", fields{"token": revoked})
	for name, tt := range map[string]struct {
		token, kv string
		login     string
		mayWrite  bool
		fails     bool // it can't be told
	}{
		"reads":                {v.token(nil), kv2, "done", false, false},
		"lists":                {policy("lists", `path "secret/metadata/*" { capabilities = ["list", "read"] }`), kv2, "done", false, false},
		"updates":              {policy("updates", `path "secret/data/kong-auth/*" { capabilities = ["read", "update"] }`), kv2, "done", true, false},
		"deletes":              {policy("deletes", `path "secret/metadata/kong-auth/*" { capabilities = ["delete"] }`), kv2, "done", true, false},
		"root":                 {v.RootToken, "", "done", true, false},
		"writes elsewhere":     {policy("elsewhere", `path "secret/data/other/*" { capabilities = ["create"] }`), kv2, "done", false, false},
		"writes KV v1":         {policy("v1", `path "plain/kong-auth/*" { capabilities = ["create"] }`), kv1, "done", true, false},
		"no policy default":    {v.token(fields{"no_default_policy": true}), kv2, "done", false, true},
		"a token that is dead": {revoked, kv2, "failure: token", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := openAt(t, v.config(func(c *Config) {
				if c.Token, c.KV = tt.token, tt.kv; tt.kv == kv1 {
					c.Mount = "plain"
				}
			}), nil).(secretstore.Inspector)
			if got := storetest.Said(s.Login(t.Context())); got != tt.login {
				t.Errorf("login: %s", got)
			}
			may, err := s.MayWrite(t.Context())
			var failure *secretstore.Failure
			if may != tt.mayWrite || tt.fails != errors.As(err, &failure) {
				t.Errorf("it may write: %v, %v", may, err)
			}
			if got := s.Address().String(); got != v.Addr {
				t.Errorf("it connects to %s", got)
			}
		})
	}
}

func TestAddressOfAnAgent(t *testing.T) {
	s := openAt(t, config(func(c *Config) { c.UnixSocket = "/run/agent.sock" }), nil).(secretstore.Inspector)
	if got := s.Address().String(); got != "unix:///run/agent.sock" {
		t.Error(got)
	}
}

func TestSingleUse(t *testing.T) {
	for _, tt := range []struct {
		method  string
		wrapped bool
		want    bool
	}{{"approle", true, true}, {"approle", false, false}, {"token", true, false}} {
		c := &Config{AuthMethod: tt.method, AppRoleWrapped: tt.wrapped}
		if c.SingleUse() != tt.want {
			t.Errorf("%+v", tt)
		}
	}
}
