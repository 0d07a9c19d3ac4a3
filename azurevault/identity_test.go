package azurevault

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/certificatetest"
	"kong-vault-auth/secretstore"
)

// environ is an environment of NAME=value.
func environ(vars ...string) func(string) string {
	return func(name string) string {
		for _, v := range vars {
			if value, found := strings.CutPrefix(v, name+"="); found {
				return value
			}
		}
		return ""
	}
}

func TestEveryIdentityReads(t *testing.T) {
	const federatedID = "66666666-6666-6666-6666-666666666666"
	userAssigned := rand.Text() // the SDK keeps managed identities' tokens for as long as the process lives
	cert := certificatetest.SelfSignedRSA()
	certPEM := cert.PEM() + cert.KeyPEM()
	tokenFile := writeFile(t, "token", []byte("federated-assertion"), 0o644)
	certFile := writeFile(t, "cert.pem", []byte(certPEM), 0o400)
	node := func(vars ...string) []string { return append([]string{}, vars...) }
	var inline []string
	for name, tt := range map[string]struct {
		cfg        Config
		env        []string // of the node that has defined the object; nil: it is inline
		appService bool
	}{
		"client secret, inline":         {Config{AuthMethod: "client_secret", TenantID: akvsim.Tenant, ClientID: clientID, ClientSecret: clientSecret}, inline, false},
		"client secret, by node":        {Config{AuthMethod: "client_secret"}, node("AZURE_TENANT_ID="+akvsim.Tenant, "AZURE_CLIENT_ID="+clientID, "AZURE_CLIENT_SECRET="+clientSecret), false},
		"another prefix":                {Config{AuthMethod: "client_secret", CredentialsPrefix: "ORDERS"}, node("ORDERS_TENANT_ID="+akvsim.Tenant, "ORDERS_CLIENT_ID="+clientID, "ORDERS_CLIENT_SECRET="+clientSecret, "AZURE_CLIENT_SECRET=wrong"), false},
		"certificate, inline":           {Config{AuthMethod: "client_certificate", TenantID: akvsim.Tenant, ClientID: "certified", ClientCertificate: certPEM}, inline, false},
		"certificate, from a variable":  {Config{AuthMethod: "client_certificate", TenantID: akvsim.Tenant, ClientID: "certified", ClientCertificate: strings.ReplaceAll(certPEM, "\n", `\n`)}, inline, false},
		"certificate, by file":          {Config{AuthMethod: "client_certificate", TenantID: akvsim.Tenant, ClientID: "certified", ClientCertificate: certFile}, node(), false},
		"managed identity, VM":          {Config{AuthMethod: "managed_identity"}, inline, false},
		"managed identity, chosen":      {Config{AuthMethod: "managed_identity", ClientID: userAssigned}, inline, false},
		"managed identity, App Service": {Config{AuthMethod: "managed_identity", ClientID: userAssigned + "-app"}, inline, true},
		"workload identity":             {Config{AuthMethod: "workload_identity", FederatedTokenFile: tokenFile, TenantID: akvsim.Tenant, ClientID: federatedID}, node(), false},
		"workload identity, AKS":        {Config{AuthMethod: "workload_identity"}, node("AZURE_FEDERATED_TOKEN_FILE="+tokenFile, "AZURE_TENANT_ID="+akvsim.Tenant, "AZURE_CLIENT_ID="+federatedID), false},
		"default, Kong's way":           {Config{TenantID: akvsim.Tenant, ClientID: clientID}, node("AZURE_CLIENT_SECRET=" + clientSecret), false},
		"default, AKS":                  {Config{AuthMethod: "default"}, node("AZURE_FEDERATED_TOKEN_FILE="+tokenFile, "AZURE_TENANT_ID="+akvsim.Tenant, "AZURE_CLIENT_ID="+federatedID), false},
		"default, managed":              {Config{AuthMethod: "default", ClientID: userAssigned}, node(), false},
		"default, found by azidentity":  {Config{AuthMethod: "default"}, node(), false},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAzure(t, akvsim.Options{})
			a.AddApp(akvsim.App{ClientID: "certified", Certificate: cert.Certificate, May: akvsim.Get})
			a.AddApp(akvsim.App{ClientID: federatedID, Federated: "federated-assertion", May: akvsim.Get})
			a.AddApp(akvsim.App{ClientID: "system", SystemAssigned: true, May: akvsim.Get})
			a.AddApp(akvsim.App{ClientID: userAssigned, UserAssigned: true, May: akvsim.Get})
			a.AddApp(akvsim.App{ClientID: userAssigned + "-app", UserAssigned: true, May: akvsim.Get})
			a.put("alice", "s", nil)
			if tt.appService {
				t.Setenv("IDENTITY_ENDPOINT", a.server.IdentityEndpoint())
				t.Setenv("IDENTITY_HEADER", akvsim.IdentityHeader)
			}
			tt.cfg.VaultURI, tt.cfg.NamePrefix = akvsim.VaultURI, prefix
			if got := outcome(a.openAs(t, complete(tt.cfg, tt.env...), secretstore.OpenOptions{TrustNode: tt.env != nil}).Read(t.Context(), "alice")); got != "found alice s" {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestEveryCloudReads(t *testing.T) {
	for _, uri := range []string{"https://contoso.vault.azure.cn", "https://contoso.vault.usgovcloudapi.net"} {
		a := newAzure(t, akvsim.Options{})
		a.put("alice", "s", nil)
		s := a.open(t, func(c *Config) { c.VaultURI = uri })
		if got := outcome(s.Read(t.Context(), "alice")); got != "found alice s" {
			t.Errorf("%s: got %q", uri, got)
		}
	}
}

// Opening can't refuse what a definition accepts.
func TestDefinitionsRefuseWhatOpeningRefuses(t *testing.T) {
	cert := certificatetest.SelfSignedRSA()
	other := func(change func(*Config)) Config {
		cfg := Config{VaultURI: akvsim.VaultURI, TenantID: akvsim.Tenant, ClientID: clientID, ClientSecret: clientSecret, AuthMethod: "client_secret"}
		change(&cfg)
		return complete(cfg)
	}
	inline, node := secretstore.OpenOptions{}, secretstore.OpenOptions{TrustNode: true}
	for name, tt := range map[string]struct {
		cfg  Config
		o    secretstore.OpenOptions
		want string
	}{
		"type":                         {other(func(c *Config) { c.Type = "keys" }), inline, "type: "},
		"vault_uri":                    {other(func(c *Config) { c.VaultURI = "https://contoso.vault.azure.com" }), inline, "vault_uri: "},
		"name_prefix":                  {other(func(c *Config) { c.NamePrefix = "kong_auth_" }), inline, "name_prefix: "},
		"name_prefix, too long":        {other(func(c *Config) { c.NamePrefix = strings.Repeat("p", maxNamePrefix+1) }), inline, "name_prefix: "},
		"auth_method":                  {other(func(c *Config) { c.AuthMethod = "password" }), inline, "auth_method: "},
		"no tenant":                    {other(func(c *Config) { c.TenantID = "" }), node, "tenant_id: "},
		"a tenant that can't be":       {other(func(c *Config) { c.TenantID = "con/toso" }), node, "tenant_id: "},
		"no client":                    {other(func(c *Config) { c.ClientID = "" }), node, "client_id: "},
		"no secret":                    {other(func(c *Config) { c.ClientSecret = "" }), node, "client_secret: it is empty"},
		"no certificate":               {other(func(c *Config) { c.AuthMethod = "client_certificate" }), node, "client_certificate: "},
		"a certificate without a key":  {other(func(c *Config) { c.AuthMethod, c.ClientCertificate = "client_certificate", cert.PEM() }), node, "client_certificate: "},
		"a key without a certificate":  {other(func(c *Config) { c.AuthMethod, c.ClientCertificate = "client_certificate", cert.KeyPEM() }), node, "client_certificate: "},
		"workload identity, no client": {other(func(c *Config) { c.AuthMethod, c.ClientID = "workload_identity", "" }), node, "client_id: "},

		"workload identity, no tenant": {other(func(c *Config) { c.AuthMethod, c.TenantID = "workload_identity", "" }), node, "tenant_id: "},
		"default, a secret, no tenant": {other(func(c *Config) { c.AuthMethod, c.TenantID = "default", "" }), node, "tenant_id: "},
		"a vault elsewhere":            {other(func(c *Config) { c.VaultURI = "https://vault.example.com" }), inline, "vault_uri: "},
		"a managed HSM":                {other(func(c *Config) { c.VaultURI = "https://contoso.managedhsm.azure.net" }), inline, "vault_uri: "},
		"a port":                       {other(func(c *Config) { c.VaultURI = "https://contoso.vault.azure.net:443" }), inline, "vault_uri: "},
		"a name that is too short":     {other(func(c *Config) { c.VaultURI = "https://ab.vault.azure.net" }), inline, "vault_uri: "},
		"a client that can't be":       {other(func(c *Config) { c.AuthMethod, c.ClientID = "managed_identity", "a b" }), inline, "client_id: "},

		"inline, default":        {other(func(c *Config) { c.AuthMethod = "default" }), inline, "auth_method: default"},
		"inline, no secret":      {other(func(c *Config) { c.ClientSecret = "" }), inline, "client_secret: "},
		"inline, a file":         {other(func(c *Config) { c.AuthMethod, c.ClientCertificate = "client_certificate", "/etc/cert.pem" }), inline, "client_certificate: "},
		"inline, federated file": {other(func(c *Config) { c.AuthMethod, c.FederatedTokenFile = "workload_identity", "/etc/token" }), inline, "federated_token_file: "},
		"inline, no tenant":      {other(func(c *Config) { c.AuthMethod, c.TenantID = "workload_identity", "" }), inline, "tenant_id: "},
	} {
		t.Run(name, func(t *testing.T) {
			tt.o.Name = "orders"
			s, err := Open(tt.cfg, tt.o)
			_, checked := secretstore.Check("orders", &tt.cfg, secretstore.Origin{Node: tt.o.TrustNode})
			if fmt.Sprint(checked) != fmt.Sprint(err) {
				t.Errorf("the definition: %v", checked)
			}
			if s != nil || !errors.Is(err, secretstore.ErrConfig) {
				t.Fatalf("got %v, %v", s, err)
			}
			if got := err.Error(); !strings.Contains(got, tt.want) || !strings.Contains(got, `"orders"`) || strings.Contains(got, clientSecret) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCertificateFilesAreReadWithEachLogin(t *testing.T) {
	a := newAzure(t, akvsim.Options{TokenLifetime: time.Second})
	first, second := certificatetest.SelfSignedRSA(), certificatetest.SelfSignedRSA()
	a.AddApp(akvsim.App{ClientID: clientID, ObjectID: objectID, Certificate: first.Certificate, May: akvsim.Get})
	a.put("alice", "s", nil)
	file := writeFile(t, "cert.pem", []byte(first.PEM()+first.KeyPEM()), 0o600)
	cfg := Config{AuthMethod: "client_certificate", TenantID: akvsim.Tenant, ClientID: clientID, ClientCertificate: file}
	p := &secretstore.Problems{Origin: secretstore.Origin{Node: true}}
	cred := cfg.credential(p, clientOptions(clouds[0].cloud, "", newHTTPClient(newTransport(secretstore.Reach{}))))
	if err := p.Err("x"); err != nil {
		t.Fatal(err)
	}
	certificate := cred.TokenCredential.(*certificateFile)
	before, err := certificate.current()
	if err != nil {
		t.Fatal(err)
	}
	if same, err := certificate.current(); err != nil || same != before {
		t.Errorf("an unchanged file made another credential: %v", err)
	}
	if err := os.WriteFile(file, []byte(second.PEM()+second.KeyPEM()), 0o600); err != nil {
		t.Fatal(err)
	}
	if after, err := certificate.current(); err != nil || after == before {
		t.Errorf("a new certificate was not taken up: %v", err)
	}
}

func TestFilesThatMustNotBeUsed(t *testing.T) {
	cert := certificatetest.SelfSignedRSA()
	both := []byte(cert.PEM() + cert.KeyPEM())
	for name, tt := range map[string]struct {
		method, file string
		want         []string
	}{
		"no certificate there": {"client_certificate", filepath.Join(t.TempDir(), "none"), []string{"no such file", "read as soon as it is there"}},
		"readable for all":     {"client_certificate", writeFile(t, "open.pem", both, 0o604), []string{"mode 0604", "chmod 0600 "}},
		"writable for a group": {"client_certificate", writeFile(t, "group.pem", both, 0o660), []string{"mode 0660", "chmod 0640 "}},
		"too large":            {"client_certificate", writeFile(t, "large.pem", make([]byte, maxCertificate+1), 0o600), []string{"larger than"}},
		"no certificate in it": {"client_certificate", writeFile(t, "empty.pem", []byte("hello"), 0o600), []string{"client_certificate: "}},
		"no federated token":   {"workload_identity", filepath.Join(t.TempDir(), "token"), []string{"no such file", "azure.workload.identity/use", "AZURE_FEDERATED_TOKEN_FILE"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAzure(t, akvsim.Options{})
			cfg := Config{VaultURI: akvsim.VaultURI, AuthMethod: tt.method, TenantID: akvsim.Tenant, ClientID: clientID, ClientCertificate: tt.file, FederatedTokenFile: tt.file}
			_, err := a.openAs(t, cfg, secretstore.OpenOptions{TrustNode: true}).Read(t.Context(), "alice")
			if got := outcome(nil, err); got != "failure: file" || !strings.HasPrefix(err.Error(), "login with "+tt.method+": ") {
				t.Errorf("got %v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
		})
	}
}

func writeFile(t *testing.T, name string, content []byte, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return path
}

func TestManagedIdentityOnServiceFabricCanBeOpened(t *testing.T) {
	t.Setenv("IDENTITY_ENDPOINT", "https://localhost:2377/metadata/identity/oauth2/token")
	t.Setenv("IDENTITY_HEADER", "header")
	t.Setenv("IDENTITY_SERVER_THUMBPRINT", "0123456789012345678901234567890123456789")
	s, err := Open(complete(Config{VaultURI: akvsim.VaultURI, AuthMethod: "managed_identity"}), secretstore.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
