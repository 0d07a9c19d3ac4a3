package vault

import "kong-vault-auth/secretstore"

// HCV configures a HashiCorp Vault object, with the field names of Kong's hcv
// vault.
type HCV struct {
	Protocol          string `json:"protocol" kong:"default=http;one_of=http|https" doc:"Protocol of the Vault server's API."`
	Host              string `json:"host" kong:"default=127.0.0.1;len_min=1" doc:"Host name or address of the Vault server."`
	Port              int    `json:"port" kong:"default=8200;between=1,65535" doc:"Port of the Vault server's API."`
	BasePath          string `json:"base_path" doc:"Path below which a proxy serves Vault's API, what comes before /v1: /vault where VAULT_ADDR is https://proxy.example.com/vault."`
	Namespace         string `json:"namespace" doc:"Vault Enterprise namespace, sent as X-Vault-Namespace."`
	AuthNamespace     string `json:"auth_namespace" doc:"Namespace of the auth method, or of the token that is given, if it isn't namespace; / is the root namespace."`
	Mount             string `json:"mount" kong:"default=secret;len_min=1" doc:"Path at which the KV secrets engine is mounted; may hold slashes."`
	KV                string `json:"kv" kong:"one_of=v1|v2" doc:"Version of the KV secrets engine. Left out, Vault is asked, and v1 is assumed where it won't say."`
	Path              string `json:"path" kong:"len_min=0" doc:"Path inside the mount below which credentials are kept. Set it on a mount that holds other secrets, so that an access token can't name one of these. Empty: they are at the top of the mount."`
	AuthMethod        string `json:"auth_method" kong:"default=token;one_of=token|approle|kubernetes|cert|jwt" doc:"How to log in to Vault."`
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
	JWTRole           string `json:"jwt_role" doc:"Vault role, for the auth method jwt."`
	JWTTokenFile      string `json:"jwt_token_file" doc:"File that holds the JWT, read again at each login. Only on objects that the node defines."`
	SSLVerify         bool   `json:"ssl_verify" kong:"default=true" doc:"Verify the Vault server's certificate."`
	CACert            string `json:"ca_cert" doc:"CA that signed the Vault server's certificate: PEM, or on objects that the node defines a file."`
	TLSServerName     string `json:"tls_server_name" doc:"Name that the Vault server's certificate must carry, if it isn't host."`
	UnixSocket        string `json:"unix_socket" doc:"Socket of a Vault Agent or Proxy to use instead of host and port. Only on objects that the node defines."`
	secretstore.Limits
}

// EntityChecks are the rules across fields, in Kong's schema language: what an
// auth method can't do without is asked for when a configuration is written,
// not when a request needs it. A token is not, for it may be in a file.
func (HCV) EntityChecks() []any {
	needs := func(authMethod, field string) any {
		return map[string]any{"conditional": map[string]any{
			"if_field": "auth_method", "if_match": map[string]any{"eq": authMethod},
			"then_field": field, "then_match": map[string]any{"required": true},
		}}
	}
	return []any{
		needs("approle", "approle_role_id"),
		needs("kubernetes", "kube_role"),
		needs("cert", "cert_auth_cert"),
		needs("cert", "cert_auth_cert_key"),
		needs("jwt", "jwt_role"),
	}
}

// Azure configures an Azure Key Vault object, with the field names of Kong's
// azure vault.
type Azure struct {
	VaultURI              string              `json:"vault_uri" kong:"required;len_min=1" doc:"URI of the key vault, such as https://example.vault.azure.net."`
	Type                  string              `json:"type" kong:"default=secrets;one_of=secrets" doc:"Kind of Key Vault object that is read; only secrets can be."`
	Location              string              `json:"location" doc:"Azure region. Accepted because Kong's azure vault has it; not used."`
	TenantID              string              `json:"tenant_id" doc:"Microsoft Entra tenant id."`
	ClientID              string              `json:"client_id" doc:"Client id of the service principal or of a user-assigned managed identity."`
	AuthMethod            string              `json:"auth_method" kong:"default=default;one_of=default|client_secret|client_certificate|managed_identity|workload_identity" doc:"Which Azure identity to use."`
	CredentialsPrefix     string              `json:"credentials_prefix" kong:"default=AZURE;match=^[%w_]+$" doc:"Prefix of the environment variables that hold the service principal, such as AZURE_CLIENT_SECRET. Read for objects that the node defines."`
	ClientSecret          string              `json:"client_secret" kong:"referenceable;encrypted" doc:"Client secret, for the auth method client_secret."`
	ClientCertificate     string              `json:"client_certificate" kong:"referenceable;encrypted" doc:"Client certificate and key, for the auth method client_certificate: PEM, or on objects that the node defines a file."`
	FederatedTokenFile    string              `json:"federated_token_file" doc:"File that holds the federated token, for the auth method workload_identity. Only on objects that the node defines."`
	NamePrefix            string              `json:"name_prefix" kong:"default=kong-auth-;len_min=0;match=^[%w-]*$" doc:"Prefix of the names of secrets that hold credentials, so that an access token can't name another secret."`
	AcceptPreviousVersion secretstore.Seconds `json:"accept_previous_version" kong:"default=0;between=0,604800" doc:"Seconds for which the preceding version's secret token still works after a new version was made in Key Vault. 0 means not at all."`
	secretstore.Limits
}
