package genuine

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/e2e/vaultserver"
	"kong-vault-auth/kongtest/gateway"
	"kong-vault-auth/kongtest/genuine"
	"kong-vault-auth/unixsocket/sockettest"
)

// The application that reads the simulated key vault.
const (
	azureClientID = "22222222-2222-4222-8222-222222222222"
	azureSecret   = "cl1ent~s3cret"
)

// vaultsNode is a Kong with the vaults azure and hcv, the plugin server that
// answers them, and a plugin show-secret on /secret.
type vaultsNode struct {
	*node
	azure   *akvsim.Sim
	socket  string // of the plugin server
	env     []string
	options genuine.Options // of the Kong
}

type vaultsOptions struct {
	database bool
	password string      // of the database; empty: none
	tls      bool        // Kong listens for TLS too
	kong     []string    // more of Kong's environment
	plugin   []string    // more of the plugin server's
	azure    *akvsim.Sim // nil: one of this node's own
	before   func(*vaultsNode)
}

// startVaults starts a vaultsNode, its plugin server first.
func startVaults(t *testing.T, o vaultsOptions) *vaultsNode {
	t.Helper()
	requireKong(t)
	dir := sockettest.Dir(t)
	n := &vaultsNode{node: &node{T: t}, azure: o.azure, socket: filepath.Join(dir, "vault-auth.socket")}
	if n.azure == nil {
		n.azure = akvsim.New(akvsim.Options{})
	}
	n.azure.AddApp(akvsim.App{ClientID: azureClientID, ObjectID: "44444444-4444-4444-8444-444444444444", Secret: azureSecret, May: akvsim.Get | akvsim.List})
	server, err := n.azure.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.close(server.Close) })
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, server.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	n.env = append(server.Environ(ca), o.plugin...)
	if o.before != nil {
		o.before(n)
	}
	n.startPluginServer()
	lua, err := filepath.Abs("../../lua")
	if err != nil {
		t.Fatal(err)
	}
	test, err := filepath.Abs("testdata/lua")
	if err != nil {
		t.Fatal(err)
	}
	luaPath := fmt.Sprintf("%[1]s/?.lua;%[1]s/?/init.lua;%[2]s/?.lua;;", lua, test)
	n.options = genuine.Options{
		Prefix: filepath.Join(dir, "kong"), TLS: o.tls,
		Servers: []gateway.PluginServer{
			{Name: "vault-auth", Socket: n.socket, QueryCommand: plugin + " -dump"},
			{Name: "vault-secrets", Socket: n.socket, QueryCommand: plugin + " -name vault-secrets -dump"},
		},
		Env: append([]string{
			"KONG_VAULTS=bundled,azure,hcv", "KONG_PLUGINS=bundled,vault-auth,vault-secrets,show-secret",
			"KONG_LUA_PACKAGE_PATH=" + luaPath, "KONG_GENUINE_LUA_PATH=" + luaPath,
			"VAULT_AUTH_SECRETS_LISTEN=" + strings.TrimSuffix(n.socket, ".socket") + "-secrets.socket",
			"AZURE_CLIENT_SECRET=" + azureSecret,
		}, o.kong...),
	}
	if o.database {
		n.options.Database = n.startDatabase()
		if o.password != "" {
			n.close(func() error { return n.database.RequirePassword(o.password) })
		}
	}
	n.startKong(&n.options)
	return n
}

// startPluginServer starts the plugin server, again after its end.
func (n *vaultsNode) startPluginServer() {
	n.Helper()
	n.startPlugin(n.socket, n.env...)
}

// azureEnv is the vault azure as Kong documents its environment.
func azureEnv(more ...string) []string {
	return append([]string{
		"KONG_VAULT_AZURE_VAULT_URI=" + akvsim.VaultURI, "KONG_VAULT_AZURE_TENANT_ID=" + akvsim.Tenant, "KONG_VAULT_AZURE_CLIENT_ID=" + azureClientID,
	}, more...)
}

// azureVault is the entity as Kong documents it.
func azureVault(more map[string]any) map[string]any {
	config := map[string]any{
		"type": "secrets", "location": "us-east", "vault_uri": akvsim.VaultURI, "tenant_id": akvsim.Tenant, "client_id": azureClientID,
	}
	maps.Copy(config, more)
	return map[string]any{"name": "azure", "prefix": "azure-key-vault", "description": "Storing secrets in Azure Key Vault (Secrets)", "config": config}
}

// declare configures a route /secret with show-secret, and vaults.
func (n *vaultsNode) declare(secret string, vaults ...map[string]any) {
	n.Helper()
	n.setConfig(map[string]any{
		"vaults": vaults,
		"routes": []any{map[string]any{"name": "secret", "paths": []any{"/secret"}, "plugins": []any{
			map[string]any{"name": "show-secret", "config": map[string]any{"secret": secret}},
		}}},
	})
}

// shown is what show-secret answers.
type shown struct{ Secret, Value, Err string }

// ask returns the secret of show-secret, and what Kong resolves a reference to.
func (n *vaultsNode) ask(reference string) (s shown) {
	n.Helper()
	resp, err := http.Get("http://" + n.kong.Addr() + "/secret?ref=" + url.QueryEscape(reference))
	if err != nil {
		n.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil || resp.StatusCode != http.StatusOK {
		n.Fatalf("show-secret: %s %v", resp.Status, err)
	}
	return s
}

func TestAzureVaultByEnvironmentAndEntity(t *testing.T) {
	n := startVaults(t, vaultsOptions{kong: azureEnv(), before: func(n *vaultsNode) {
		n.azure.Put("secret-name", `{"foo": "bar", "snip": "snap"}`, nil)
	}})
	for _, name := range []string{"azure", "azure-key-vault"} {
		t.Run(name, func(t *testing.T) {
			n.declare("{vault://"+name+"/secret-name/foo}", azureVault(nil))
			for reference, want := range map[string]shown{
				"{vault://" + name + "/secret-name/foo}":  {"bar", "bar", ""},
				"{vault://" + name + "/secret-name/snip}": {"bar", "snap", ""},
				"{vault://" + name + "/secret-name}":      {"bar", `{"foo": "bar", "snip": "snap"}`, ""},
				"{vault://" + name + "/no-secret}": {"bar", "", `could not get value from external vault (no value found (` +
					`unable to retrieve secret "no-secret" from the vault azure: there is no such secret))`},
			} {
				if diff := cmp.Diff(want, n.ask(reference)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", reference, diff)
				}
			}
		})
	}
	if out, err := n.kong.Output("vault", "get", "{vault://azure/secret-name/foo}"); err != nil || strings.TrimSpace(out) != "bar" {
		t.Errorf("kong vault get: %q, %v", out, err)
	}
	if out, err := n.kong.Output("vault", "get", "azure/secret-name/snip"); err != nil || strings.TrimSpace(out) != "snap" {
		t.Errorf("kong vault get, in short: %q, %v", out, err)
	}
}

// kv are the engines of the examples on Kong's page about HashiCorp Vault.
var kv = map[string]vaultserver.KV{
	"v1": {Mount: "kv1", Version: 1},
	"v2": {Mount: "secret", Version: 2},
}

// hcvConfig is a vault hcv on an engine.
func (n *vaultsNode) hcvConfig(version string) map[string]any {
	n.Helper()
	token, err := store.ReadToken(n.Context(), kv[version], time.Hour)
	if err != nil {
		n.Fatal(err)
	}
	config := hcvAddress(n.T, store.Addr)
	config["mount"], config["kv"], config["token"] = kv[version].Mount, version, token
	return config
}

// hcvAddress are the settings of a vault hcv for a server's address.
func hcvAddress(t *testing.T, address string) map[string]any {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{"protocol": u.Scheme, "host": u.Hostname(), "port": json.Number(u.Port())}
}

func TestHashiCorpVaultByEnvironmentAndEntity(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			var config map[string]any
			o := vaultsOptions{}
			if kongProgram != "" {
				if version == "v1" {
					if err := store.MountKV(t.Context(), kv["v1"]); err != nil {
						t.Fatal(err)
					}
				}
				config = (&vaultsNode{node: &node{T: t}}).hcvConfig(version)
				for name, value := range config {
					o.kong = append(o.kong, fmt.Sprintf("KONG_VAULT_HCV_%s=%v", strings.ToUpper(name), value))
				}
				for _, foo := range []string{"world", "world2"} { // two versions
					if err := store.Put(t.Context(), kv[version], "hello", map[string]any{"foo": foo}); err != nil {
						t.Fatal(err)
					}
				}
				if err := store.Put(t.Context(), kv[version], "path/to/pg", map[string]any{"username": "john", "port": 5432}); err != nil {
					t.Fatal(err)
				}
			}
			n := startVaults(t, o)
			entity := map[string]any{"name": "hcv", "prefix": "hashicorp-vault", "description": "Storing secrets in HashiCorp Vault", "config": config}
			const none = "could not get value from external vault (no value found (unable to retrieve secret %s))"
			for _, name := range []string{"hcv", "hashicorp-vault"} {
				n.declare("{vault://"+name+"/hello/foo}", entity)
				want := map[string]shown{
					"/hello/foo":             {"world2", "world2", ""},
					"/hello/foo#1":           {"world2", "world2", ""},
					"/hello/foo#2":           {"world2", "world", ""},
					"/hello/foo?version=1":   {"world2", "world", ""},
					"/hello/":                {"world2", `{"foo":"world2"}`, ""},
					"/path/to/pg/username":   {"world2", "john", ""},
					"/path%2Fto/pg/username": {"world2", "john", ""},
					"/path/to/pg/port":       {"world2", "", "could not get value from external vault (could not get subfield value: unexpected number value in JSON secret for subfield port)"},
					"/path/to/none/x":        {"world2", "", fmt.Sprintf(none, `"path/to/none" from the vault hcv: there is no such secret`)},
				}
				if version == "v1" {
					want["/hello/foo#2"] = shown{"world2", "", fmt.Sprintf(none, `"hello" from the vault hcv: there is no such secret: a KV v1 engine has no versions`)}
					want["/hello/foo?version=1"] = want["/hello/foo#2"]
				}
				for rest, want := range want {
					if diff := cmp.Diff(want, n.ask("{vault://"+name+rest+"}")); diff != "" {
						t.Errorf("{vault://%s%s} (-want +got):\n%s", name, rest, diff)
					}
				}
			}
			if out, err := n.kong.Output("vault", "get", "{vault://hcv/hello/foo}"); err != nil || strings.TrimSpace(out) != "world2" {
				t.Errorf("kong vault get: %q, %v", out, err)
			}
		})
	}
}
