package hashivault

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/secretstore"
)

func TestSealedVaultIsAFailureUntilUnsealed(t *testing.T) {
	v := startVault(t)
	v.put("alice")
	token := v.token(nil)
	s := openAt(t, v.config(func(c *Config) { c.Token = token }), nil)
	wantFound(t, s)
	v.do("PUT", "sys/seal", nil)
	if got, err := readWithin(t, s, 5*time.Second, "alice"); got != (verdict{Failure: "sealed"}) {
		t.Errorf("%v, %v", got, err)
	}
	v.do("PUT", "sys/unseal", fields{"key": v.UnsealKey})
	eventually(t, "the unsealed Vault answers", func() bool {
		got, _ := readWithin(t, s, time.Second, "alice")
		return got == verdict{Found: "alice"}
	})
}

func TestRefusalsExplainThemselves(t *testing.T) {
	v := startVault(t)
	v.put("alice")
	revoked := v.token(nil)
	v.do("POST", "auth/token/revoke", fields{"token": revoked})
	v.do("POST", "sys/mounts/other", fields{"type": "kv", "options": fields{"version": "2"}})
	listOnly := func(policy string) string {
		v.do("PUT", "sys/policies/acl/list-only", fields{"policy": policy})
		return v.token(fields{"policies": []string{"list-only"}})
	}
	place := "read secret/data/kong-auth/" + fingerprint("alice") + ": "
	const stanza = `path "secret/data/kong-auth/*" { capabilities = ["read"] }`
	for _, test := range []struct {
		about, token string
		edit         func(*Config)
		want         string // with * for what differs from run to run
	}{
		{"revoked token", revoked, nil,
			place + "the Vault token is refused: it has expired or was revoked (put a valid token into token, or let the plugin log in by itself: see auth_method)"},
		{"policy without read", listOnly(`path "secret/data/kong-auth/*" { capabilities = ["list"] }`), nil,
			place + "status 403: the token (policies default, list-only; expires in *) lacks the capability read on it (add to one of its policies: " + stanza + ")"},
		{"no policy on the mount", v.token(fields{"policies": []string{v.policy("other/*")}}), nil,
			place + "status 403: the token (policies default, read-other-; expires in *) has no right at all below secret/, or nothing is mounted there " +
				"(compare mount and namespace with vault secrets list; if they are right, add to one of its policies: " + stanza + ")"},
		{"no policy default", v.token(fields{"policies": []string{v.policy("other/*")}, "no_default_policy": true}), nil,
			place + "status 403: the token has no right at all below secret/, or nothing is mounted there " +
				"(compare mount and namespace with vault secrets list; if they are right, add to one of its policies: " + stanza + ")"},
		{"no policy on the mount, and no KV version", v.token(fields{"policies": []string{v.policy("other/*")}}), func(c *Config) { c.KV = "" },
			"read secret/kong-auth/" + fingerprint("alice") + ": status 403: the token (policies default, read-other-; expires in *) has no right at all below secret/, or nothing is mounted there " +
				`(compare mount and namespace with vault secrets list; if they are right, add to one of its policies: path "secret/kong-auth/*" { capabilities = ["read"] }, or for KV v2 set kv to v2 and add ` + stanza + ")"},
		{"mount mistaken for a longer path", v.token(nil), func(c *Config) { c.Mount = "secret/data" },
			"read secret/data/data/kong-auth/" + fingerprint("alice") + `: status 403: the token (policies default, read-secret-data-kong-auth-; expires in *) lacks the capability read on it, and KV v2's data/ is in the path twice (set mount to "secret")`},
		{"a longer path otherwise", v.token(nil), func(c *Config) { c.Mount = "secret/data/old" },
			"read secret/data/old/data/kong-auth/" + fingerprint("alice") + `: status 403, and the secrets engine is mounted at "secret/", not at secret/data/old/ (set mount to that, and path to the rest)`},
		{"the other KV version", v.token(nil), func(c *Config) { c.KV = "v1" },
			"read secret/kong-auth/" + fingerprint("alice") + ": status 403, and the secrets engine at secret/ is KV v2, read as v1 (set kv to v2; the token needs the policy " + stanza + ")"},
	} {
		t.Run(test.about, func(t *testing.T) {
			cfg := v.config(func(c *Config) { c.Token = test.token })
			if test.edit != nil {
				test.edit(&cfg)
			}
			_, err := readWithin(t, openAt(t, cfg, nil), 5*time.Second, "alice")
			got := err.Error()
			if !matches(test.want, got) {
				t.Error(cmp.Diff(test.want, got))
			}
		})
	}
}

// matches compares with a text in which "expires in *" stands for any time.
func matches(want, got string) bool {
	head, tail, ok := strings.Cut(want, "expires in *")
	return want == got || ok && strings.HasPrefix(got, head+"expires in ") && strings.HasSuffix(got, tail)
}

func TestDenialOfOneNameIsADefiniteNo(t *testing.T) {
	v := startVault(t)
	v.put("alice")
	v.put("bob")
	v.do("PUT", "sys/policies/acl/but-bob", fields{"policy": `
		path "secret/data/kong-auth/*"   { capabilities = ["read"] }
		path "secret/data/kong-auth/bob" { capabilities = ["deny"] }`})
	token := v.token(fields{"policies": []string{"but-bob"}})
	s := openAt(t, v.config(func(c *Config) { c.Token = token }), nil)
	read := func(name string) verdict {
		got, _ := readWithin(t, s, 5*time.Second, name)
		return got
	}
	got := []verdict{read("bob"), read("alice"), read("bob")}
	want := []verdict{{Failure: "denied"}, {Found: "alice"}, {Absent: secretstore.ReasonDenied}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRequestsHaveUserAgentAndNamespace(t *testing.T) {
	v := startVault(t)
	v.put("alice")
	for _, header := range []string{"X-Vault-Namespace", "User-Agent"} {
		v.do("PUT", "sys/config/auditing/request-headers/"+header, fields{"hmac": false})
	}
	token := v.token(nil)
	wantFound(t, openAt(t, v.config(func(c *Config) { c.Token, c.Namespace = token, "/team/a/" }), nil))
	reads := v.audited("read", "secret/data/kong-auth/alice")
	if len(reads) != 1 {
		t.Fatalf("%d reads, want 1", len(reads))
	}
	want := map[string][]string{"x-vault-namespace": {"team/a"}, "user-agent": {"kong-vault-auth/test"}}
	if diff := cmp.Diff(want, reads[0].Request.Headers); diff != "" {
		t.Error(diff)
	}
}

// The login may be in another namespace than the secrets. Requests about the login and
// its token are sent in that one.
func TestLoginsMayBeInANamespaceOfTheirOwn(t *testing.T) {
	v := startVault(t)
	cfg := v.appRole(fields{"token_ttl": "1h"})
	v.do("PUT", "sys/config/auditing/request-headers/X-Vault-Namespace", fields{"hmac": false})
	for _, test := range []struct {
		namespace, authNamespace string
		secrets, login           string
	}{
		{"team/a", "", "team/a", "team/a"},
		{"/team/b/", "/admin/", "team/b", "admin"},
		{"team/c", "/", "team/c", ""},
		{"", "admin/d", "", "admin/d"},
	} {
		t.Run(test.namespace+" and "+test.authNamespace, func(t *testing.T) {
			name := "of" + strings.NewReplacer("/", "-").Replace(test.secrets+test.login)
			v.put(name)
			requests := []struct{ operation, path, namespace string }{
				{"update", "sys/wrapping/unwrap", test.login},
				{"read", "sys/wrapping/lookup", test.login},
				{"update", "auth/approle/login", test.login},
				{"update", "auth/token/renew-self", test.login},
				{"read", "auth/token/lookup-self", test.login},
				{"update", "auth/token/revoke-self", test.login},
				{"read", "sys/internal/ui/mounts/secret", test.secrets},
				{"read", "secret/data/kong-auth/" + name, test.secrets},
				{"list", "secret/metadata/kong-auth/", test.secrets},
			}
			before := make([]int, len(requests))
			for i, r := range requests {
				before[i] = len(v.audited(r.operation, r.path))
			}

			c := cfg
			c.Namespace, c.AuthNamespace = test.namespace, test.authNamespace
			s := openAt(t, c, nil).(*store)
			readWithin(t, s, 5*time.Second, name)
			s.List(t.Context(), func([]secretstore.Listed) error { return nil })
			eventually(t, "a renewal", func() bool { return len(v.audited("update", "auth/token/renew-self")) > before[3] })
			if _, err := s.conn.tokenStatus(t.Context(), "no-such-token"); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			c.AppRoleSecretID, c.AppRoleWrapped, c.TokenSinkFile = v.wrappedSecretID(), true, filepath.Join(t.TempDir(), "sink")
			readWithin(t, openAt(t, c, nil), 5*time.Second, name)

			for i, r := range requests {
				entries := v.audited(r.operation, r.path)[before[i]:]
				if len(entries) == 0 {
					t.Errorf("%s %s was never asked for", r.operation, r.path)
				}
				for _, e := range entries {
					if got := strings.Join(e.Request.Headers["x-vault-namespace"], ", "); got != r.namespace {
						t.Errorf("%s %s was asked for in %q, want %q", r.operation, r.path, got, r.namespace)
					}
				}
			}
		})
	}
}

// A proxy may serve Vault's API below a path.
func TestVaultBehindAPath(t *testing.T) {
	v := startVault(t)
	cfg := v.appRole(fields{"token_ttl": "1h"})
	v.do("PUT", "sys/policies/acl/list", fields{"policy": `path "secret/metadata/kong-auth" { capabilities = ["list"] }`})
	v.do("POST", "auth/approle/role/kong", fields{"token_policies": []string{"list", v.policy("secret/data/kong-auth/*")}})
	target, err := url.Parse(v.Addr)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/team-a/vault/v1/", http.StripPrefix("/team-a/vault", &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
	}))
	proxy := httptest.NewServer(mux)
	defer proxy.Close()
	cfg = at(t, cfg, proxy.URL)
	cfg.BasePath = "/team-a/vault/"
	cfg.AppRoleSecretID, cfg.AppRoleWrapped, cfg.TokenSinkFile = v.wrappedSecretID(), true, filepath.Join(t.TempDir(), "sink")
	s := openAt(t, cfg, nil).(*store)
	wantFound(t, s)
	if err := s.List(t.Context(), func([]secretstore.Listed) error { return nil }); err != nil {
		t.Error(err)
	}
	eventually(t, "a renewal", func() bool { return len(v.audited("update", "auth/token/renew-self")) > 0 })
}

func TestMountThatBecomesVersionedIsNoticed(t *testing.T) {
	v := startVault(t)
	v.do("POST", "sys/mounts/kv", fields{"type": "kv"})
	v.do("POST", "kv/kong-auth/alice", json.RawMessage(record("alice")))
	token := v.token(fields{"policies": []string{v.policy("kv/*")}})
	s := openAt(t, v.config(func(c *Config) { c.Token, c.Mount, c.KV = token, "kv", "" }), nil)
	wantFound(t, s)
	v.do("POST", "sys/mounts/kv/tune", fields{"options": fields{"version": "2"}})
	eventually(t, "reads as KV v2", func() bool {
		got, _ := readWithin(t, s, time.Second, "alice")
		return got == verdict{Found: "alice"}
	})
	if len(v.audited("read", "kv/data/kong-auth/alice")) == 0 {
		t.Error("it was not read as v2")
	}
}
