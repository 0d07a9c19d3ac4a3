package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheEnvironmentKeepsNoSecrets(t *testing.T) {
	before := os.Environ()
	t.Cleanup(func() {
		os.Clearenv()
		for _, line := range before {
			name, value, _ := strings.Cut(line, "=")
			os.Setenv(name, value)
		}
	})
	taken := []string{
		"VAULT_TOKEN", "VAULT_ADDR", "VAULT_AUTH_VAULTS_FILE", "KONG_VAULT_HCV_TOKEN", "KONG_VAULT_AZURE_CLIENT_SECRET",
		"AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_PASSWORD", "AZURE_STORAGE_KEY",
		"ORDERS_CLIENT_SECRET", "HCV_TOKEN", "ANYTHING", "GOOGLE_API_KEY",
	}
	kept := []string{
		"PATH", "HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "GODEBUG",
		"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST", "AZURE_TOKEN_CREDENTIALS",
		"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "MSI_SECRET",
	}
	os.Clearenv()
	for _, name := range append(taken, kept...) {
		os.Setenv(name, "the "+name)
	}
	getenv := takeEnv()
	want := map[string]string{}
	for _, name := range append(taken, kept...) {
		if got := getenv(name); got != "the "+name {
			t.Errorf("what was read of %s: %q", name, got)
		}
	}
	for _, name := range kept {
		want[name] = "the " + name
	}
	got := map[string]string{}
	for _, line := range os.Environ() {
		name, value, _ := strings.Cut(line, "=")
		got[name] = value
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
