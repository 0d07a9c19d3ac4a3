package genuine

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"kong-vault-auth/e2e/echo"
)

// The plugin vault-secrets is configured for a service, a route and a consumer: the most
// specific configuration counts, as with all of Kong's plugins.
func TestSecretsForAServiceARouteAndAConsumer(t *testing.T) {
	n := startVaults(t, vaultsOptions{
		plugin: azureEnv("AZURE_CLIENT_SECRET=" + azureSecret),
		before: func(n *vaultsNode) {
			n.azure.Put("upstream", `{"service": "s-secret", "route": "r-secret", "consumer": "c-secret"}`, nil)
		},
	})
	upstream := httptest.NewServer(echo.Handler(nil))
	defer upstream.Close()
	secrets := func(of string) []any {
		value := "Bearer {vault://azure/upstream/" + of + "}"
		return []any{map[string]any{"name": "vault-secrets", "config": map[string]any{"headers": map[string]any{"X-Key": value}}}}
	}
	keyAuth := map[string]any{"name": "key-auth"}
	n.setConfig(map[string]any{
		"services": []any{map[string]any{"name": "echo", "url": upstream.URL, "plugins": secrets("service"), "routes": []any{
			map[string]any{"name": "plain", "paths": []any{"/plain"}},
			map[string]any{"name": "own", "paths": []any{"/own"}, "plugins": secrets("route")},
			map[string]any{"name": "known", "paths": []any{"/known"}, "plugins": append(secrets("route"), keyAuth)},
			map[string]any{"name": "gone", "paths": []any{"/gone"}, "plugins": secrets("nothing")},
		}}},
		"consumers": []any{
			map[string]any{"username": "alice", "keyauth_credentials": []any{map[string]any{"key": "alices"}}, "plugins": secrets("consumer")},
			map[string]any{"username": "bob", "keyauth_credentials": []any{map[string]any{"key": "bobs"}}},
		},
	})
	for _, tt := range []struct {
		path, key string
		status    int
		want      string
	}{
		{"/plain", "", http.StatusOK, "Bearer s-secret"},
		{"/own", "", http.StatusOK, "Bearer r-secret"},
		{"/known", "alices", http.StatusOK, "Bearer c-secret"},
		{"/known", "bobs", http.StatusOK, "Bearer r-secret"},
		{"/known", "", http.StatusUnauthorized, ""},
		{"/gone", "", http.StatusServiceUnavailable, ""},
	} {
		got := n.send(http.MethodGet, tt.path, "X-Key", "forged", "apikey", tt.key)
		if got.StatusCode != tt.status || got.seen.Header.Get("X-Key") != tt.want {
			t.Errorf("%s as %q: %s, the service gets %q; want %d, %q", tt.path, tt.key, got.Status, got.seen.Header.Values("X-Key"), tt.status, tt.want)
		}
	}
}
