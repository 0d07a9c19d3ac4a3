package genuine

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"kong-vault-auth/e2e/echo"
	"kong-vault-auth/e2e/vaultserver"
)

// Kong starts no new instance of the plugin when a secret rotates to which its configuration
// refers. The plugin server notices the rotation itself, so no reload is needed.
func TestAReferenceInThePluginsConfigurationRotates(t *testing.T) {
	engine := vaultserver.KongAuth
	var tokens []string
	rotate := func(n *vaultsNode) {
		t.Helper()
		token, err := store.ReadToken(t.Context(), engine, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, token)
		n.azure.Put("vault-token", `{"value": "`+token+`"}`, nil)
	}
	// The plugin server reads the secret once an hour, so only a refusal makes it read again.
	n := startVaults(t, vaultsOptions{kong: azureEnv(), plugin: azureEnv("KONG_VAULT_AZURE_TTL=3600", "AZURE_CLIENT_SECRET="+azureSecret), before: rotate})
	n.upstream = httptest.NewServer(echo.Handler(nil))
	t.Cleanup(n.upstream.Close)
	hcv := hcvAddress(t, store.Addr)
	hcv["kv"], hcv["path"], hcv["token"], hcv["ttl"] = "v2", "kong-auth", "{vault://azure/vault-token/value}", 1
	n.setConfig(map[string]any{
		"consumers": []any{map[string]any{"username": "alice"}},
		"services": []any{map[string]any{"name": "echo", "url": n.upstream.URL, "routes": []any{map[string]any{
			"name": "r", "paths": []any{"/r"}, "plugins": []any{map[string]any{"name": "vault-auth", "config": map[string]any{"hcv": hcv}}},
		}}}},
	})
	alice := map[string]any{"username": "alice"}
	n.put("rotating-1", alice)
	n.eventually("the pair is accepted", func() bool { return n.get("/r", "rotating-1").StatusCode == http.StatusOK })

	for range 2 {
		rotate(n)
		if err := store.RevokeToken(t.Context(), tokens[len(tokens)-2]); err != nil {
			t.Fatal(err)
		}
		accepted := func(token string) bool { return n.get("/r", token).StatusCode == http.StatusOK }
		n.put("rotating-new", alice)
		began := time.Now()
		n.eventually("a pair that was never read is accepted", func() bool {
			if !accepted("rotating-1") {
				t.Fatal("a pair that is known was refused")
			}
			return accepted("rotating-new")
		})
		t.Logf("the new token was in use after %.1f s", time.Since(began).Seconds())
		if err := store.Delete(t.Context(), engine, "rotating-new"); err != nil {
			t.Fatal(err)
		}
		n.eventually("it is forgotten", func() bool { return n.get("/r", "rotating-new").StatusCode == http.StatusUnauthorized })
	}
	if n := strings.Count(n.plugin.Output.String(), "level=ERROR"); n > 0 {
		t.Errorf("%d errors are logged", n)
	}

	// When the secret is gone, known pairs still work, and the log names the reference.
	n.azure.Delete("vault-token")
	if err := store.RevokeToken(t.Context(), tokens[len(tokens)-1]); err != nil {
		t.Fatal(err)
	}
	n.eventually("it is reported", func() bool {
		if got := n.get("/r", "rotating-1"); got.StatusCode != http.StatusOK {
			t.Fatalf("a pair that is known: %s %s", got.Status, got.body)
		}
		return strings.Contains(n.kong.Log()+n.plugin.Output.String(), "{vault://azure/vault-token/value}: unable to retrieve secret")
	})
	for _, token := range tokens {
		if strings.Contains(n.kong.Log()+n.plugin.Output.String(), token) {
			t.Error("a token is logged")
		}
	}
}
