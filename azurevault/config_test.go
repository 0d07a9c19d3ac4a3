package azurevault

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/secretstore"
	"kong-vault-auth/secretstore/storetest"
)

// defaults is a valid inline object with defaults, changed by edit.
func defaults(t *testing.T, edit func(*Config)) *Config {
	t.Helper()
	return storetest.Defaults(t, &Config{}, func(c *Config) { c.VaultURI, c.AuthMethod = "https://contoso.vault.azure.net", "managed_identity" }, edit)
}

func TestProblemsAreExplained(t *testing.T) {
	uri := func(uri string) func(*Config) { return func(c *Config) { c.VaultURI = uri } }
	method := func(method string) func(*Config) { return func(c *Config) { c.AuthMethod = method } }
	const entra = "it must be an id as Microsoft Entra shows it, such as 72f988bf-86f1-41af-91ab-2d7cd011db47"
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"the node's identity, by default", method("default"), "auth_method: default looks for an identity in the node's environment, which a plugin's configuration may not use: set it to client_secret, client_certificate, managed_identity or workload_identity, or have the node define the object"},
		{"trailing slash", uri("https://contoso.vault.azure.net/"), ""},
		{"sovereign cloud", uri("https://contoso.vault.azure.cn"), ""},
		{"no prefix", func(c *Config) { c.NamePrefix = "" }, ""},
		{"managed identity", method("managed_identity"), ""},
		{"workload identity", func(c *Config) { c.AuthMethod, c.TenantID, c.ClientID = "workload_identity", "contoso.com", "ab" }, ""},
		{"client secret", func(c *Config) {
			c.AuthMethod, c.TenantID, c.ClientID, c.ClientSecret = "client_secret", "contoso.onmicrosoft.com", "72f988bf-86f1-41af-91ab-2d7cd011db47", "s"
		}, ""},

		{"no URI", uri(""), "vault_uri: it is empty"},
		{"plain http", uri("http://contoso.vault.azure.net"), "vault_uri: it is not the URI of a key vault. Did you mean https://contoso.vault.azure.net?"},
		{"the domain of Kong's docs", uri("https://contoso.vault.azure.com"), "vault_uri: it is not the URI of a key vault. Did you mean https://contoso.vault.azure.net?"},
		{"no scheme", uri("contoso.vault.azure.net"), "vault_uri: it is not the URI of a key vault. Did you mean https://contoso.vault.azure.net?"},
		{"only a name", uri("contoso"), "vault_uri: it is not the URI of a key vault. Did you mean https://contoso.vault.azure.net?"},
		{"a secret's URI", uri("https://contoso.vault.azure.net/secrets/x?y"), "vault_uri: it is not the URI of a key vault. Did you mean https://contoso.vault.azure.net?"},
		{"nonsense", uri("https://"), "vault_uri: it is not a URI; it should look like https://example.vault.azure.net"},
		{"keys", func(c *Config) { c.Type = "keys" }, "type: it must be secrets"},
		{"name prefix", func(c *Config) { c.NamePrefix = "kong_auth" }, "name_prefix: it may hold only letters, digits and -, and at most 56 of them: Azure allows nothing else in the names of secrets"},
		{"long name prefix", func(c *Config) { c.NamePrefix = strings.Repeat("a", 57) }, "name_prefix: it may hold only letters, digits and -, and at most 56 of them: Azure allows nothing else in the names of secrets"},
		{"credentials prefix", func(c *Config) { c.CredentialsPrefix = "A=B" }, "credentials_prefix: it may hold only letters, digits and _"},
		{"tenant", func(c *Config) { c.TenantID = "a/b" }, "tenant_id: " + entra},
		{"client", func(c *Config) { c.ClientID = "a b" }, "client_id: " + entra},
		{"client secret without any", method("client_secret"), "client_secret: it is empty, and auth_method client_secret needs it. If it is a reference, Kong could not resolve it: its log says why; " +
			"tenant_id: it is empty, and auth_method client_secret needs it. If it is a reference, Kong could not resolve it: its log says why; " +
			"client_id: it is empty, and auth_method client_secret needs it. If it is a reference, Kong could not resolve it: its log says why"},
		{"certificate file inline", func(c *Config) {
			c.AuthMethod, c.TenantID, c.ClientID, c.ClientCertificate = "client_certificate", "t", "c", "/cert.pem"
		}, "client_certificate: it is not PEM but seems to name a file, and " + secretstore.InsteadOfFile + ", or use the PEM itself"},
		{"federated token file inline", func(c *Config) { c.FederatedTokenFile = "/token" }, "federated_token_file: it names a file, and " + secretstore.InsteadOfFile},
		{"accept_previous_version", func(c *Config) { c.AcceptPreviousVersion = 604801 }, "accept_previous_version: it must be between 0 and 604800"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			storetest.Check(t, defaults(t, tt.change), secretstore.Origin{}, tt.want)
		})
	}
}

func TestLocationWarns(t *testing.T) {
	got, err := secretstore.Check("x", defaults(t, func(c *Config) { c.Location = "westeurope" }), secretstore.Origin{})
	if diff := cmp.Diff([]string{"location: it is accepted because Kong's azure vault has this field, but it is not used"}, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}
