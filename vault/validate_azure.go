package vault

import (
	"net/url"
	"strings"
)

// maxNamePrefix leaves room for the longest name that an access token is stored
// under: sha256- and 64 hex digits, of the 127 characters of a secret's name.
const maxNamePrefix = 127 - len("sha256-") - 64

func (p *problems) checkAzure(c *Azure) {
	p.nodeFile("federated_token_file", c.FederatedTokenFile)
	p.pem("client_certificate", c.ClientCertificate)
	p.checkVaultURI(c.VaultURI)
	if c.Location != "" {
		p.warn("location", "it is accepted because Kong's azure vault has it, and not used")
	}
	if len(c.NamePrefix) > maxNamePrefix || !isAlphanumericOr(c.NamePrefix, '-') {
		p.add("name_prefix", "it may hold only letters, digits and -, and at most %d of them: Azure allows nothing else in the names of secrets", maxNamePrefix)
	}
	if !isAlphanumericOr(c.CredentialsPrefix, '_') {
		p.add("credentials_prefix", "it may hold only letters, digits and _")
	}
	p.checkEntraID("tenant_id", c.TenantID)
	p.checkEntraID("client_id", c.ClientID)
	p.checkAzureLogin(c)
}

func (p *problems) checkAzureLogin(c *Azure) {
	switch c.AuthMethod {
	case "client_secret":
		p.required("client_secret", c.ClientSecret, c.AuthMethod)
	case "client_certificate":
		p.required("client_certificate", c.ClientCertificate, c.AuthMethod)
	default:
		return
	}
	p.required("tenant_id", c.TenantID, c.AuthMethod)
	p.required("client_id", c.ClientID, c.AuthMethod)
}

func (p *problems) checkEntraID(field, value string) {
	if !isAlphanumericOr(value, '-', '.') {
		p.add(field, "it must be an id as Microsoft Entra shows it, such as 72f988bf-86f1-41af-91ab-2d7cd011db47")
	}
}

// checkVaultURI catches what people write for the URI of a key vault.
func (p *problems) checkVaultURI(uri string) {
	if uri == "" {
		return // the schema requires it
	}
	u, err := url.Parse(uri)
	if err == nil && u.Scheme == "" {
		u, err = url.Parse("https://" + uri)
	}
	if err != nil || u.Hostname() == "" {
		p.add("vault_uri", "it is not a URI; it should look like https://example.vault.azure.net")
		return
	}
	meant := url.URL{Scheme: "https", Host: u.Host}
	switch {
	case !strings.Contains(u.Host, ".") && u.Port() == "":
		meant.Host += ".vault.azure.net"
	case strings.HasSuffix(strings.ToLower(u.Host), ".vault.azure.com"):
		meant.Host = u.Host[:len(u.Host)-len("com")] + "net"
	}
	if given := strings.TrimRight(uri, "/"); given != meant.String() {
		p.add("vault_uri", "it is not the URI of a key vault. Did you mean %s?", meant.String())
	}
}

func isAlphanumericOr(s string, others ...rune) bool {
	for _, r := range s {
		if !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(string(others), r)) {
			return false
		}
	}
	return true
}
