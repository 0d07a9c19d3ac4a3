package hashivault

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The target of a redirect gets the Vault token, so it must belong to the operator of
// the configured Vault.
func TestRedirectsKeepToTheHostsOwnDomain(t *testing.T) {
	for _, test := range []struct {
		host, to string // to: host, or URL without a path
		basePath string
		followed bool
	}{
		{host: "vault.example.com", to: "vault-1.example.com", followed: true},
		{host: "vault.example.com", to: "vault-1.dc2.example.com", followed: true},
		{host: "vault.dc1.example.com", to: "vault.dc2.example.com", followed: true},
		{host: "vault.example.com", to: "VAULT.example.com.", followed: true},
		{host: "vault.example.com", to: "example.com", followed: true},
		{host: "example.com", to: "vault.example.com", followed: true},
		{host: "vault.example.com", to: "example.com.attacker.test"},
		{host: "vault.example.com", to: "notexample.com"},
		{host: "vault.example.com", to: "com"},
		{host: "example.com", to: "attacker.com"},
		{host: "example.co.uk", to: "attacker.co.uk"},
		{host: "mine-1.eu-west-1.elb.amazonaws.com", to: "theirs-1.eu-west-1.elb.amazonaws.com"},
		{host: "mine.blob.core.windows.net", to: "theirs.blob.core.windows.net"},
		{host: "vault.internal", to: "vault-1.internal", followed: true},
		{host: "vault.internal", to: "vault.local"},
		{host: "vault.kong.svc.cluster.local", to: "vault-0.vault-internal.kong.svc.cluster.local", followed: true},
		{host: "vault.kong.svc.cluster.local", to: "vault.other.svc.cluster.local"},
		{host: "vault.kong.svc", to: "vault-0.vault-internal.kong.svc", followed: true},
		{host: "vault", to: "vault", followed: true},
		{host: "vault", to: "vault-1"},
		{host: "vault", to: "vault.attacker.test"},
		{host: "10.0.0.7", to: "10.0.0.7:8300", followed: true},
		{host: "10.0.0.7", to: "10.0.0.8"},
		{host: "10.0.0.7", to: "1.10.0.0.7"},
		{host: "vault.example.com", to: "169.254.169.254"},
		{host: "::1", to: "[0:0:0:0:0:0:0:1]:8300", followed: true},
		{host: "::1", to: "[::2]"},
		{host: "localhost", to: "127.0.0.1"},
		{host: "vault.example.com", to: "https://vault-1.example.com", followed: true},
		{host: "vault.example.com", to: "vault-1.example.com", basePath: "/vault", followed: true},
		{host: "vault.example.com", to: "vault-1.example.com/vault", basePath: "/vault", followed: true},
		{host: "vault.example.com", to: "vault-1.example.com/other", basePath: "/vault"},
		{host: "vault.example.com", to: "attacker.test", basePath: "/vault"},
	} {
		t.Run(test.host+" to "+test.to, func(t *testing.T) {
			target := test.to
			if !strings.Contains(target, "://") {
				target = "http://" + target
			}
			to, err := url.Parse(target)
			if err != nil {
				t.Fatal(err)
			}
			active := newFakeVault()
			active.on(alice, canned(200, secret("alice")))
			gone := false
			s := openOn(t, config(func(c *Config) { c.Host, c.BasePath = test.host, test.basePath }), nil,
				http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					path := strings.TrimPrefix(r.URL.Path, test.basePath)
					if !strings.HasSuffix(path, "/alice") {
						canned(404, notFound)(w, r) // what goes on in the background
						return
					}
					if r.Response == nil { // it is nobody's redirect
						http.Redirect(w, r, to.JoinPath(path).String(), http.StatusTemporaryRedirect)
						return
					}
					gone = true
					if r.Header.Get("X-Vault-Token") != testToken {
						t.Error("the token is missing")
					}
					r.URL.Path = strings.TrimPrefix(r.URL.Path, test.basePath)
					active.ServeHTTP(w, r)
				}))
			want := verdict{Failure: "redirect"}
			if test.followed {
				want = verdict{Found: "alice"}
			}
			if got, err := readWithin(t, s, 5*time.Second, "alice"); got != want || gone != test.followed {
				t.Errorf("%v, %v; it was sent on: %v", got, err, gone)
			}
		})
	}
}

func TestRealVaultIsReachedByARedirect(t *testing.T) {
	v := startVault(t)
	cfg := v.appRole(fields{"token_ttl": "1h"})
	standby := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, v.Addr+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	defer standby.Close()
	wantFound(t, openAt(t, at(t, cfg, standby.URL), nil))

	before := len(v.audited("update", "auth/approle/login"))
	cfg = at(t, cfg, standby.URL)
	cfg.Host = "localhost" // to which 127.0.0.1 is another
	if got, err := readWithin(t, openAt(t, cfg, nil), 5*time.Second, "alice"); got != (verdict{Failure: "redirect"}) {
		t.Errorf("%v, %v", got, err)
	}
	if n := len(v.audited("update", "auth/approle/login")) - before; n != 0 {
		t.Errorf("%d logins, with a secret id, at another host", n)
	}
}
