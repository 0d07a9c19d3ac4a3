package genuine

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/e2e/vaultserver"
	"kong-vault-auth/kongtest/genuine"
)

// example is one of Kong's pages about the vaults azure and hcv: the settings that it
// shows, and what its references stand for. docs/kong-pages.md lists them; logins are in
// vaults_logins_test.go.
type example struct {
	vault    string            // azure or hcv
	settings map[string]string // as they are written, in whichever form
	values   map[string]string // by what follows the vault's name in a reference
}

// azureLogins are the variables that the examples for Azure use beside KONG_VAULT_….
var azureLogins = []string{
	"AZURE_TENANT_ID=" + akvsim.Tenant, "AZURE_CLIENT_ID=" + azureClientID, "AZURE_CLIENT_SECRET=" + azureSecret, "ORDERS_CLIENT_SECRET=" + azureSecret,
}

// kongsPages are the examples, by name. Those for Vault have an engine of their own.
func kongsPages(t *testing.T, mount string) map[string]example {
	t.Helper()
	requireKong(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	pages := vaultserver.KV{Mount: mount, Version: 2}
	must(store.MountKV(t.Context(), pages))
	for _, foo := range []string{"world", "world2"} { // two versions
		must(store.Put(t.Context(), pages, "hello", map[string]any{"foo": foo}))
	}
	must(store.Put(t.Context(), pages, "customer/acme", map[string]any{"name": "ACME Inc."}))
	must(store.Put(t.Context(), pages, "pg", map[string]any{"username": "john", "password": "doe"}))
	must(store.Put(t.Context(), pages, "password", map[string]any{"pass1": "my-password"}))
	token, err := store.ReadToken(t.Context(), pages, time.Hour)
	must(err)
	server := hcvAddress(t, store.Addr)
	hcv := func(more map[string]string) map[string]string {
		settings := map[string]string{
			"protocol": fmt.Sprint(server["protocol"]), "host": fmt.Sprint(server["host"]), "port": fmt.Sprint(server["port"]),
			"mount": pages.Mount, "kv": "v2", "token": token,
		}
		maps.Copy(settings, more)
		return settings
	}
	azure := func(more map[string]string) map[string]string {
		settings := map[string]string{"vault_uri": akvsim.VaultURI}
		maps.Copy(settings, more)
		return settings
	}
	login := map[string]string{"tenant_id": akvsim.Tenant, "client_id": azureClientID}
	fooAndSnip := map[string]string{"secret-name/foo": "bar", "secret-name/snip": "snap"}
	return map[string]example{
		"azure-by-environment": {"azure", azure(login), fooAndSnip},
		"azure-key-vault":      {"azure", azure(map[string]string{"type": "secrets", "location": "us-east"}), fooAndSnip},
		"azure-vault": {"azure", azure(map[string]string{
			"type": "secrets", "vault_uri": akvsim.VaultURI + "/", "location": "eastus", "tenant_id": akvsim.Tenant, "client_id": azureClientID,
		}), map[string]string{"token": "secret"}},
		// No variable begins with MACHINE_, so it is the machine's identity.
		"azure-managed-identity": {"azure", azure(map[string]string{"credentials_prefix": "MACHINE"}), fooAndSnip},
		"azure-prefix": {"azure", azure(map[string]string{
			"credentials_prefix": "ORDERS", "tenant_id": akvsim.Tenant, "client_id": azureClientID, "ttl": "60", "neg_ttl": "30", "resurrect_ttl": "300",
		}), fooAndSnip},
		"azure-base64": {"azure", azure(map[string]string{"base64_decode": "true"}), map[string]string{"encoded": "decoded"}},
		"hashicorp-vault": {"hcv", hcv(nil), map[string]string{
			"hello/foo": "world2", "hello/foo#1": "world2", "hello/foo#2": "world", "hello/foo?version=1": "world",
			"customer/acme/name": "ACME Inc.", "pg/username": "john", "password/pass1": "my-password", "hello/": `{"foo":"world2"}`,
		}},
		"hcv-by-environment": {"hcv", hcv(map[string]string{"auth_method": "token"}), map[string]string{"hello/foo": "world2"}},
		"hcv-ttls":           {"hcv", hcv(map[string]string{"ttl": "60", "neg_ttl": "30", "resurrect_ttl": "300"}), map[string]string{"hello/foo": "world2"}},
	}
}

// pagesNode is a node whose key vault has the secrets of the examples.
func pagesNode(t *testing.T, database bool) *vaultsNode {
	t.Helper()
	return startVaults(t, vaultsOptions{database: database, kong: azureLogins, before: func(n *vaultsNode) {
		n.azure.AddApp(akvsim.App{ClientID: "eeeeeeee-eeee-4eee-8eee-eeeeeeeeeeee", SystemAssigned: true, May: akvsim.Get})
		n.azure.Put("secret-name", `{"foo": "bar", "snip": "snap"}`, nil)
		n.azure.Put("token", "secret", nil)
		n.azure.Put("encoded", "ZGVjb2RlZA==", nil)
	}})
}

// entity is the example as a vaults entity. In JSON and YAML numbers are numbers, while the
// Admin API takes text for any type in a form.
func (e example) entity(prefix string) map[string]any {
	config := map[string]any{}
	for field, text := range e.settings {
		var number json.Number
		switch {
		case field == "base64_decode":
			config[field] = text == "true"
		case json.Unmarshal([]byte(text), &number) == nil:
			config[field] = number
		default:
			config[field] = text
		}
	}
	return map[string]any{"name": e.vault, "prefix": prefix, "description": "Storing secrets in " + e.vault, "config": config}
}

// wantByCommand checks what "kong vault get" prints for the first of the example's references.
func (n *vaultsNode) wantByCommand(k *genuine.Kong, e example, vault string, args ...string) {
	n.Helper()
	rest := slices.Min(slices.Collect(maps.Keys(e.values)))
	got, err := k.Output(append([]string{"vault", "get", "{vault://" + vault + "/" + rest + "}"}, args...)...)
	if err != nil || strings.TrimSpace(got) != e.values[rest] {
		n.Errorf("kong vault get %s %s: %q, %v, want %s", rest, args, got, err, e.values[rest])
	}
}

// wantInKong checks what a plugin in Kong resolves them to, once Kong knows the vault.
func (n *vaultsNode) wantInKong(e example, prefix string) {
	n.Helper()
	for rest, want := range e.values {
		reference := "{vault://" + prefix + "/" + rest + "}"
		var got shown
		n.eventually(reference+" is "+want, func() bool { got = n.ask(reference); return got.Value == want })
	}
}

func TestExamplesOfKongsPagesWithoutADatabase(t *testing.T) {
	examples := kongsPages(t, "pages")
	n := pagesNode(t, false)
	all := n.node.T
	var vaults []map[string]any
	for prefix, e := range examples {
		vaults = append(vaults, e.entity(prefix))
	}
	n.declare("{vault://hashicorp-vault/hello/foo}", vaults...)
	for _, prefix := range slices.Sorted(maps.Keys(examples)) {
		e := examples[prefix]
		t.Run(prefix, func(t *testing.T) {
			n.node.T = t
			defer func() { n.node.T = all }()
			n.wantInKong(e, prefix)
			var env, conf []string
			for field, value := range e.settings {
				env = append(env, "KONG_VAULT_"+strings.ToUpper(e.vault+"_"+field)+"="+value)
				conf = append(conf, "vault_"+e.vault+"_"+field+" = "+value)
			}
			file := filepath.Join(t.TempDir(), "kong.conf")
			if err := os.WriteFile(file, []byte(strings.Join(conf, "\n")), 0o600); err != nil {
				t.Fatal(err)
			}
			n.wantByCommand(n.kong.With(env...), e, e.vault)
			n.wantByCommand(n.kong.At(t.TempDir()), e, e.vault, "-c", file)
		})
	}
}

func TestExamplesOfKongsPagesOnPostgreSQL(t *testing.T) {
	examples := kongsPages(t, "pages-postgresql")
	n := pagesNode(t, true)
	all := n.node.T
	route := map[string]any{"name": "secret", "paths": []any{"/secret"}, "plugins": []any{
		map[string]any{"name": "show-secret", "config": map[string]any{"secret": "none"}},
	}}
	n.admin(http.MethodPost, "/routes", map[string]any{"name": "secret", "paths": []any{"/secret"}})
	n.admin(http.MethodPost, "/routes/secret/plugins", map[string]any{"name": "show-secret", "config": map[string]any{"secret": "none"}})
	n.eventually("the route is there", func() bool {
		resp, err := http.Get("http://" + n.kong.Addr() + "/secret")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil && resp.StatusCode == http.StatusOK
	})
	var vaults []any
	for _, prefix := range slices.Sorted(maps.Keys(examples)) {
		e := examples[prefix]
		vaults = append(vaults, e.entity(prefix+"-deck"))
		t.Run(prefix, func(t *testing.T) {
			n.node.T = t
			defer func() { n.node.T = all }()
			form := url.Values{"name": {e.vault}, "description": {"Storing secrets"}}
			for field, value := range e.settings {
				form.Set("config."+field, value)
			}
			n.putForm("/vaults/"+prefix, form)
			n.admin(http.MethodPost, "/vaults", e.entity(prefix+"-json"))
			n.wantInKong(e, prefix)
			n.wantInKong(e, prefix+"-json")
			n.wantByCommand(n.kong, e, prefix)
		})
	}
	if deckProgram == "" {
		t.Skip("E2E_DECK names no deck program: without it")
	}
	n.deck("sync", map[string]any{"vaults": vaults, "routes": []any{route}})
	for prefix, e := range examples {
		n.wantInKong(e, prefix+"-deck")
	}
}

// putForm does what curl -X PUT --data … does on Kong's pages.
func (n *vaultsNode) putForm(path string, form url.Values) {
	n.Helper()
	req, err := http.NewRequestWithContext(n.Context(), http.MethodPut, n.kong.AdminURL()+path, strings.NewReader(form.Encode()))
	if err != nil {
		n.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		n.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		n.Errorf("PUT %s: %s", path, resp.Status)
	}
}
