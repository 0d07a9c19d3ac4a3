package e2e

import (
	"net/http"
	"os"
	"path"
	"regexp"
	"testing"
	"time"

	"kong-vault-auth/e2e/vaultserver"
)

// TestPoliciesOfTheDocsAreTheSmallest: each allows what it is for, reading, listing or
// managing credentials, and nothing else.
func TestPoliciesOfTheDocsAreTheSmallest(t *testing.T) {
	docs, err := os.ReadFile("../docs/vault.md")
	if err != nil {
		t.Fatal(err)
	}
	v1 := vaultserver.KV{Mount: "kv", Version: 1, Path: "kong-auth"}
	vault := ownVault(t)
	if err := vault.MountKV(t.Context(), v1); err != nil {
		t.Fatal(err)
	}
	for version, kv := range map[string]vaultserver.KV{"v1": v1, "v2": {Mount: "secret", Version: 2, Path: "kong-auth"}} {
		t.Run(version, func(t *testing.T) {
			a := &authEnv{testEnv: newEnvOn(t, vault, kv), dir: t.TempDir()}
			token := func(policy string) string {
				t.Helper()
				rules := regexp.MustCompile("(?s)```hcl\n(# " + policy + ":[^\n]* KV " + version + "\n.*?)```").FindSubmatch(docs)
				if rules == nil {
					t.Fatalf("docs/vault.md has no policy %s", policy)
				}
				name := "docs-" + policy + "-" + version
				a.must(a.vault.PutPolicy(t.Context(), name, string(rules[1])))
				token, err := a.vault.TokenWith(t.Context(), name, time.Hour)
				a.must(err)
				return token
			}
			plugin, lister, manager := token("kong-auth"), token("kong-auth-list"), token("kong-auth-manager")

			p := newPair()
			secret := "/v1/" + kv.Secret(p.access)
			folder := path.Dir(secret)
			removed := secret
			record := `{"access_token": "` + p.access + `", "secret_token": "` + p.secret + `", "consumer": "alice"}`
			if kv.Version == 2 {
				record = `{"data": ` + record + `}`
				folder = "/v1/secret/metadata/kong-auth"
				removed = path.Join(folder, p.access)
			}
			do := func(who, method, path string, want ...int) {
				t.Helper()
				got := a.fetch(http.DefaultClient, a.vault.Addr, method, path, http.Header{"X-Vault-Token": {who}}, record)
				for _, status := range want {
					if got.Status == status {
						return
					}
				}
				t.Errorf("%s %s: %d %s, want %v", method, path, got.Status, got.Body, want)
			}
			do(plugin, "PUT", secret, 403)
			do(manager, "PUT", secret, 200, 204)
			do(manager, "PUT", secret, 200, 204)
			do(manager, "GET", secret, 200)
			do(manager, "LIST", folder, 200)
			do(lister, "GET", folder+"/?list=true", 200) // as the plugin asks
			do(plugin, "LIST", folder, 403)
			do(plugin, "DELETE", secret, 403)
			a.token = plugin
			if got := a.ask(a.node(object{"kv": nil}), p); got.Status != 200 {
				t.Errorf("%d %s", got.Status, got.Body)
			}
			do(manager, "DELETE", secret, 204)
			do(manager, "DELETE", removed, 204)
			do(plugin, "GET", secret, 404)
			do(lister, "GET", secret, 403)
			for _, who := range []string{plugin, lister, manager} {
				other := "/v1/" + vaultserver.KV{Mount: kv.Mount, Version: kv.Version, Path: "payroll"}.Secret("boss")
				for _, method := range []string{"GET", "PUT", "DELETE"} {
					do(who, method, other, 403)
				}
			}
		})
	}
}
