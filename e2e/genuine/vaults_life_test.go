package genuine

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/certificatetest"
	"kong-vault-auth/e2e/vaultserver"
)

// everySecond makes Kong check once a second which secrets are due.
const everySecond = "KONG_VAULT_ROTATION_INTERVAL=1"

// A secret stays available in an outage, also of the plugin server; a deleted one doesn't.
func TestRotationOutageAndDeletionOfASecret(t *testing.T) {
	n := startVaults(t, vaultsOptions{kong: []string{everySecond}, before: func(n *vaultsNode) { n.azure.Put("rotated", "one", nil) }})
	kept := azureVault(map[string]any{"ttl": 1, "resurrect_deleted": true})
	kept["prefix"] = "kept-vault"
	n.declare("{vault://azure-key-vault/rotated}", azureVault(map[string]any{"ttl": 1}), kept)
	// Several requests, to reach both workers: each has a memory of its own.
	shows := func(want string) func() bool {
		return func() bool {
			for range 10 {
				if n.ask("{vault://azure-key-vault/rotated}").Secret != want {
					return false
				}
			}
			return true
		}
	}
	for range 10 {
		if got := n.ask("{vault://kept-vault/rotated}"); got.Value != "one" {
			t.Fatalf("with resurrect_deleted: %+v", got)
		}
	}
	n.eventually("the plugin has its secret", shows("one"))
	version := n.azure.Put("rotated", "two", nil)
	n.eventually("it has the new one", shows("two"))
	n.eventually("so has the other vault", func() bool { return n.ask("{vault://kept-vault/rotated}").Value == "two" })

	stays := func(what, want string) {
		t.Helper()
		for end := time.Now().Add(8 * time.Second); time.Now().Before(end); <-time.After(50 * time.Millisecond) {
			if got := n.ask("{vault://kept-vault/rotated}"); got.Secret != want || got.Value != want {
				t.Fatalf("%s: %+v, want %s", what, got, want)
			}
		}
	}
	n.azure.Fail(akvsim.KeyVault, akvsim.Unavailable())
	stays("an outage", "two")
	n.azure.Recover()
	n.close(n.plugin.Stop)
	stays("without the plugin server", "two")
	n.startPluginServer()

	n.azure.Change("rotated", version, azsecrets.SecretAttributes{Enabled: new(false)})
	n.eventually("a disabled secret is gone", shows(""))
	n.azure.Change("rotated", version, azsecrets.SecretAttributes{Enabled: new(true)})
	n.eventually("it is back", shows("two"))
	n.azure.Delete("rotated")
	n.eventually("a deleted secret is gone", shows(""))
	if got := n.ask("{vault://kept-vault/rotated}"); got.Value != "two" {
		t.Errorf("with resurrect_deleted, deleted: %+v", got)
	}
}

func TestSecretsAreKnownAfterAStartInAnOutage(t *testing.T) {
	keys := t.TempDir()
	key := filepath.Join(keys, "key")
	if err := os.WriteFile(key, []byte(base64.StdEncoding.EncodeToString(make([]byte, 32))), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "snapshot")
	n := startVaults(t, vaultsOptions{
		kong:   azureEnv(),
		plugin: []string{"VAULT_AUTH_SECRETS_SNAPSHOT_FILE=" + file, "VAULT_AUTH_SECRETS_SNAPSHOT_KEY_FILE=" + key},
		before: func(n *vaultsNode) { n.azure.Put("secret-name", `{"foo": "b4r-in-the-file"}`, nil) },
	})
	get := func() string {
		out, err := n.kong.Output("vault", "get", "{vault://azure/secret-name/foo}")
		if err != nil {
			return err.Error()
		}
		return strings.TrimSpace(out)
	}
	if got := get(); got != "b4r-in-the-file" {
		t.Fatal(got)
	}
	n.eventually("the snapshot is written", func() bool { _, err := os.Stat(file); return err == nil })
	n.azure.Fail(akvsim.KeyVault, akvsim.Unavailable())
	for _, end := range []struct {
		how string
		do  func()
	}{
		{"killed", func() { n.plugin.Kill() }},
		{"stopped", func() { n.close(n.plugin.Stop) }},
	} {
		end.do()
		if b, err := os.ReadFile(file); err != nil || strings.Contains(string(b), "b4r-in-the-file") {
			t.Errorf("%s: the snapshot holds the secret in clear text, or is not there: %v", end.how, err)
		}
		n.startPluginServer()
		if got := get(); got != "b4r-in-the-file" {
			t.Errorf("%s and started again in an outage: %s", end.how, got)
		}
	}
	if got, err := n.kong.Output("vault", "get", "{vault://azure/never-read}"); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("what was never read: %s, %v", got, err)
	}
}

func TestKongStartsWithItsDatabasePasswordFromAVault(t *testing.T) {
	const password = "p4ss/with+signs"
	n := startVaults(t, vaultsOptions{
		database: true, password: password,
		kong:   azureEnv("KONG_PG_PASSWORD={vault://azure/pg/password}"),
		before: func(n *vaultsNode) { n.azure.Put("pg", `{"password": "`+password+`"}`, nil) },
	})
	for _, command := range []string{"health", "reload"} {
		if err := n.kong.Command(command); err != nil {
			t.Errorf("kong %s: %v", command, err)
		}
	}
	n.eventually("the database is reachable", func() bool {
		resp, err := http.Get(n.kong.StatusURL() + "/status")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		var status struct{ Database struct{ Reachable bool } }
		return json.NewDecoder(resp.Body).Decode(&status) == nil && status.Database.Reachable
	})
}

func TestCertificateFromAVaultIsServedToClients(t *testing.T) {
	certificate := certificatetest.SelfSigned("kong.example")
	n := startVaults(t, vaultsOptions{tls: true, before: func(n *vaultsNode) {
		if err := store.Put(t.Context(), vaultserver.KV{Mount: "secret", Version: 2}, "tls", map[string]any{"cert": certificate.PEM(), "key": certificate.KeyPEM()}); err != nil {
			t.Fatal(err)
		}
	}})
	n.setConfig(map[string]any{
		"vaults": []any{map[string]any{"name": "hcv", "prefix": "hashicorp-vault", "config": n.hcvConfig("v2")}},
		"certificates": []any{map[string]any{
			"cert": "{vault://hashicorp-vault/tls/cert}", "key": "{vault://hashicorp-vault/tls/key}", "snis": []any{map[string]any{"name": "kong.example"}},
		}},
	})
	roots := x509.NewCertPool()
	roots.AddCert(certificate.Certificate)
	n.eventually("the certificate is served", func() bool {
		c, err := tls.Dial("tcp", n.kong.TLSAddr(), &tls.Config{ServerName: "kong.example", RootCAs: roots})
		if err != nil {
			return false
		}
		c.Close()
		return true
	})
}

// Kong accepts the documented entities, with their defaults, and refuses wrong ones.
func TestVaultEntitiesAreThoseOfKongsPages(t *testing.T) {
	n := startVaults(t, vaultsOptions{database: true})
	put := func(prefix string, body map[string]any) (int, map[string]any) {
		t.Helper()
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		status, answer, err := n.kong.Admin(http.MethodPut, "/vaults/"+prefix, b)
		if err != nil {
			t.Fatal(err)
		}
		var entity map[string]any
		if err := json.Unmarshal(answer, &entity); err != nil {
			t.Fatal(err)
		}
		return status, entity
	}
	azure := map[string]any{"type": "secrets", "location": "us-east", "vault_uri": "http://my-vault-uri.azure.com"}
	status, entity := put("azure-key-vault", map[string]any{"name": "azure", "description": "Storing secrets in Azure Key Vault (Secrets)", "tags": []any{"a"}, "config": azure})
	want := map[string]any{
		"client_id": nil, "credentials_prefix": "AZURE", "vault_uri": "http://my-vault-uri.azure.com", "location": "us-east", "neg_ttl": nil,
		"resurrect_ttl": nil, "tenant_id": nil, "ttl": nil, "type": "secrets",
		"base64_decode": nil, "decode_base64": nil, "resurrect_deleted": nil, "version": nil,
	}
	if diff := cmp.Diff(want, entity["config"]); diff != "" || status != http.StatusOK || entity["prefix"] != "azure-key-vault" {
		t.Errorf("azure: %d %v\n%s", status, entity, diff)
	}
	hcv := map[string]any{"protocol": "https", "host": "localhost", "port": 8200, "mount": "secret", "kv": "v2", "token": "<token>"}
	status, entity = put("hashicorp-vault", map[string]any{"name": "hcv", "description": "Storing secrets in HashiCorp Vault", "config": hcv})
	config, _ := entity["config"].(map[string]any)
	for field, value := range map[string]any{"protocol": "https", "host": "localhost", "port": 8200.0, "mount": "secret", "kv": "v2", "token": "<token>", "auth_method": "token", "ttl": nil} {
		if config[field] != value {
			t.Errorf("hcv: %s is %v, want %v", field, config[field], value)
		}
	}
	if status != http.StatusOK {
		t.Errorf("hcv: %d %v", status, entity)
	}
	// Open-source Kong has one workspace, so a prefix is unique in all of Kong.
	for call, want := range map[[2]string]int{
		{http.MethodGet, "/vaults/azure-key-vault"}:         http.StatusOK,
		{http.MethodPost, "/vaults"}:                        http.StatusConflict,
		{http.MethodGet, "/default/vaults/azure-key-vault"}: http.StatusNotFound,
		{http.MethodPost, "/workspaces"}:                    http.StatusNotFound,
	} {
		body := []byte(`{"name": "hcv", "prefix": "azure-key-vault"}`)
		if call[0] == http.MethodGet {
			body = nil
		}
		if status, answer, err := n.kong.Admin(call[0], call[1], body); status != want || err != nil {
			t.Errorf("%s: %d, want %d: %s, %v", call, status, want, answer, err)
		}
	}
	for _, login := range []map[string]any{
		{"auth_method": "jwt", "oauth2_role_name": "r", "oauth2_token_endpoint": "https://idp/token", "oauth2_client_id": "c", "oauth2_client_secret": "s", "oauth2_audiences": "a"},
		{"auth_method": "azure", "azure_auth_role": "r", "azure_login_path": "/v1/auth/azure/login", "azure_resource": "https://management.azure.com/"},
		{"auth_method": "gcp_iam", "gcp_auth_role": "r", "gcp_login_path": "/v1/auth/gcp/login", "gcp_service_account": "a@b", "gcp_jwt_exp": 900},
		{"auth_method": "gcp_gce", "gcp_auth_role": "r"},
		{"auth_method": "aws_iam", "aws_auth_role": "r", "aws_auth_region": "eu-west-1", "aws_login_path": "/v1/auth/aws/login", "aws_iam_server_id": "v",
			"aws_access_key_id": "k", "aws_secret_access_key": "s", "aws_sts_endpoint_url": "https://sts", "aws_assume_role_arn": "arn", "aws_role_session_name": "n"},
		{"auth_method": "aws_ec2", "aws_auth_role": "r", "aws_auth_nonce": "n"},
	} {
		if status, entity := put("some-login", map[string]any{"name": "hcv", "config": login}); status != http.StatusOK {
			t.Errorf("%v: %d %v", login, status, entity)
		}
	}
	for about, tt := range map[string]struct {
		name   string
		config map[string]any
		want   string
	}{
		"no vault_uri":     {"azure", map[string]any{}, "required field missing"},
		"another type":     {"azure", map[string]any{"vault_uri": "https://x.vault.azure.net", "type": "keys"}, "expected one of: secrets"},
		"an unknown field": {"azure", map[string]any{"vault_uri": "https://x.vault.azure.net", "colour": "red"}, "unknown field"},
		"protocol":         {"hcv", map[string]any{"protocol": "ftp"}, "expected one of: http, https"},
		"kv":               {"hcv", map[string]any{"kv": "v3"}, "expected one of: v1, v2"},
		"port":             {"hcv", map[string]any{"port": 0}, "value should be between 1 and 65535"},
		"ttl":              {"hcv", map[string]any{"ttl": -1}, "value should be between 0 and 100000000"},
		"auth_method":      {"hcv", map[string]any{"auth_method": "userpass"}, "expected one of: token, kubernetes, approle, cert, jwt, azure, gcp_iam, gcp_gce, aws_iam, aws_ec2"},
		"approle":          {"hcv", map[string]any{"auth_method": "approle"}, "required field missing"},
		"jwt":              {"hcv", map[string]any{"auth_method": "jwt"}, "at least one of these fields must be non-empty: 'jwt_role', 'oauth2_role_name'"},
		"oauth2":           {"hcv", map[string]any{"auth_method": "jwt", "oauth2_role_name": "r", "oauth2_client_id": "c"}, "all or none of these fields must be set"},
		"azure":            {"hcv", map[string]any{"auth_method": "azure"}, "required field missing"},
		"gcp_iam":          {"hcv", map[string]any{"auth_method": "gcp_iam", "gcp_auth_role": "r"}, "required field missing"},
		"gcp_gce":          {"hcv", map[string]any{"auth_method": "gcp_gce"}, "required field missing"},
		"aws_iam":          {"hcv", map[string]any{"auth_method": "aws_iam", "aws_auth_role": "r"}, "required field missing"},
		"aws_ec2":          {"hcv", map[string]any{"auth_method": "aws_ec2", "aws_auth_role": "r"}, "required field missing"},
		"kubernetes":       {"hcv", map[string]any{"auth_method": "kubernetes"}, "required field missing"},
	} {
		if status, answer := put("some-vault", map[string]any{"name": tt.name, "config": tt.config}); status != http.StatusBadRequest || !strings.Contains(answer["message"].(string), tt.want) {
			t.Errorf("%s: %d %v, want %s", about, status, answer["message"], tt.want)
		}
	}

	if deckProgram == "" {
		return
	}
	// decK reports a difference for each field of a vault that the file leaves out, also for
	// Kong's own vaults. So the file is its own dump.
	dump := filepath.Join(t.TempDir(), "dump.yml")
	n.deck("sync", map[string]any{"vaults": []any{
		azureVault(map[string]any{"ttl": 60}), map[string]any{"name": "hcv", "prefix": "hashicorp-vault", "config": hcv},
	}})
	n.deck("dump", "-o", dump)
	n.deck("sync", dump)
	n.deck("diff", "--non-zero-exit-code", dump)
}

// A reference that is resolved often is seldom looked up.
func TestAMillionResolutionsAskTheSocketOnce(t *testing.T) {
	n := startVaults(t, vaultsOptions{before: func(n *vaultsNode) { n.azure.Put("hot", "v", nil) }})
	n.declare("{vault://azure-key-vault/hot}", azureVault(map[string]any{"ttl": 3600}))
	before := n.reads("hot")
	resp, err := http.Get("http://" + n.kong.Addr() + "/secret?times=1000000&ref=%7Bvault%3A%2F%2Fazure-key-vault%2Fhot%7D")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var s struct {
		Value string
		Times int
	}
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil || s.Value != "v" || s.Times != 1_000_000 {
		t.Fatalf("%+v, %v", s, err)
	}
	if after := n.reads("hot"); after > before {
		t.Errorf("a million resolutions read the secret %d times", after-before)
	}
}

// reads is how often a secret was read.
func (n *vaultsNode) reads(name string) int {
	return len(n.azure.Requests(func(r akvsim.Request) bool { return r.SecretRead() && strings.EqualFold(r.Path, "/secrets/"+name+"/") }))
}
