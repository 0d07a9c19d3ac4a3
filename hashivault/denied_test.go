package hashivault

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"kong-vault-auth/secretstore"
)

// wantDenied waits until reads fail as those of a login that Vault refuses.
func wantDenied(t *testing.T, s secretstore.Store, reason string) {
	t.Helper()
	eventually(t, "the login counts as refused: "+reason, func() bool {
		_, err := readWithin(t, s, 5*time.Second, "alice")
		var f *secretstore.Failure
		return errors.As(err, &f) && f.Denied() && f.Reason == reason
	})
}

// Whichever way an administrator withdraws the plugin's login, cached credentials are
// trusted only for resurrect_denied_ttl.
func TestEveryRefusalOfTheLoginIsADenial(t *testing.T) {
	v := startVault(t)
	byAppRole := v.appRole(fields{"token_ttl": "1h"})
	byAppRole.AppRoleAuthPath = "approle"
	for _, test := range []struct {
		about  string
		cfg    func(*testing.T) Config
		refuse func(Config)
		want   string
	}{
		{"a token that is revoked", func(*testing.T) Config {
			return v.config(func(c *Config) { c.Token = v.token(nil) })
		}, func(c Config) {
			v.do("POST", "auth/token/revoke", fields{"token": c.Token})
		}, "token"},
		{"a token in a file that is revoked", func(t *testing.T) Config {
			file := filepath.Join(t.TempDir(), "token")
			replaceFile(t, file, v.token(nil))
			return v.config(func(c *Config) { c.Token, c.TokenFile = "", file })
		}, func(c Config) {
			token, err := os.ReadFile(c.TokenFile)
			if err != nil {
				t.Fatal(err)
			}
			os.Remove(c.TokenFile)
			v.do("POST", "auth/token/revoke", fields{"token": string(token)})
		}, "token"},
		{"a policy that is emptied", func(*testing.T) Config {
			v.do("PUT", "sys/policies/acl/emptied", fields{"policy": `path "secret/data/kong-auth/*" { capabilities = ["read"] }`})
			return v.config(func(c *Config) { c.Token = v.token(fields{"policies": []string{"emptied"}}) })
		}, func(Config) {
			v.do("PUT", "sys/policies/acl/emptied", fields{"policy": "# nothing"})
		}, "denied"},
		{"a secret id that is destroyed", func(*testing.T) Config { return byAppRole }, func(c Config) {
			v.do("POST", "auth/approle/role/kong/secret-id/destroy", fields{"secret_id": c.AppRoleSecretID})
			v.revokeLogins()
		}, "login"},
		{"a secret id's file that is removed", func(t *testing.T) Config {
			c := byAppRole
			c.AppRoleSecretID, c.AppRoleSecretFile = "", filepath.Join(t.TempDir(), "secret-id")
			replaceFile(t, c.AppRoleSecretFile, v.secretID())
			return c
		}, func(c Config) {
			os.Remove(c.AppRoleSecretFile)
			v.revokeLogins()
		}, "file"},
		{"a role that is deleted", func(*testing.T) Config {
			c := byAppRole
			c.AppRoleSecretID = v.secretID()
			return c
		}, func(Config) {
			v.do("DELETE", "auth/approle/role/kong", nil)
			v.revokeLogins()
		}, "login"},
		{"an auth method that is disabled", func(*testing.T) Config {
			v.do("POST", "auth/approle/role/kong", fields{"token_policies": v.policy("secret/data/kong-auth/*")})
			c := byAppRole
			c.AppRoleRoleID = v.do("GET", "auth/approle/role/kong/role-id", nil)["data"].(fields)["role_id"].(string)
			c.AppRoleSecretID = v.secretID()
			return c
		}, func(Config) {
			v.do("DELETE", "sys/auth/approle", nil)
		}, "login"},
	} {
		t.Run(test.about, func(t *testing.T) {
			cfg := test.cfg(t)
			s := openAt(t, cfg, nil)
			wantFound(t, s)
			test.refuse(cfg)
			wantDenied(t, s, test.want)
		})
	}
}

// A Vault that can't answer has refused nobody.
func TestOtherFailuresAreNoDenials(t *testing.T) {
	for about, login := range map[string]http.HandlerFunc{
		"sealed":                 canned(503, sealed),
		"an error":               canned(500, `{"errors":["internal error"]}`),
		"a rate limit":           canned(429, `{"errors":["request path kong: rate limit quota exceeded"]}`),
		"a firewall's 403":       canned(403, "<html>"),
		"an answer from nowhere": canned(200, "{}"),
		"no answer":              func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := appRoleVault(0)
				v.on(loginRoute, login)
				s := openOn(t, config(appRoleConfig), nil, v)
				_, err := readWithin(t, s, time.Minute, "alice")
				var f *secretstore.Failure
				if !errors.As(err, &f) || f.Denied() {
					t.Errorf("denied: %v", err)
				}
			})
		})
	}
	t.Run("a secret id that was never there", func(t *testing.T) {
		s := openOn(t, config(func(c *Config) {
			appRoleConfig(c)
			c.AppRoleSecretID, c.AppRoleSecretFile = "", filepath.Join(t.TempDir(), "secret-id")
		}), nil, appRoleVault(0))
		_, err := s.Read(context.Background(), "alice")
		var f *secretstore.Failure
		if !errors.As(err, &f) || f.Denied() {
			t.Errorf("denied: %v", err)
		}
	})
}
