package vault

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/secretstore"
)

func TestObjectsOfTheEnvironment(t *testing.T) {
	hcv := func(change func(*HCV)) map[string]Definition {
		return map[string]Definition{"hcv": {Name: "hcv", Node: true, Config: inlineHCV(t, change).Inline}}
	}
	azure := func(change func(*Azure)) map[string]Definition {
		c := inlineAzure(t, func(c *Azure) { c.AuthMethod = "default" }).Inline
		change(c.(*Azure))
		return map[string]Definition{"azure": {Name: "azure", Node: true, Config: c}}
	}
	tests := []struct {
		name string
		env  []string
		want map[string]Definition
	}{
		{"none", []string{"VAULT_TOKEN", "hvs.one", "AZURE_CLIENT_SECRET", "s"}, map[string]Definition{}},
		{"hcv as Kong documents it", []string{
			"KONG_VAULT_HCV_PROTOCOL", "https", "KONG_VAULT_HCV_HOST", "vault", "KONG_VAULT_HCV_PORT", "443", "KONG_VAULT_HCV_MOUNT", "kv",
			"KONG_VAULT_HCV_KV", "v2", "KONG_VAULT_HCV_TOKEN", "hvs.two", "KONG_VAULT_HCV_NAMESPACE", "ns", "KONG_VAULT_HCV_TTL", "1.5",
			"KONG_VAULT_HCV_SSL_VERIFY", "off", "KONG_VAULT_HCV_NEG_TTL", "",
		}, hcv(func(c *HCV) {
			c.Protocol, c.Host, c.Port, c.Mount, c.KV, c.Token, c.Namespace, c.TTL, c.SSLVerify = "https", "vault", 443, "kv", "v2", "hvs.two", "ns", 1.5, false
		})},
		{"Kong's own name for base64_decode", []string{"KONG_VAULT_HCV_TOKEN", "hvs.two", "KONG_VAULT_HCV_DECODE_BASE64", "true"},
			hcv(func(c *HCV) { c.Token, c.Base64Decode = "hvs.two", true })},
		{"the field's name before Kong's", []string{"KONG_VAULT_HCV_TOKEN", "hvs.two", "KONG_VAULT_HCV_BASE64_DECODE", "false", "KONG_VAULT_HCV_DECODE_BASE64", "true"},
			hcv(withToken("hvs.two"))},
		{"the same for azure", []string{
			"KONG_VAULT_AZURE_VAULT_URI", "https://contoso.vault.azure.net", "KONG_VAULT_AZURE_DECODE_BASE64", "on",
		}, azure(func(c *Azure) { c.Base64Decode = true })},
		{"a reference", []string{"KONG_VAULT_HCV_TOKEN", "{vault://env/my-token}", "MY_TOKEN", "hvs.two"}, hcv(withToken("hvs.two"))},
		{"vault's own variables", []string{
			"VAULT_ADDR", "https://vault", "VAULT_TOKEN", "hvs.two", "VAULT_CACERT", "/etc/ca.pem", "VAULT_NAMESPACE", "ns",
		}, hcv(func(c *HCV) {
			c.Protocol, c.Host, c.Port, c.Token, c.CACert, c.Namespace = "https", "vault", 443, "hvs.two", "/etc/ca.pem", "ns"
		})},
		{"vault's own variables below Kong's", []string{
			"KONG_VAULT_HCV_HOST", "kong", "KONG_VAULT_HCV_TOKEN", "hvs.kong", "KONG_VAULT_HCV_CA_CERT", "/kong.pem", "KONG_VAULT_HCV_NAMESPACE", "kong",
			"VAULT_ADDR", "https://vault", "VAULT_TOKEN", "hvs.two", "VAULT_CACERT", "/etc/ca.pem", "VAULT_NAMESPACE", "ns",
		}, hcv(func(c *HCV) { c.Host, c.Token, c.CACert, c.Namespace = "kong", "hvs.kong", "/kong.pem", "kong" })},
		{"VAULT_ADDR with port", []string{"VAULT_ADDR", "http://[::1]:8300/", "VAULT_TOKEN", "hvs.one"}, hcv(func(c *HCV) { c.Host, c.Port = "::1", 8300 })},
		{"VAULT_ADDR without port", []string{"VAULT_ADDR", "http://vault", "VAULT_TOKEN", "hvs.one"}, hcv(func(c *HCV) { c.Host, c.Port = "vault", 80 })},
		{"VAULT_ADDR with a path", []string{"VAULT_ADDR", "https://proxy/vault/", "VAULT_TOKEN", "hvs.one"},
			hcv(func(c *HCV) { c.Protocol, c.Host, c.Port, c.BasePath = "https", "proxy", 443, "/vault/" })},
		{"VAULT_ADDR below a path of Kong's", []string{"VAULT_ADDR", "http://proxy/vault", "KONG_VAULT_HCV_BASE_PATH", "/kong", "VAULT_TOKEN", "hvs.one"},
			hcv(func(c *HCV) { c.Host, c.Port, c.BasePath = "proxy", 80, "/kong" })},
		{"VAULT_ADDR of an agent, which has a token", []string{"VAULT_ADDR", "unix:///run/agent.sock", "VAULT_TOKEN", "hvs.two"},
			hcv(func(c *HCV) { c.UnixSocket, c.Token = "/run/agent.sock", "" })},
		{"VAULT_TOKEN beside a file", []string{"KONG_VAULT_HCV_TOKEN_FILE", "/run/token", "VAULT_TOKEN", "hvs.two"},
			hcv(func(c *HCV) { c.TokenFile, c.Token = "/run/token", "" })},
		{"azure as Kong documents it", []string{
			"KONG_VAULT_AZURE_VAULT_URI", "https://contoso.vault.azure.net", "KONG_VAULT_AZURE_TENANT_ID", "t", "KONG_VAULT_AZURE_CLIENT_ID", "c",
			"KONG_VAULT_AZURE_LOCATION", "westeurope", "AZURE_CLIENT_SECRET", "s", "AZURE_TENANT_ID", "other",
		}, azure(func(c *Azure) { c.TenantID, c.ClientID, c.Location, c.ClientSecret = "t", "c", "westeurope", "s" })},
		{"azure by the SDK's variables", []string{
			"KONG_VAULT_AZURE_VAULT_URI", "https://contoso.vault.azure.net", "KONG_VAULT_AZURE_CREDENTIALS_PREFIX", "KONG",
			"KONG_CLIENT_SECRET", "s", "KONG_TENANT_ID", "t", "KONG_CLIENT_ID", "c", "AZURE_CLIENT_SECRET", "other",
		}, azure(func(c *Azure) { c.CredentialsPrefix, c.TenantID, c.ClientID, c.ClientSecret = "KONG", "t", "c", "s" })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, failed := fromEnvironment((&fakeStores{}).kinds(), environ(tt.env...))
			if len(failed) > 0 {
				t.Error(failed)
			}
			if diff := cmp.Diff(tt.want, got, byContents); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEnvironmentThatMakesNoSense(t *testing.T) {
	tests := []struct{ variable, value, want string }{
		{"KONG_VAULT_HCV_PORT", "https", "port: it must be a whole number"},
		{"KONG_VAULT_HCV_TTL", "NaN", "ttl: it must be a number"},
		{"KONG_VAULT_HCV_SSL_VERIFY", "maybe", "ssl_verify: it must be true or false"},
		{"KONG_VAULT_HCV_DECODE_BASE64", "maybe", "base64_decode: it must be true or false"},
		{"KONG_VAULT_HCV_TOKEN", "{vault://env/none}", "KONG_VAULT_HCV_TOKEN: the environment variable NONE is not set"},
		{"VAULT_ADDR", "vault:8200", "VAULT_ADDR must be like https://vault.example.com:8200"},
		{"VAULT_ADDR", "https://user:pw@vault", "VAULT_ADDR must be like"},
		{"VAULT_ADDR", "https://vault:99999999999999999999", "environment"},
	}
	for _, tt := range tests {
		defined, failed := fromEnvironment((&fakeStores{}).kinds(), environ(tt.variable, tt.value))
		err := failed["hcv"]
		if len(defined) > 0 || !errors.Is(err, secretstore.ErrConfig) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "pw") {
			t.Errorf("%s=%s: %v, %v; want an error with %q", tt.variable, tt.value, defined, err, tt.want)
		}
	}
}
