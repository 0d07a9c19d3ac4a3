package hashivault

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"kong-vault-auth/secretstore"
)

// Kind is HashiCorp Vault as a kind of secret store.
var Kind = secretstore.Kind{
	Name:     "hcv",
	Variable: "VAULT_ADDR",
	Where:    6,
	New:      func() secretstore.Config { return &Config{} },
	Open: func(c secretstore.Config, o secretstore.OpenOptions) (secretstore.Store, error) {
		return Open(*c.(*Config), o)
	},
	Login: []string{
		"auth_method", "auth_namespace", "token", "token_file", "token_sink_file",
		"approle_auth_path", "approle_role_id", "approle_secret_id", "approle_secret_id_file", "approle_response_wrapping",
		"kube_role", "kube_auth_path", "kube_api_token_file",
		"cert_auth_path", "cert_auth_cert", "cert_auth_cert_key", "cert_auth_role_name",
		"jwt_auth_path", "jwt_role", "jwt_token_file",
		"oauth2_role_name", "oauth2_token_endpoint", "oauth2_client_id", "oauth2_client_secret", "oauth2_audiences",
		"azure_auth_role", "azure_login_path", "azure_resource",
		"gcp_auth_role", "gcp_login_path", "gcp_service_account", "gcp_jwt_exp",
		"aws_auth_role", "aws_login_path", "aws_auth_region", "aws_auth_nonce", "aws_iam_server_id",
		"aws_access_key_id", "aws_secret_access_key", "aws_sts_endpoint_url", "aws_assume_role_arn", "aws_role_session_name",
	},
	Operator: func(c secretstore.Config, o secretstore.Operator) error { return c.(*Config).operator(o) },
	OpenWriter: func(c secretstore.Config, o secretstore.OpenOptions) (secretstore.Writer, error) {
		return OpenWriter(*c.(*Config), o)
	},
}

// Config is the settings of a HashiCorp Vault object, with the field names of
// Kong's hcv vault.
type Config struct {
	Protocol          string `json:"protocol" kong:"default=http;one_of=http|https" doc:"Protocol of the Vault server's API."`
	Host              string `json:"host" kong:"default=127.0.0.1;len_min=1" doc:"Host name or address of the Vault server."`
	Port              int    `json:"port" kong:"default=8200;between=1,65535" doc:"Port of the Vault server's API."`
	BasePath          string `json:"base_path" doc:"Path below which a proxy serves Vault's API, what comes before /v1: /vault where VAULT_ADDR is https://proxy.example.com/vault."`
	Namespace         string `json:"namespace" doc:"Vault Enterprise namespace, sent as X-Vault-Namespace."`
	AuthNamespace     string `json:"auth_namespace" doc:"Namespace of the auth method, or of the token that is given, if it isn't namespace; / is the root namespace."`
	Mount             string `json:"mount" kong:"default=secret;len_min=1" doc:"Path at which the KV secrets engine is mounted; may hold slashes."`
	KV                string `json:"kv" kong:"one_of=v1|v2" doc:"Version of the KV secrets engine. Left out, Vault is asked, and v1 is assumed where it won't say."`
	Path              string `json:"path" kong:"len_min=0" doc:"Path inside the mount below which credentials are kept. Set it on a mount that holds other secrets, so that an access token can't name one of these. Empty: they are at the top of the mount."`
	AuthMethod        string `json:"auth_method" kong:"default=token;one_of=token|approle|kubernetes|cert|jwt|azure|gcp_iam|gcp_gce|aws_iam|aws_ec2" doc:"How to log in to Vault."`
	Token             string `json:"token" kong:"referenceable;encrypted" doc:"Vault token, for the auth method token."`
	TokenFile         string `json:"token_file" doc:"File that holds the Vault token and is read again when it changes, as Vault Agent writes it. Only on objects that the node defines."`
	AppRoleAuthPath   string `json:"approle_auth_path" kong:"default=approle" doc:"Mount path of the AppRole auth method."`
	AppRoleRoleID     string `json:"approle_role_id" kong:"referenceable;encrypted" doc:"Role id, for the auth method approle."`
	AppRoleSecretID   string `json:"approle_secret_id" kong:"referenceable;encrypted" doc:"Secret id, for the auth method approle. A role with bind_secret_id=false needs none, in no file either."`
	AppRoleSecretFile string `json:"approle_secret_id_file" doc:"File that holds the secret id. Only on objects that the node defines."`
	AppRoleWrapped    bool   `json:"approle_response_wrapping" doc:"The secret id is a response-wrapping token, to be unwrapped once."`
	TokenSinkFile     string `json:"token_sink_file" doc:"File (mode 0600) that keeps the Vault token of a wrapped or single-use secret id between restarts. Only on objects that the node defines."`
	KubeRole          string `json:"kube_role" doc:"Vault role, for the auth method kubernetes."`
	KubeAuthPath      string `json:"kube_auth_path" kong:"default=kubernetes" doc:"Mount path of the Kubernetes auth method."`
	KubeAPITokenFile  string `json:"kube_api_token_file" doc:"File that holds the service account token. Only on objects that the node defines."`
	CertAuthPath      string `json:"cert_auth_path" kong:"default=cert" doc:"Mount path of the TLS certificate auth method."`
	CertAuthCert      string `json:"cert_auth_cert" doc:"Client certificate, for the auth method cert: PEM, or on objects that the node defines a file."`
	CertAuthCertKey   string `json:"cert_auth_cert_key" kong:"referenceable;encrypted" doc:"Key of the client certificate: PEM, or on objects that the node defines a file."`
	CertAuthRoleName  string `json:"cert_auth_role_name" doc:"Name of the certificate role to log in to; any that matches when left out."`
	JWTAuthPath       string `json:"jwt_auth_path" kong:"default=jwt" doc:"Mount path of the JWT auth method."`
	JWTRole           string `json:"jwt_role" doc:"Vault role, for the auth method jwt with a JWT from a file."`
	JWTTokenFile      string `json:"jwt_token_file" doc:"File that holds the JWT, read again at each login. Only on objects that the node defines."`
	OAuth2RoleName    string `json:"oauth2_role_name" doc:"Vault role, for the auth method jwt with a JWT from an identity provider."`
	OAuth2Endpoint    string `json:"oauth2_token_endpoint" doc:"URL of the identity provider's token endpoint, which is asked for a JWT with the OAuth2 client credentials grant."`
	OAuth2ClientID    string `json:"oauth2_client_id" kong:"referenceable" doc:"Client id at the identity provider."`
	OAuth2Secret      string `json:"oauth2_client_secret" kong:"referenceable;encrypted" doc:"Client secret at the identity provider."`
	OAuth2Audiences   string `json:"oauth2_audiences" doc:"Audiences that the JWT is asked for, with commas in between."`
	AzureAuthRole     string `json:"azure_auth_role" doc:"Vault role, for the auth method azure."`
	AzureLoginPath    string `json:"azure_login_path" kong:"default=/v1/auth/azure/login" doc:"Path of the Azure auth method's login, or the method's mount path."`
	AzureResource     string `json:"azure_resource" kong:"default=https://management.azure.com/" doc:"Resource that the Entra ID token is for: what resource is in Vault's auth/azure/config."`
	GCPAuthRole       string `json:"gcp_auth_role" doc:"Vault role, for the auth methods gcp_iam and gcp_gce."`
	GCPLoginPath      string `json:"gcp_login_path" kong:"default=/v1/auth/gcp/login" doc:"Path of the Google Cloud auth method's login, or the method's mount path."`
	GCPServiceAccount string `json:"gcp_service_account" doc:"Email address or id of the service account to log in as, for the auth method gcp_iam."`
	GCPJWTExp         int    `json:"gcp_jwt_exp" kong:"between=0,900" doc:"Seconds for which the JWT of the auth method gcp_iam is valid."`
	AWSAuthRole       string `json:"aws_auth_role" doc:"Vault role, for the auth methods aws_iam and aws_ec2."`
	AWSLoginPath      string `json:"aws_login_path" kong:"default=/v1/auth/aws/login" doc:"Path of the AWS auth method's login, or the method's mount path."`
	AWSAuthRegion     string `json:"aws_auth_region" doc:"AWS region whose STS the request of the auth method aws_iam is signed for."`
	AWSAuthNonce      string `json:"aws_auth_nonce" kong:"referenceable;encrypted" doc:"Nonce of the auth method aws_ec2: Vault expects the same one at each login of an instance."`
	AWSAccessKeyID    string `json:"aws_access_key_id" kong:"referenceable" doc:"Access key for the auth method aws_iam. Left out, objects that the node defines use what the AWS SDK finds there."`
	AWSSecretKey      string `json:"aws_secret_access_key" kong:"referenceable;encrypted" doc:"Secret of aws_access_key_id."`
	AWSSTSEndpoint    string `json:"aws_sts_endpoint_url" doc:"URL of STS, if it isn't that of the region: what the request is signed for, and where a role is assumed."`
	AWSAssumeRoleARN  string `json:"aws_assume_role_arn" doc:"IAM role to assume before the request of the auth method aws_iam is signed."`
	AWSSessionName    string `json:"aws_role_session_name" kong:"default=kong" doc:"Session name of the assumed role."`
	AWSServerID       string `json:"aws_iam_server_id" doc:"Value of the signed header X-Vault-AWS-IAM-Server-ID: what iam_server_id_header_value is in Vault's auth/aws/config/client."`
	SSLVerify         bool   `json:"ssl_verify" kong:"default=true" doc:"Verify the Vault server's certificate."`
	CACert            string `json:"ca_cert" doc:"CA that signed the Vault server's certificate: PEM, or on objects that the node defines a file."`
	TLSServerName     string `json:"tls_server_name" doc:"Name that the Vault server's certificate must carry, if it isn't host."`
	UnixSocket        string `json:"unix_socket" doc:"Socket of a Vault Agent or Proxy to use instead of host and port. Only on objects that the node defines."`
	secretstore.Limits

	// Node is what the environment of the node says about its identities.
	Node nodeEnvironment `json:"-"`
}

// EntityChecks are the rules across fields, in Kong's schema language: Kong demands
// the fields that an auth method needs when a configuration is written. A token is
// not among them, since it may be in a file.
func (Config) EntityChecks() []any {
	needs := func(authMethod, field string) any {
		return map[string]any{"conditional": map[string]any{
			"if_field": "auth_method", "if_match": map[string]any{"eq": authMethod},
			"then_field": field, "then_match": map[string]any{"required": true},
		}}
	}
	together := func(fields ...string) any { return map[string]any{"mutually_required": fields} }
	return []any{
		needs("approle", "approle_role_id"),
		needs("kubernetes", "kube_role"),
		needs("cert", "cert_auth_cert"),
		needs("cert", "cert_auth_cert_key"),
		map[string]any{"conditional_at_least_one_of": map[string]any{
			"if_field": "auth_method", "if_match": map[string]any{"eq": "jwt"},
			"then_at_least_one_of": []string{"jwt_role", "oauth2_role_name"},
		}},
		together("oauth2_token_endpoint", "oauth2_client_id", "oauth2_client_secret"),
		needs("azure", "azure_auth_role"),
		needs("gcp_iam", "gcp_auth_role"),
		needs("gcp_iam", "gcp_service_account"),
		needs("gcp_iam", "gcp_jwt_exp"),
		needs("gcp_gce", "gcp_auth_role"),
		needs("aws_iam", "aws_auth_role"),
		needs("aws_iam", "aws_auth_region"),
		together("aws_access_key_id", "aws_secret_access_key"),
		needs("aws_ec2", "aws_auth_role"),
		needs("aws_ec2", "aws_auth_nonce"),
	}
}

// Kind implements secretstore.Config.
func (*Config) Kind() string { return Kind.Name }

// Place implements secretstore.Config.
func (c *Config) Place() string {
	address := c.address()
	// Check refuses an address with a name and password; until then, hide them.
	return "hcv at " + address[strings.LastIndex(address, "@")+1:] + "/" + path.Join(strings.Trim(c.Mount, "/"), c.Path)
}

// Identity implements secretstore.Config.
func (c *Config) Identity() []string {
	namespace := strings.Trim(c.Namespace, "/ ")
	identity := append([]string{
		"hcv", c.address(), namespace, strings.Trim(c.Mount, "/"), strings.Trim(c.Path, "/"), c.KV, c.AuthMethod,
	}, c.role()...)
	if in := strings.Trim(c.AuthNamespace, "/ "); c.AuthNamespace != "" && in != namespace {
		identity = append(identity, "in", in)
	}
	return identity
}

func (c *Config) address() string {
	if c.UnixSocket != "" {
		return "unix://" + c.UnixSocket
	}
	address := c.Protocol + "://" + net.JoinHostPort(strings.ToLower(strings.Trim(c.Host, "[]")), strconv.Itoa(c.Port))
	if base := strings.Trim(c.BasePath, "/"); base != "" {
		address += "/" + base
	}
	return address
}

// role is the identity that logs in. It is empty for a token, which has no identity
// that outlives it.
func (c *Config) role() []string {
	switch c.AuthMethod {
	case "approle":
		digest := sha256.Sum256([]byte(c.AppRoleRoleID)) // many treat role ids as secrets
		return []string{c.AppRoleAuthPath, hex.EncodeToString(digest[:])}
	case "kubernetes":
		return []string{c.KubeAuthPath, c.KubeRole}
	case "cert":
		return []string{c.CertAuthPath, c.CertAuthRoleName}
	case "jwt":
		if c.usesOAuth2() {
			return []string{c.JWTAuthPath, c.oauth2Role(), "oauth2", c.OAuth2Endpoint, c.OAuth2ClientID}
		}
		return []string{c.JWTAuthPath, c.JWTRole}
	case "azure":
		return []string{loginMount(c.AzureLoginPath), c.AzureAuthRole}
	case "gcp_iam":
		return []string{loginMount(c.GCPLoginPath), c.GCPAuthRole, c.GCPServiceAccount}
	case "gcp_gce":
		return []string{loginMount(c.GCPLoginPath), c.GCPAuthRole}
	case "aws_iam":
		return []string{loginMount(c.AWSLoginPath), c.AWSAuthRole, c.AWSAssumeRoleARN}
	case "aws_ec2":
		return []string{loginMount(c.AWSLoginPath), c.AWSAuthRole}
	}
	return nil
}

// FromEnvironment implements secretstore.Config, for the variables of the vault
// command.
func (c *Config) FromEnvironment(set func(field string) bool, getenv func(string) string) error {
	if !set("protocol") && !set("host") && !set("port") && !set("unix_socket") {
		if err := c.setAddress(getenv("VAULT_ADDR"), set("base_path")); err != nil {
			return err
		}
	}
	c.Namespace = cmp.Or(c.Namespace, getenv("VAULT_NAMESPACE"))
	c.CACert = cmp.Or(c.CACert, getenv("VAULT_CACERT"))
	c.Node = readNodeEnvironment(getenv)
	if c.AuthMethod == "token" && c.TokenFile == "" && c.UnixSocket == "" {
		c.Token = cmp.Or(c.Token, getenv("VAULT_TOKEN"))
	}
	return nil
}

// setAddress sets the address to that of VAULT_ADDR. baseSet says that the object
// sets base_path itself.
func (c *Config) setAddress(address string, baseSet bool) (err error) {
	if address == "" {
		return nil
	}
	if socket, isSocket := strings.CutPrefix(address, "unix://"); isSocket {
		c.UnixSocket = socket
		return nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return errors.New("VAULT_ADDR must be like https://vault.example.com:8200, or https://proxy.example.com/vault")
	}
	if !baseSet && strings.Trim(u.Path, "/") != "" {
		c.BasePath = u.Path
	}
	c.Protocol, c.Host = u.Scheme, u.Hostname()
	switch {
	case u.Port() != "":
		c.Port, err = strconv.Atoi(u.Port())
	case u.Scheme == "https":
		c.Port = 443
	default:
		c.Port = 80
	}
	return err
}

// SingleUse implements secretstore.SingleUse.
func (c *Config) SingleUse() bool { return c.AuthMethod == "approle" && c.AppRoleWrapped }

// operator sets the login that the vault command would use: the token in a file that
// the command line names, in VAULT_TOKEN, or in ~/.vault-token, where "vault login"
// puts it.
func (c *Config) operator(o secretstore.Operator) error {
	home := filepath.Join(o.Getenv("HOME"), ".vault-token")
	switch {
	case o.TokenFile != "":
		c.Token, c.TokenFile = "", o.TokenFile
	case o.Getenv("VAULT_TOKEN") != "":
		c.Token = o.Getenv("VAULT_TOKEN")
	case o.Getenv("HOME") != "" && exists(home):
		c.TokenFile = home
	case c.UnixSocket == "": // else a Vault Agent may add a token of its own
		return errors.New("you have no Vault token: run vault login, set VAULT_TOKEN, or name a file with --token-file. " +
			"The plugin's own login is not used for writing")
	}
	return nil
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
