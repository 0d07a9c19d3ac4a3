package azurevault

import (
	"net/url"
	"strings"

	"kong-vault-auth/secretstore"
)

// Check implements secretstore.Config.
func (c *Config) Check(p *secretstore.Problems) {
	p.NodeFile("federated_token_file", c.FederatedTokenFile)
	p.PEM("client_certificate", c.ClientCertificate)
	checkVaultURI(p, c.VaultURI)
	if c.Location != "" {
		p.Warn("location", "it is accepted because Kong's azure vault has it, and not used")
	}
	if len(c.NamePrefix) > maxNamePrefix || !isAlphanumericOr(c.NamePrefix, '-') {
		p.Add("name_prefix", "it may hold only letters, digits and -, and at most %d of them: Azure allows nothing else in the names of secrets", maxNamePrefix)
	}
	if !isAlphanumericOr(c.CredentialsPrefix, '_') {
		p.Add("credentials_prefix", "it may hold only letters, digits and _")
	}
	checkEntraID(p, "tenant_id", c.TenantID)
	checkEntraID(p, "client_id", c.ClientID)
	c.checkLogin(p)
	if p.KeepIdentities && c.AuthMethod != "client_secret" && c.AuthMethod != "client_certificate" {
		p.Add("auth_method", "%s logs in as an identity of the node, and VAULT_AUTH_INLINE_IDENTITIES=off "+
			"keeps those to objects that the node defines: use client_secret or client_certificate, or name an object of the node in config.vault", c.AuthMethod)
	}
}

func (c *Config) checkLogin(p *secretstore.Problems) {
	switch c.AuthMethod {
	case "client_secret":
		p.Required("client_secret", c.ClientSecret, c.AuthMethod)
	case "client_certificate":
		p.Required("client_certificate", c.ClientCertificate, c.AuthMethod)
	default:
		return
	}
	p.Required("tenant_id", c.TenantID, c.AuthMethod)
	p.Required("client_id", c.ClientID, c.AuthMethod)
}

func checkEntraID(p *secretstore.Problems, field, value string) {
	if !isAlphanumericOr(value, '-', '.') {
		p.Add(field, "it must be an id as Microsoft Entra shows it, such as 72f988bf-86f1-41af-91ab-2d7cd011db47")
	}
}

// checkVaultURI catches what people write for the URI of a key vault.
func checkVaultURI(p *secretstore.Problems, uri string) {
	if uri == "" {
		return // the schema requires it
	}
	u, err := url.Parse(uri)
	if err == nil && u.Scheme == "" {
		u, err = url.Parse("https://" + uri)
	}
	if err != nil || u.Hostname() == "" {
		p.Add("vault_uri", "it is not a URI; it should look like https://example.vault.azure.net")
		return
	}
	p.Host("vault_uri", u.Hostname())
	meant := url.URL{Scheme: "https", Host: u.Host}
	switch {
	case !strings.Contains(u.Host, ".") && u.Port() == "":
		meant.Host += ".vault.azure.net"
	case strings.HasSuffix(strings.ToLower(u.Host), ".vault.azure.com"):
		meant.Host = u.Host[:len(u.Host)-len("com")] + "net"
	}
	if given := strings.TrimRight(uri, "/"); given != meant.String() {
		p.Add("vault_uri", "it is not the URI of a key vault. Did you mean %s?", meant.String())
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
