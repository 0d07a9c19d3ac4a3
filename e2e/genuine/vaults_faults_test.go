package genuine

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"

	"kong-vault-auth/e2e/program"
)

// Kong's own rate-limiting reaches a Redis whose password is in a vault.
func TestRateLimitingHasItsRedisPasswordFromAVault(t *testing.T) {
	const password = "r3dis/with+signs"
	n := startVaults(t, vaultsOptions{before: func(n *vaultsNode) {
		n.azure.Put("redis", `{"password": "`+password+`", "wrong": "x"}`, nil)
	}})
	addr, _ := program.Redis(t, "--requirepass", password)
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	declare := func(key string) {
		n.Helper()
		n.setConfig(map[string]any{
			"vaults": []any{azureVault(nil)},
			"routes": []any{map[string]any{"name": "limited", "paths": []any{"/limited"}, "plugins": []any{
				map[string]any{"name": "request-termination", "config": map[string]any{"status_code": 200}},
				map[string]any{"name": "rate-limiting", "config": map[string]any{
					"hour": 2, "policy": "redis", "fault_tolerant": false,
					"redis": map[string]any{"host": host, "port": json.Number(port), "password": "{vault://azure-key-vault/redis/" + key + "}"},
				}},
			}}},
		})
	}
	status := func() int {
		resp, err := http.Get("http://" + n.kong.Addr() + "/limited")
		if err != nil {
			n.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	declare("wrong")
	if got := status(); got != http.StatusInternalServerError {
		t.Errorf("with a wrong password: %d", got)
	}
	declare("password")
	for i, want := range []int{200, 200, 429} {
		if got := status(); got != want {
			t.Errorf("request %d: %d, want %d", i+1, got, want)
		}
	}
}

// A secret that base64_decode can't decode leaves its reference without a value. Neither Kong nor
// its commands fail because of it.
func TestASecretThatIsNotBase64StopsNothing(t *testing.T) {
	n := startVaults(t, vaultsOptions{
		kong: azureEnv("KONG_VAULT_AZURE_BASE64_DECODE=true"),
		before: func(n *vaultsNode) {
			n.azure.Put("plain", "no base64!", nil)
			n.azure.Put("encoded", "YmFy", nil)
		},
	})
	n.declare("{vault://azure/encoded}")
	if got := n.ask("{vault://azure/encoded}"); got.Secret != "bar" || got.Value != "bar" {
		t.Errorf("%+v", got)
	}
	n.declare("{vault://azure/plain}")
	if got := n.ask("{vault://azure/plain}"); got.Secret != "" || got.Value != "" {
		t.Errorf("%+v", got)
	}
	if err := n.kong.Command("health"); err != nil {
		t.Error(err)
	}
	if out, err := n.kong.Output("vault", "get", "{vault://azure/plain}"); err == nil || !strings.Contains(err.Error(), "base64") {
		t.Errorf("kong vault get: %q, %v", out, err)
	}
	if err := n.kong.Reload(); err != nil {
		t.Errorf("kong reload: %v", err)
	}
}

// While an entity changes, a request may find its secrets blank, since Kong forgets them first.
// It never finds another's, and they are back at once.
func TestASecretIsBackAfterAChangeOfItsEntity(t *testing.T) {
	n := startVaults(t, vaultsOptions{before: func(n *vaultsNode) {
		n.azure.Put("stays", "s", nil)
		n.azure.Put("other", "o", nil)
	}})
	for change := range 5 {
		reference, want := "{vault://azure-key-vault/stays}", "s"
		if change%2 == 1 {
			reference, want = "{vault://azure-key-vault/other}", "o"
		}
		n.declare(reference, azureVault(map[string]any{"ttl": 60 + change}))
		n.eventually("both workers have the secret", func() bool {
			for range 10 {
				got := n.ask(reference)
				if got.Secret == "" {
					return false
				}
				if got.Secret != want || got.Value != want {
					n.Fatalf("%+v, want %s", got, want)
				}
			}
			return true
		})
	}
}
