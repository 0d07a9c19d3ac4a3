package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"kong-vault-auth/e2e/program"
	"kong-vault-auth/e2e/vaultserver"
)

// TestSecretsGoIntoUpstreamRequests by the plugin vault-secrets, which vault-auth's process
// serves too.
func TestSecretsGoIntoUpstreamRequests(t *testing.T) {
	w := newEnv(t)
	p := w.credential(nil)
	kv := vaultserver.KV{Mount: "secret", Version: 2, Path: "upstream"}
	put := func(value string) {
		w.Helper()
		w.must(w.vault.Put(t.Context(), kv, "key", object{"value": value}))
	}
	put("first-s3cret")
	token, err := w.vault.ReadToken(t.Context(), kv, time.Hour)
	w.must(err)

	const reference = "{vault://hcv/upstream/key/value}"
	secrets := func(config object) object { return object{"name": "vault-secrets", "config": config} }
	header := secrets(object{"headers": object{"Authorization": "Bearer " + reference, "X-Api-Key": reference}})
	people := consumers()
	people[0]["plugins"] = []object{secrets(object{"headers": object{"X-Of-Alice": "alice " + reference}})}
	config := w.declare(people,
		route{"/header", []object{header}},
		route{"/both", []object{w.vaultAuth(nil), secrets(object{"authorization": object{"type": "basic", "username": "kong", "password": reference}})}},
		route{"/query", []object{secrets(object{"query": object{"api_key": reference}})}},
		route{"/consumer", []object{w.vaultAuth(nil)}},
		route{"/gone", []object{secrets(object{"headers": object{"X-Api-Key": "{vault://hcv/upstream/gone/value}"}})}},
		route{"/credentials", []object{secrets(object{"headers": object{"X-Api-Key": "{vault://hcv/kong-auth/" + p.access + "/secret_token}"}})}},
		route{"/wrong", []object{secrets(object{"headers": object{"X-Api-Key": "{vault://env/azure-client-secret}"}})}},
	)
	g := start(t, config, w.node(object{"path": nil, "token": token, "ttl": 1})...)
	forged := http.Header{
		"Authorization": {"Basic forged"}, "X-API-KEY": {"forged", "twice"}, "X_Api_Key": {"forged"}, "X-Api_Key": {"forged"}, "X-Other": {"stays"},
	}

	check := func(path string, sent http.Header, status int, want map[string]string) answer {
		w.Helper()
		a := w.get(g, path, sent)
		if a.Status != status {
			w.Fatalf("%s: %d %s, want %d\n%s", path, a.Status, a.Body, status, g.Log())
		}
		for name, value := range want {
			if got := strings.Join(a.Upstream.Header.Values(name), ", "); got != value {
				w.Errorf("%s: the upstream gets %s: %q, want %q", path, name, got, value)
			}
		}
		if a.Upstream != nil && strings.Contains(strings.Join(a.Upstream.Header["X_api_key"], "")+a.Upstream.URI, "forged") {
			w.Errorf("%s: the upstream gets what the client forged: %+v", path, a.Upstream)
		}
		return a
	}
	check("/header", forged, 200, map[string]string{
		"Authorization": "Bearer first-s3cret", "X-Api-Key": "first-s3cret", "X_Api_Key": "", "X-Api_Key": "", "X-Other": "stays", "X-Of-Alice": "",
	})
	a := check("/query?a=1&api_key=forged&api%5Fkey=forged", nil, 200, nil)
	if !strings.HasSuffix(a.Upstream.URI, "/query?a=1&api_key=first-s3cret") {
		t.Errorf("the upstream gets %s", a.Upstream.URI)
	}
	// One process serves both plugins, and knows them apart.
	check("/both", nil, 401, nil)
	bobs := w.credential(object{"consumer": object{"id": bobID}})
	check("/both", bobs.header(), 200, map[string]string{"Authorization": "Basic a29uZzpmaXJzdC1zM2NyZXQ=", "X-Consumer-Username": "bob", "X-Of-Alice": ""})
	// A consumer's configuration goes before a route's.
	check("/both", p.header(), 200, map[string]string{"Authorization": "", "X-Consumer-Username": "alice", "X-Of-Alice": "alice first-s3cret"})
	check("/consumer", p.header(), 200, map[string]string{"X-Of-Alice": "alice first-s3cret", "X-Consumer-Username": "alice"})

	// A rotation is noticed without a new instance.
	put("second-s3cret")
	program.Eventually(t, "the upstream gets the new secret", func() bool {
		return w.get(g, "/header", nil).Upstream.Header.Get("X-Api-Key") == "second-s3cret"
	})
	check("/header", nil, 200, map[string]string{"Authorization": "Bearer second-s3cret"})

	w.upstream.received()
	check("/gone", nil, 503, nil)
	check("/credentials", nil, 503, nil)
	check("/wrong", nil, 500, nil)
	if seen := w.upstream.received(); len(seen) > 0 {
		t.Errorf("the upstream got %+v", seen)
	}
	log := g.Log()
	w.says([]string{"a secret for the upstream can't be read", "there is no such secret", "references to the vault env can't stand here"}, log)
	if strings.Contains(log, "s3cret") {
		t.Errorf("a secret is logged:\n%s", log)
	}
}
