package azurevault

import (
	"cmp"
	"errors"
	"regexp"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"kong-vault-auth/secretstore"
)

// Kind is Azure Key Vault as a kind of secret store.
var Kind = secretstore.Kind{
	Name: "azure",
	New:  func() secretstore.Config { return &Config{} },
	Open: func(c secretstore.Config, o secretstore.OpenOptions) (secretstore.Store, error) {
		return Open(*c.(*Config), o)
	},
	Key:              func(c secretstore.Config, accessToken string) string { return c.(*Config).key(accessToken) },
	Where:            3,
	ReadsPerSecond:   400, // 4,000 in 10 s, for a vault in a region
	CreatesPerSecond: 30,  // 300 in 10 s
	Login: []string{
		"auth_method", "tenant_id", "client_id", "credentials_prefix",
		"client_secret", "client_certificate", "federated_token_file",
	},
	Operator: func(_ secretstore.Config, o secretstore.Operator) error {
		if o.TokenFile != "" {
			return errors.New("--token-file is for HashiCorp Vault; az login, or AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, say who you are")
		}
		return nil // auth_method default finds the operator's login, with az login as the last choice
	},
	OpenWriter: func(c secretstore.Config, o secretstore.OpenOptions) (secretstore.Writer, error) {
		return OpenWriter(*c.(*Config), o)
	},
}

// Config is the settings of an Azure Key Vault object, with the field names of
// Kong's azure vault.
type Config struct {
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

	// NodeTokenFile is AZURE_FEDERATED_TOKEN_FILE of the node's environment.
	NodeTokenFile string `json:"-"`
}

// Kind implements secretstore.Config.
func (*Config) Kind() string { return Kind.Name }

// Place implements secretstore.Config.
func (c *Config) Place() string {
	address := c.address()
	// Check refuses an address with a name and password; until then, hide them.
	return "azure at " + address[strings.LastIndex(address, "@")+1:]
}

// Identity implements secretstore.Config.
func (c *Config) Identity() []string {
	return []string{
		"azure", c.address(), strings.ToLower(c.NamePrefix),
		c.AuthMethod, strings.ToLower(c.TenantID), strings.ToLower(c.ClientID),
	}
}

// key is the secret's name in lower case, since Key Vault ignores case.
func (c *Config) key(accessToken string) string {
	return strings.ToLower(secretName(c.NamePrefix, accessToken))
}

func (c *Config) address() string {
	return strings.ToLower(strings.TrimRight(c.VaultURI, "/"))
}

// FromEnvironment implements secretstore.Config, for the identity's variables that
// Kong documents, such as AZURE_CLIENT_SECRET.
func (c *Config) FromEnvironment(_ func(field string) bool, getenv func(string) string) error {
	c.TenantID = cmp.Or(c.TenantID, getenv(c.CredentialsPrefix+"_TENANT_ID"))
	c.ClientID = cmp.Or(c.ClientID, getenv(c.CredentialsPrefix+"_CLIENT_ID"))
	c.ClientSecret = cmp.Or(c.ClientSecret, getenv(c.CredentialsPrefix+"_CLIENT_SECRET"))
	c.NodeTokenFile = cmp.Or(c.NodeTokenFile, getenv("AZURE_FEDERATED_TOKEN_FILE"))
	return nil
}

// Check implements secretstore.Config.
func (c *Config) Check(p *secretstore.Problems) {
	e := c.endpoint(p)
	if c.Location != "" {
		p.Warn("location", "it is accepted because Kong's azure vault has this field, but it is not used")
	}
	if !isName(c.NamePrefix) || len(c.NamePrefix) > maxNamePrefix {
		p.Add("name_prefix", "it may hold only letters, digits and -, and at most %d of them: Azure allows nothing else in the names of secrets", maxNamePrefix)
	}
	if !variablePrefix.MatchString(c.CredentialsPrefix) {
		p.Add("credentials_prefix", "it may hold only letters, digits and _")
	}
	if p.KeepIdentities && c.AuthMethod != "client_secret" && c.AuthMethod != "client_certificate" {
		p.Add("auth_method", "%s logs in as an identity of the node, and VAULT_AUTH_INLINE_IDENTITIES=off "+
			"reserves those for objects that the node defines: use client_secret or client_certificate, or name an object of the node in config.vault", c.AuthMethod)
	}
	c.credential(p, azcore.ClientOptions{Cloud: e.cloud})
}

var variablePrefix = regexp.MustCompile(`^[0-9A-Za-z_]*$`)
