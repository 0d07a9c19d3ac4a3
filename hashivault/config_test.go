package hashivault

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/certificatetest"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/secretstore/storetest"
)

// inOneLine is PEM as many tools put it into an environment variable.
func inOneLine(pem string) string { return strings.ReplaceAll(pem, "\n", `\n`) }

// defaults is a valid inline object with defaults, changed by edit.
func defaults(t *testing.T, edit func(*Config)) *Config {
	t.Helper()
	return storetest.Defaults(t, &Config{}, func(c *Config) { c.Token = "hvs.one" }, edit)
}

func TestProblemsAreExplained(t *testing.T) {
	const nothingOfTheNode = "a plugin's configuration may not use what belongs to the node. Define the vault object in VAULT_AUTH_VAULTS_FILE and name it in config.vault"
	kong := certificatetest.NewCA().Issue("kong")
	cert, key := kong.PEM(), kong.KeyPEM()
	tests := []struct {
		name   string
		node   bool
		change func(*Config)
		want   string // the error, less its beginning; empty: none
	}{
		{"defaults and a token", false, nil, ""},
		{"a v2 mount with slashes", false, func(c *Config) { c.KV, c.Mount, c.Path = "v2", "/team/kv/", "" }, ""},
		{"behind a path", false, func(c *Config) { c.BasePath = "/team/vault/" }, ""},
		{"PEM literals", false, func(c *Config) {
			c.Protocol, c.AuthMethod, c.CACert, c.CertAuthCert, c.CertAuthCertKey = "https", "cert", cert, cert, key
		}, ""},
		{"PEM literals in one line", false, func(c *Config) {
			c.Protocol, c.AuthMethod = "https", "cert"
			c.CACert, c.CertAuthCert, c.CertAuthCertKey = inOneLine(cert), inOneLine(cert), inOneLine(key)
		}, ""},
		{"files of the node", true, func(c *Config) { c.Token, c.TokenFile, c.CACert = "", "/run/token", "/etc/ca.pem" }, ""},
		{"an agent's socket", true, func(c *Config) { c.Token, c.UnixSocket = "", "/run/agent.sock" }, ""},
		{"approle", false, func(c *Config) { c.AuthMethod, c.AppRoleRoleID, c.AppRoleSecretID = "approle", "role", "secret" }, ""},
		{"approle without a secret id", false, func(c *Config) { c.AuthMethod, c.AppRoleRoleID = "approle", "role" }, ""},
		{"kubernetes of the node", true, func(c *Config) { c.AuthMethod, c.KubeRole = "kubernetes", "kong" }, ""},
		{"jwt of the node", true, func(c *Config) { c.AuthMethod, c.JWTRole, c.JWTTokenFile = "jwt", "kong", "/run/jwt" }, ""},
		{"jwt from an identity provider", false, oauth2Config, ""},
		{"azure of the node", true, func(c *Config) { c.AuthMethod, c.AzureAuthRole = "azure", "kong" }, ""},
		{"gcp_iam of the node", true, gcpIAMConfig, ""},
		{"gcp_gce of the node", true, func(c *Config) { c.AuthMethod, c.GCPAuthRole = "gcp_gce", "kong" }, ""},
		{"aws_iam with a key", false, awsIAMConfig, ""},
		{"aws_iam of the node", true, func(c *Config) { awsIAMConfig(c); c.AWSAccessKeyID, c.AWSSecretKey = "", "" }, ""},
		{"aws_ec2 of the node", true, func(c *Config) { c.AuthMethod, c.AWSAuthRole, c.AWSAuthNonce = "aws_ec2", "kong", "n" }, ""},

		{"no token", false, func(c *Config) { c.Token = "" }, "token: it is empty, and auth_method token needs it. If it is a reference, Kong could not resolve it: its log says why"},
		{"no token on the node", true, func(c *Config) { c.Token = "" }, "token: it is empty, and auth_method token needs it"},
		{"two tokens", true, func(c *Config) { c.TokenFile = "/run/token" }, "token: token and token_file exclude each other"},
		{"token with a line break", false, func(c *Config) { c.Token = "hvs.one\n" }, "token: it holds line breaks or other control characters"},
		{"kv", false, func(c *Config) { c.KV = "2" }, "kv: it must be v1 or v2"},
		{"auth_method", false, func(c *Config) { c.AuthMethod = "userpass" }, "auth_method: it must be token or approle or kubernetes or cert or jwt or azure or gcp_iam or gcp_gce or aws_iam or aws_ec2"},
		{"protocol", false, func(c *Config) { c.Protocol = "unix" }, "protocol: it must be http or https"},
		{"port", false, func(c *Config) { c.Port = 0 }, "port: it must be between 1 and 65535"},
		{"ttl", false, func(c *Config) { c.TTL = -1 }, "ttl: it must be between 0 and 100000000"},
		{"no mount", false, func(c *Config) { c.Mount = "" }, "mount: it is empty"},
		{"mount that climbs", false, func(c *Config) { c.Mount = "kv/../sys" }, "mount: it has an empty segment, or one that is . or .."},
		{"path that climbs", false, func(c *Config) { c.Path = "." }, "path: it has an empty segment, or one that is . or .."},
		{"path with a double slash", false, func(c *Config) { c.Path = "a//b" }, "path: it has an empty segment, or one that is . or .."},
		{"host with scheme", false, func(c *Config) { c.Host = "https://vault.example.com/" }, "host: it is a URL. Did you mean host vault.example.com and protocol https?"},
		{"host with port", false, func(c *Config) { c.Host = "localhost:8200" }, "host: it holds a port. Did you mean host localhost and port 8200?"},
		{"host with path", false, func(c *Config) { c.Host = "localhost/vault/" }, "host: it holds a path. Did you mean host localhost and base_path /vault?"},
		{"host with query", false, func(c *Config) { c.Host = "localhost?x" }, "host: it must be a host name or an address, and nothing else"},
		{"host with scheme and path", false, func(c *Config) { c.Host = "https://proxy.example.com/team/vault" },
			"host: it is a URL. Did you mean host proxy.example.com, protocol https and base_path /team/vault?"},
		{"base path that climbs", false, func(c *Config) { c.BasePath = "/vault/.." }, "base_path: it has an empty segment, or one that is . or .."},
		{"base path with the API's version", false, func(c *Config) { c.BasePath = "/vault/v1/" }, "base_path: it ends in v1, which the plugin adds; leave that out"},
		{"unresolved reference", false, func(c *Config) { c.Namespace = "{vault://env/NS}" },
			"namespace: Kong resolves references only in token, approle_role_id, approle_secret_id, cert_auth_cert_key, oauth2_client_id, oauth2_client_secret, aws_auth_nonce, aws_access_key_id, aws_secret_access_key"},
		{"approle without ids", true, func(c *Config) { c.AuthMethod = "approle" },
			"approle_role_id: it is empty, and auth_method approle needs it"},
		{"nothing wrapped", true, func(c *Config) {
			c.AuthMethod, c.AppRoleRoleID, c.AppRoleWrapped, c.TokenSinkFile = "approle", "role", true, "/run/sink"
		}, "approle_secret_id: it is empty, and approle_response_wrapping needs it, or approle_secret_id_file"},
		{"two secret ids", true, func(c *Config) {
			c.AuthMethod, c.AppRoleRoleID, c.AppRoleSecretID, c.AppRoleSecretFile = "approle", "role", "secret", "/run/id"
		}, "approle_secret_id: approle_secret_id and approle_secret_id_file exclude each other"},
		{"wrapped without a sink", true, func(c *Config) {
			c.AuthMethod, c.AppRoleRoleID, c.AppRoleSecretID, c.AppRoleWrapped = "approle", "role", "secret", true
		}, "approle_response_wrapping: a wrapped secret id can be unwrapped once, and Kong starts a new plugin server at every reload. " +
			"Set token_sink_file, which keeps the Vault token between them, on a vault object that the node defines"},
		{"kubernetes without role", true, func(c *Config) { c.AuthMethod = "kubernetes" }, "kube_role: it is empty, and auth_method kubernetes needs it"},
		{"kubernetes inline", false, func(c *Config) { c.AuthMethod, c.KubeRole = "kubernetes", "kong" },
			"auth_method: kubernetes logs in as the node's service account, and " + nothingOfTheNode},
		{"cert without TLS", true, func(c *Config) { c.AuthMethod, c.CertAuthCert, c.CertAuthCertKey = "cert", "/c.pem", "/k.pem" },
			"protocol: auth_method cert needs https, because the certificate is shown in the TLS handshake"},
		{"jwt without a file", true, func(c *Config) { c.AuthMethod, c.JWTRole = "jwt", "kong" }, "jwt_token_file: it is empty, and auth_method jwt needs it"},
		{"jwt from two places", true, func(c *Config) { oauth2Config(c); c.JWTTokenFile = "/f" },
			"jwt_token_file: it excludes the oauth2_ fields: the JWT comes from a file or from an identity provider"},
		{"jwt from nowhere", true, func(c *Config) { c.AuthMethod, c.OAuth2Audiences = "jwt", "vault" },
			"oauth2_role_name: it is empty, and auth_method jwt needs it; oauth2_client_id: it is empty, and auth_method jwt needs it; " +
				"oauth2_client_secret: it is empty, and auth_method jwt needs it; oauth2_token_endpoint: it is empty, and auth_method jwt needs it"},
		{"a token endpoint with a password", false, func(c *Config) { oauth2Config(c); c.OAuth2Endpoint = "https://a:s3cret@idp.example.com/" },
			"oauth2_token_endpoint: it must be a URL such as https://login.example.com/oauth/token, without a name and password"},
		{"a token endpoint at the metadata service", false, func(c *Config) { oauth2Config(c); c.OAuth2Endpoint = "http://169.254.169.254/token" },
			"oauth2_token_endpoint: 169.254.169.254 is link-local or a cloud's metadata service, and the plugin never connects to those (point the vault object at the secret store itself)"},
		{"azure inline", false, func(c *Config) { c.AuthMethod, c.AzureAuthRole = "azure", "kong" },
			"auth_method: azure logs in as the node's Azure identity, and " + nothingOfTheNode},
		{"azure without role", true, func(c *Config) { c.AuthMethod = "azure" }, "azure_auth_role: it is empty, and auth_method azure needs it"},
		{"gcp_gce inline", false, func(c *Config) { c.AuthMethod, c.GCPAuthRole = "gcp_gce", "kong" },
			"auth_method: gcp_gce logs in as the node's Google Cloud identity, and " + nothingOfTheNode},
		{"gcp_iam inline", false, gcpIAMConfig, "auth_method: gcp_iam logs in as the node's Google Cloud identity, and " + nothingOfTheNode},
		{"gcp_iam without anything", true, func(c *Config) { c.AuthMethod = "gcp_iam" },
			"gcp_service_account: it is empty, and auth_method gcp_iam needs it; " +
				"gcp_jwt_exp: it is 0 or left out, so the JWT would never be valid: set it to a number of seconds from 1 to 900; " +
				"gcp_auth_role: it is empty, and auth_method gcp_iam needs it"},
		{"gcp_iam for too long", true, func(c *Config) { gcpIAMConfig(c); c.GCPJWTExp = 901 }, "gcp_jwt_exp: it must be between 0 and 900"},
		{"a service account that is a path", true, func(c *Config) { gcpIAMConfig(c); c.GCPServiceAccount = "../x" },
			"gcp_service_account: it must be an email address such as kong@project.iam.gserviceaccount.com, or a number"},
		{"aws_iam inline as the node", false, func(c *Config) { awsIAMConfig(c); c.AWSAccessKeyID, c.AWSSecretKey = "", "" },
			"auth_method: aws_iam logs in as the node's AWS identity, and " + nothingOfTheNode},
		{"half an access key", true, func(c *Config) { awsIAMConfig(c); c.AWSSecretKey = "" },
			"aws_access_key_id: aws_access_key_id and aws_secret_access_key must be set together"},
		{"the other half", true, func(c *Config) { awsIAMConfig(c); c.AWSAccessKeyID = "" },
			"aws_access_key_id: aws_access_key_id and aws_secret_access_key must be set together"},
		{"aws_iam without a region", true, func(c *Config) { awsIAMConfig(c); c.AWSAuthRegion = "" }, "aws_auth_region: it is empty, and auth_method aws_iam needs it"},
		{"a region that is a host", true, func(c *Config) { awsIAMConfig(c); c.AWSAuthRegion = "x.example.com/" }, "aws_auth_region: it must be a region such as eu-central-1"},
		{"a role without ARN", true, func(c *Config) { awsIAMConfig(c); c.AWSAssumeRoleARN = "Kong" },
			"aws_assume_role_arn: it must be the ARN of a role, such as arn:aws:iam::123456789012:role/Kong"},
		{"a role assumed at the metadata service", false, func(c *Config) {
			awsIAMConfig(c)
			c.AWSAssumeRoleARN, c.AWSSTSEndpoint = "arn:aws:iam::123456789012:role/Kong", "http://169.254.169.254/"
		}, "aws_sts_endpoint_url: 169.254.169.254 is link-local or a cloud's metadata service, and the plugin never connects to those (point the vault object at the secret store itself)"},
		{"aws_ec2 inline", false, func(c *Config) { c.AuthMethod, c.AWSAuthRole, c.AWSAuthNonce = "aws_ec2", "kong", "n" },
			"auth_method: aws_ec2 logs in as the node's EC2 identity, and " + nothingOfTheNode},
		{"aws_ec2 without a nonce", true, func(c *Config) { c.AuthMethod, c.AWSAuthRole = "aws_ec2", "kong" }, "aws_auth_nonce: it is empty, and auth_method aws_ec2 needs it"},
		{"a login path that climbs", true, func(c *Config) {
			c.AuthMethod, c.AzureAuthRole, c.AzureLoginPath = "azure", "kong", "/v1/auth/../sys/login"
		},
			"azure_login_path: it has an empty segment, or one that is . or .."},
		{"relative socket", true, func(c *Config) { c.UnixSocket = "agent.sock" }, "unix_socket: it must be an absolute path"},
		{"file of PEM inline", false, func(c *Config) { c.CACert = "/etc/ca.pem" },
			"ca_cert: it is not PEM but seems to name a file, and " + nothingOfTheNode + ", or use the PEM itself"},
	}
	for field, set := range map[string]func(*Config){
		"token_file":             func(c *Config) { c.Token, c.TokenFile = "", "/f" },
		"approle_secret_id_file": func(c *Config) { c.AppRoleSecretFile = "/f" },
		"token_sink_file":        func(c *Config) { c.TokenSinkFile = "/f" },
		"kube_api_token_file":    func(c *Config) { c.KubeAPITokenFile = "/f" },
		"jwt_token_file":         func(c *Config) { c.JWTTokenFile = "/f" },
		"unix_socket":            func(c *Config) { c.UnixSocket = "/f" },
	} {
		tests = append(tests, struct {
			name   string
			node   bool
			change func(*Config)
			want   string
		}{field + " inline", false, set, field + ": it names a file, and " + nothingOfTheNode})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			storetest.Check(t, defaults(t, tt.change), secretstore.Origin{Node: tt.node}, tt.want)
		})
	}
}

func oauth2Config(c *Config) {
	c.AuthMethod, c.OAuth2RoleName, c.OAuth2Endpoint = "jwt", "kong", "https://idp.example.com/oauth/token"
	c.OAuth2ClientID, c.OAuth2Secret = "gateway", "s3cret"
}

func gcpIAMConfig(c *Config) {
	c.AuthMethod, c.GCPAuthRole, c.GCPServiceAccount, c.GCPJWTExp = "gcp_iam", "kong", "kong@p.iam.gserviceaccount.com", 900
}

func awsIAMConfig(c *Config) {
	c.AuthMethod, c.AWSAuthRole, c.AWSAuthRegion, c.AWSAccessKeyID, c.AWSSecretKey = "aws_iam", "kong", "eu-central-1", "AKIAKONG", "s3cret"
}

// Even trusted inline objects may not log in as the node if the node reserves that for
// its own objects.
func TestIdentitiesOfTheNodeMayBeKept(t *testing.T) {
	const kept = " identity, and VAULT_AUTH_INLINE_IDENTITIES=off keeps those to objects that the node defines: name one of them in config.vault"
	for method, want := range map[string]string{
		"azure": "azure logs in as the node's Azure", "gcp_gce": "gcp_gce logs in as the node's Google Cloud", "aws_ec2": "aws_ec2 logs in as the node's EC2",
	} {
		storetest.Check(t, defaults(t, func(c *Config) {
			c.AuthMethod, c.AzureAuthRole, c.GCPAuthRole, c.AWSAuthRole, c.AWSAuthNonce = method, "r", "r", "r", "n"
		}), secretstore.Origin{Node: true, KeepIdentities: true}, "auth_method: "+want+kept)
	}
}

// The limit on where inline objects may connect applies to identity providers too.
func TestIdentityProvidersAreWithinReach(t *testing.T) {
	reach, err := secretstore.ParseReach("vault.example.com")
	if err != nil {
		t.Fatal(err)
	}
	storetest.Check(t, defaults(t, func(c *Config) { oauth2Config(c); c.Host = "vault.example.com" }), secretstore.Origin{Reach: reach},
		"oauth2_token_endpoint: idp.example.com is not among VAULT_AUTH_INLINE_HOSTS, which says where objects inside a plugin's configuration may connect (add it there, or have the node define the object)")
}

func TestNodeSaysWhichIdentitiesItHas(t *testing.T) {
	c := &Config{}
	if err := c.FromEnvironment(func(string) bool { return true }, func(name string) string { return "<" + name + ">" }); err != nil {
		t.Fatal(err)
	}
	want := nodeEnvironment{
		AzureTenant: "<AZURE_TENANT_ID>", AzureClient: "<AZURE_CLIENT_ID>", AzureSecret: "<AZURE_CLIENT_SECRET>",
		AzureTokenFile: "<AZURE_FEDERATED_TOKEN_FILE>", AzureEndpoint: "<IDENTITY_ENDPOINT><MSI_ENDPOINT>", GoogleServiceAccount: "<GCP_SERVICE_ACCOUNT>",
	}
	if diff := cmp.Diff(want, c.Node); diff != "" {
		t.Error(diff)
	}
}

func TestWhereSnapshotsMayBe(t *testing.T) {
	for _, tt := range []struct {
		name, file, key string
		node            bool
		want            string
	}{
		{"of the node", "/var/lib/kong/snapshot", "/run/secrets/key", true, ""},
		{"inline", "/a/snapshot", "/b/key", false, "snapshot_file: it names a file, and " + secretstore.InsteadOfFile + "; snapshot_key_file: it names a file, and " + secretstore.InsteadOfFile},
		{"no key", "/a/snapshot", "", true, "snapshot_file: it needs snapshot_key_file: openssl rand -base64 32 makes a key"},
		{"only a key", "", "/b/key", true, "snapshot_key_file: it has no effect without snapshot_file"},
		{"beside each other", "/a/snapshot", "/b/../a/key", true, "snapshot_key_file: it must be in another folder than snapshot_file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			storetest.Check(t, defaults(t, func(c *Config) { c.SnapshotFile, c.SnapshotKeyFile = tt.file, tt.key }), secretstore.Origin{Node: tt.node}, tt.want)
		})
	}
}

func TestWarnings(t *testing.T) {
	const plain = "protocol: without TLS, anybody who can read the traffic learns the Vault token and every secret token; use https"
	tests := []struct {
		name string
		edit func(*Config)
		want []string
	}{
		{"loopback", nil, nil},
		{"loopback by name", func(c *Config) { c.Host = "LocalHost" }, nil},
		{"loopback, IPv6", func(c *Config) { c.Host = "[::1]" }, nil},
		{"TLS", func(c *Config) { c.Protocol, c.Host = "https", "vault" }, nil},
		{"plain http", func(c *Config) { c.Host = "vault" }, []string{plain}},
		{"plain http to an address", func(c *Config) { c.Host = "10.0.0.1" }, []string{plain}},
		{"a name that only begins like loopback", func(c *Config) { c.Host = "127.0.0.1.example.com" }, []string{plain}},
		{"an identity provider without TLS", func(c *Config) { oauth2Config(c); c.OAuth2Endpoint = "http://idp.example.com/" },
			[]string{"oauth2_token_endpoint: without TLS, anybody who can read the traffic learns the client secret; use https"}},
		{"no verification", func(c *Config) { c.Protocol, c.SSLVerify = "https", false },
			[]string{"ssl_verify: it is off, so anybody who can redirect connections to Vault can let anybody in; set ca_cert instead"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := secretstore.Check("x", defaults(t, tt.edit), secretstore.Origin{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Kong passes a reference that it can't resolve as an empty string. Only the reference
// shows which one that was.
func TestUnresolvedReferenceIsNamed(t *testing.T) {
	refs := map[string]string{"token": "{vault://env/my-token}", "approle_role_id": "{vault://env/unused}"}
	storetest.Check(t, defaults(t, func(c *Config) { c.Token = "" }), secretstore.Origin{Refs: refs}, "token: Kong could not resolve the reference {vault://env/my-token}: its log says why; "+
		"approle_role_id: Kong could not resolve the reference {vault://env/unused}: its log says why")
}
