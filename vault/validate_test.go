package vault

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/secretstore"
)

const somePEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

// inOneLine is how many tools put PEM into an environment variable.
func inOneLine(pem string) string { return strings.ReplaceAll(pem, "\n", `\n`) }

func TestValidateHCV(t *testing.T) {
	const nothingOfTheNode = "a plugin's configuration may use nothing of the node's. Define the vault object in VAULT_AUTH_VAULTS_FILE and name it in config.vault"
	tests := []struct {
		name   string
		node   bool
		change func(*HCV)
		want   string // the error, less its beginning; empty: none
	}{
		{"defaults and a token", false, nil, ""},
		{"a v2 mount with slashes", false, func(c *HCV) { c.KV, c.Mount, c.Path = "v2", "/team/kv/", "" }, ""},
		{"behind a path", false, func(c *HCV) { c.BasePath = "/team/vault/" }, ""},
		{"PEM literals", false, func(c *HCV) {
			c.Protocol, c.AuthMethod, c.CACert, c.CertAuthCert, c.CertAuthCertKey = "https", "cert", somePEM, somePEM, somePEM
		}, ""},
		{"PEM literals in one line", false, func(c *HCV) {
			c.Protocol, c.AuthMethod = "https", "cert"
			c.CACert, c.CertAuthCert, c.CertAuthCertKey = inOneLine(somePEM), inOneLine(somePEM), inOneLine(somePEM)
		}, ""},
		{"files of the node", true, func(c *HCV) { c.Token, c.TokenFile, c.CACert = "", "/run/token", "/etc/ca.pem" }, ""},
		{"an agent's socket", true, func(c *HCV) { c.Token, c.UnixSocket = "", "/run/agent.sock" }, ""},
		{"approle", false, func(c *HCV) { c.AuthMethod, c.AppRoleRoleID, c.AppRoleSecretID = "approle", "role", "secret" }, ""},
		{"approle without a secret id", false, func(c *HCV) { c.AuthMethod, c.AppRoleRoleID = "approle", "role" }, ""},
		{"kubernetes of the node", true, func(c *HCV) { c.AuthMethod, c.KubeRole = "kubernetes", "kong" }, ""},
		{"jwt of the node", true, func(c *HCV) { c.AuthMethod, c.JWTRole, c.JWTTokenFile = "jwt", "kong", "/run/jwt" }, ""},

		{"no token", false, withToken(""), "token: it is empty, and auth_method token needs it. If it is a reference, Kong could not resolve it: its log says why"},
		{"no token on the node", true, withToken(""), "token: it is empty, and auth_method token needs it"},
		{"two tokens", true, func(c *HCV) { c.TokenFile = "/run/token" }, "token: token and token_file exclude each other"},
		{"token with a line break", false, withToken("hvs.one\n"), "token: it holds line breaks or other control characters"},
		{"kv", false, func(c *HCV) { c.KV = "2" }, "kv: it must be v1 or v2"},
		{"auth_method", false, func(c *HCV) { c.AuthMethod = "userpass" }, "auth_method: it must be token or approle or kubernetes or cert or jwt"},
		{"protocol", false, func(c *HCV) { c.Protocol = "unix" }, "protocol: it must be http or https"},
		{"port", false, func(c *HCV) { c.Port = 0 }, "port: it must be between 1 and 65535"},
		{"ttl", false, func(c *HCV) { c.TTL = -1 }, "ttl: it must be between 0 and 100000000"},
		{"no mount", false, func(c *HCV) { c.Mount = "" }, "mount: it is empty"},
		{"mount that climbs", false, func(c *HCV) { c.Mount = "kv/../sys" }, "mount: it has an empty segment, or one that is . or .."},
		{"path that climbs", false, func(c *HCV) { c.Path = "." }, "path: it has an empty segment, or one that is . or .."},
		{"path with a double slash", false, func(c *HCV) { c.Path = "a//b" }, "path: it has an empty segment, or one that is . or .."},
		{"host with scheme", false, func(c *HCV) { c.Host = "https://vault.example.com/" }, "host: it is a URL. Did you mean host vault.example.com and protocol https?"},
		{"host with port", false, func(c *HCV) { c.Host = "localhost:8200" }, "host: it holds a port. Did you mean host localhost and port 8200?"},
		{"host with path", false, func(c *HCV) { c.Host = "localhost/vault/" }, "host: it holds a path. Did you mean host localhost and base_path /vault?"},
		{"host with query", false, func(c *HCV) { c.Host = "localhost?x" }, "host: it must be a host name or an address, and nothing else"},
		{"host with scheme and path", false, func(c *HCV) { c.Host = "https://proxy.example.com/team/vault" },
			"host: it is a URL. Did you mean host proxy.example.com, protocol https and base_path /team/vault?"},
		{"base path that climbs", false, func(c *HCV) { c.BasePath = "/vault/.." }, "base_path: it has an empty segment, or one that is . or .."},
		{"base path with the API's version", false, func(c *HCV) { c.BasePath = "/vault/v1/" }, "base_path: it ends in v1, which is added by itself; give what comes before that"},
		{"unresolved reference", false, func(c *HCV) { c.Namespace = "{vault://env/NS}" },
			"namespace: Kong resolves references only in token, approle_role_id, approle_secret_id, cert_auth_cert_key"},
		{"approle without ids", true, func(c *HCV) { c.AuthMethod = "approle" },
			"approle_role_id: it is empty, and auth_method approle needs it"},
		{"nothing wrapped", true, func(c *HCV) {
			c.AuthMethod, c.AppRoleRoleID, c.AppRoleWrapped, c.TokenSinkFile = "approle", "role", true, "/run/sink"
		}, "approle_response_wrapping: it needs approle_secret_id or approle_secret_id_file"},
		{"two secret ids", true, func(c *HCV) {
			c.AuthMethod, c.AppRoleRoleID, c.AppRoleSecretID, c.AppRoleSecretFile = "approle", "role", "secret", "/run/id"
		}, "approle_secret_id: approle_secret_id and approle_secret_id_file exclude each other"},
		{"wrapped without a sink", true, func(c *HCV) {
			c.AuthMethod, c.AppRoleRoleID, c.AppRoleSecretID, c.AppRoleWrapped = "approle", "role", "secret", true
		}, "approle_response_wrapping: a wrapped secret id can be unwrapped once, and Kong starts a new plugin server at every reload. " +
			"Set token_sink_file, which keeps the Vault token between them, on a vault object that the node defines"},
		{"kubernetes without role", true, func(c *HCV) { c.AuthMethod = "kubernetes" }, "kube_role: it is empty, and auth_method kubernetes needs it"},
		{"kubernetes inline", false, func(c *HCV) { c.AuthMethod, c.KubeRole = "kubernetes", "kong" },
			"auth_method: kubernetes logs in as the node's service account, and " + nothingOfTheNode},
		{"cert without TLS", true, func(c *HCV) { c.AuthMethod, c.CertAuthCert, c.CertAuthCertKey = "cert", "/c.pem", "/k.pem" },
			"protocol: auth_method cert needs https, because the certificate is shown in the TLS handshake"},
		{"jwt without a file", true, func(c *HCV) { c.AuthMethod, c.JWTRole = "jwt", "kong" }, "jwt_token_file: it is empty, and auth_method jwt needs it"},
		{"relative socket", true, func(c *HCV) { c.UnixSocket = "agent.sock" }, "unix_socket: it must be an absolute path"},
		{"file of PEM inline", false, func(c *HCV) { c.CACert = "/etc/ca.pem" },
			"ca_cert: it is not PEM but may name a file, and " + nothingOfTheNode + ", or give the PEM itself"},
	}
	for field, set := range map[string]func(*HCV){
		"token_file":             func(c *HCV) { c.Token, c.TokenFile = "", "/f" },
		"approle_secret_id_file": func(c *HCV) { c.AppRoleSecretFile = "/f" },
		"token_sink_file":        func(c *HCV) { c.TokenSinkFile = "/f" },
		"kube_api_token_file":    func(c *HCV) { c.KubeAPITokenFile = "/f" },
		"jwt_token_file":         func(c *HCV) { c.JWTTokenFile = "/f" },
		"unix_socket":            func(c *HCV) { c.UnixSocket = "/f" },
	} {
		tests = append(tests, struct {
			name   string
			node   bool
			change func(*HCV)
			want   string
		}{field + " inline", false, set, field + ": it names a file, and " + nothingOfTheNode})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Validate(Definition{Name: "x", HCV: inlineHCV(t, tt.change).HCV, Node: tt.node})
			checkConfigError(t, err, tt.want)
		})
	}
}

func TestValidateSnapshot(t *testing.T) {
	for _, tt := range []struct {
		name, file, key string
		node            bool
		want            string
	}{
		{"of the node", "/var/lib/kong/snapshot", "/run/secrets/key", true, ""},
		{"inline", "/a/snapshot", "/b/key", false, "snapshot_file: it names a file, and " + insteadOfFile + "; snapshot_key_file: it names a file, and " + insteadOfFile},
		{"no key", "/a/snapshot", "", true, "snapshot_file: it needs snapshot_key_file: openssl rand -base64 32 makes a key"},
		{"only a key", "", "/b/key", true, "snapshot_key_file: it is of no use without snapshot_file"},
		{"beside each other", "/a/snapshot", "/b/../a/key", true, "snapshot_key_file: it must lie in another folder than snapshot_file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hcv := inlineHCV(t, func(c *HCV) { c.SnapshotFile, c.SnapshotKeyFile = tt.file, tt.key })
			_, err := Validate(Definition{Name: "x", HCV: hcv.HCV, Node: tt.node})
			checkConfigError(t, err, tt.want)
			azure := inlineAzure(t, func(c *Azure) { c.SnapshotFile, c.SnapshotKeyFile = tt.file, tt.key })
			_, err = Validate(Definition{Name: "x", Azure: azure.Azure, Node: tt.node})
			checkConfigError(t, err, tt.want)
		})
	}
}

func TestValidateAzure(t *testing.T) {
	uri := func(uri string) func(*Azure) { return func(c *Azure) { c.VaultURI = uri } }
	method := func(method string) func(*Azure) { return func(c *Azure) { c.AuthMethod = method } }
	const entra = "it must be an id as Microsoft Entra shows it, such as 72f988bf-86f1-41af-91ab-2d7cd011db47"
	tests := []struct {
		name   string
		change func(*Azure)
		want   string
	}{
		{"defaults", nil, ""},
		{"trailing slash", uri("https://contoso.vault.azure.net/"), ""},
		{"sovereign cloud", uri("https://contoso.vault.azure.cn"), ""},
		{"no prefix", func(c *Azure) { c.NamePrefix = "" }, ""},
		{"managed identity", method("managed_identity"), ""},
		{"workload identity", method("workload_identity"), ""},
		{"client secret", func(c *Azure) {
			c.AuthMethod, c.TenantID, c.ClientID, c.ClientSecret = "client_secret", "contoso.onmicrosoft.com", "72f988bf-86f1-41af-91ab-2d7cd011db47", "s"
		}, ""},

		{"no URI", uri(""), "vault_uri: it is empty"},
		{"plain http", uri("http://contoso.vault.azure.net"), "vault_uri: it is not the URI of a key vault. Did you mean https://contoso.vault.azure.net?"},
		{"the domain of Kong's docs", uri("https://contoso.vault.azure.com"), "vault_uri: it is not the URI of a key vault. Did you mean https://contoso.vault.azure.net?"},
		{"no scheme", uri("contoso.vault.azure.net"), "vault_uri: it is not the URI of a key vault. Did you mean https://contoso.vault.azure.net?"},
		{"only a name", uri("contoso"), "vault_uri: it is not the URI of a key vault. Did you mean https://contoso.vault.azure.net?"},
		{"a secret's URI", uri("https://contoso.vault.azure.net/secrets/x?y"), "vault_uri: it is not the URI of a key vault. Did you mean https://contoso.vault.azure.net?"},
		{"nonsense", uri("https://"), "vault_uri: it is not a URI; it should look like https://example.vault.azure.net"},
		{"keys", func(c *Azure) { c.Type = "keys" }, "type: it must be secrets"},
		{"name prefix", func(c *Azure) { c.NamePrefix = "kong_auth" }, "name_prefix: it may hold only letters, digits and -, and at most 56 of them: Azure allows nothing else in the names of secrets"},
		{"long name prefix", func(c *Azure) { c.NamePrefix = strings.Repeat("a", 57) }, "name_prefix: it may hold only letters, digits and -, and at most 56 of them: Azure allows nothing else in the names of secrets"},
		{"credentials prefix", func(c *Azure) { c.CredentialsPrefix = "A=B" }, "credentials_prefix: it may hold only letters, digits and _"},
		{"tenant", func(c *Azure) { c.TenantID = "a/b" }, "tenant_id: " + entra},
		{"client", func(c *Azure) { c.ClientID = "a b" }, "client_id: " + entra},
		{"client secret without any", method("client_secret"), "client_secret: it is empty, and auth_method client_secret needs it. If it is a reference, Kong could not resolve it: its log says why; " +
			"tenant_id: it is empty, and auth_method client_secret needs it. If it is a reference, Kong could not resolve it: its log says why; " +
			"client_id: it is empty, and auth_method client_secret needs it. If it is a reference, Kong could not resolve it: its log says why"},
		{"certificate file inline", func(c *Azure) {
			c.AuthMethod, c.TenantID, c.ClientID, c.ClientCertificate = "client_certificate", "t", "c", "/cert.pem"
		}, "client_certificate: it is not PEM but may name a file, and " + insteadOfFile + ", or give the PEM itself"},
		{"federated token file inline", func(c *Azure) { c.FederatedTokenFile = "/token" }, "federated_token_file: it names a file, and " + insteadOfFile},
		{"accept_previous_version", func(c *Azure) { c.AcceptPreviousVersion = 604801 }, "accept_previous_version: it must be between 0 and 604800"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Validate(Definition{Name: "x", Azure: inlineAzure(t, tt.change).Azure})
			checkConfigError(t, err, tt.want)
		})
	}
}

// checkConfigError compares err with the problems it should name, none if want
// is empty.
func checkConfigError(t *testing.T, err error, want string) {
	t.Helper()
	got := ""
	if err != nil {
		if !errors.Is(err, secretstore.ErrConfig) {
			t.Errorf("%v does not match ErrConfig", err)
		}
		got = strings.TrimPrefix(err.Error(), `vault object configuration of "x": `)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestValidateWarns(t *testing.T) {
	const plain = "protocol: without TLS, whoever listens on the way learns the Vault token and every secret token; use https"
	tests := []struct {
		name string
		c    Config
		want []string
	}{
		{"loopback", inlineHCV(t, nil), nil},
		{"loopback by name", inlineHCV(t, func(c *HCV) { c.Host = "LocalHost" }), nil},
		{"loopback, IPv6", inlineHCV(t, func(c *HCV) { c.Host = "[::1]" }), nil},
		{"TLS", inlineHCV(t, func(c *HCV) { c.Protocol, c.Host = "https", "vault" }), nil},
		{"plain http", inlineHCV(t, func(c *HCV) { c.Host = "vault" }), []string{plain}},
		{"plain http to an address", inlineHCV(t, func(c *HCV) { c.Host = "10.0.0.1" }), []string{plain}},
		{"a name that only begins like loopback", inlineHCV(t, func(c *HCV) { c.Host = "127.0.0.1.example.com" }), []string{plain}},
		{"no verification", inlineHCV(t, func(c *HCV) { c.Protocol, c.SSLVerify = "https", false }),
			[]string{"ssl_verify: it is off, so whoever can redirect connections to Vault can let anybody in; give ca_cert instead"}},
		{"location", inlineAzure(t, func(c *Azure) { c.Location = "westeurope" }),
			[]string{"location: it is accepted because Kong's azure vault has it, and not used"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Validate(Definition{Name: "x", HCV: tt.c.HCV, Azure: tt.c.Azure})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What Kong can't resolve it hands over as an empty string. The reference is all
// that is left to tell which one.
func TestUnresolvedReferenceIsNamed(t *testing.T) {
	_, err := Validate(Definition{
		Name: "x",
		HCV:  inlineHCV(t, withToken("")).HCV,
		Refs: map[string]string{"token": "{vault://env/my-token}", "approle_role_id": "{vault://env/unused}"},
	})
	checkConfigError(t, err, "token: Kong could not resolve the reference {vault://env/my-token}: its log says why; "+
		"approle_role_id: Kong could not resolve the reference {vault://env/unused}: its log says why")
}

func TestValidateNeedsExactlyOneKind(t *testing.T) {
	for _, d := range []Definition{{Name: "x"}, {Name: "x", HCV: &HCV{}, Azure: &Azure{}}} {
		_, err := Validate(d)
		checkConfigError(t, err, "config: exactly one of hcv and azure must be set")
	}
}
