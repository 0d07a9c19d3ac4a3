package azurevault

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"

	"kong-vault-auth/secretstore"
)

// endpoint is a key vault and its cloud.
type endpoint struct {
	url   string
	host  string
	name  string // the vault's
	scope string // of access tokens
	cloud cloud.Configuration
}

// clouds are Azure's national clouds, by the domain of their key vaults.
var clouds = []struct {
	domain string
	cloud  cloud.Configuration
}{
	{"vault.azure.net", cloud.AzurePublic},
	{"vault.azure.cn", cloud.AzureChina},
	{"vault.usgovcloudapi.net", cloud.AzureGovernment},
}

// isKeyVault reports whether a host is in a domain of key vaults.
func isKeyVault(host string) bool {
	_, domain, _ := strings.Cut(strings.ToLower(host), ".")
	for _, c := range clouds {
		if domain == c.domain {
			return true
		}
	}
	return false
}

// vaultName matches the names that Azure allows for key vaults.
var vaultName = regexp.MustCompile(`^[a-z](?:-?[a-z0-9]){2,23}$`)

// endpoint parses and checks vault_uri.
func (c *Config) endpoint(p *secretstore.Problems) endpoint {
	e, err := parseEndpoint(c.VaultURI)
	p.AddError("vault_uri", err)
	p.Host("vault_uri", e.host)
	return e
}

// parseEndpoint reads a vault_uri. Azure's SDK sends access tokens only to hosts in
// the cloud's vault domain, so no other host could work.
func parseEndpoint(uri string) (endpoint, error) {
	u, err := url.Parse(uri)
	if err == nil && u.Scheme == "" {
		u, err = url.Parse("https://" + uri) // the scheme is often left out
	}
	if err != nil || u.Hostname() == "" {
		return endpoint{}, errors.New("it is not a URI; it should look like https://example.vault.azure.net")
	}
	host := strings.ToLower(u.Host)
	name, domain, _ := strings.Cut(host, ".")
	if strings.Contains(domain, "managedhsm.") {
		return endpoint{}, errors.New("it must be the URI of a key vault: a managed HSM keeps no secrets")
	}
	for _, c := range clouds {
		if domain == c.domain && vaultName.MatchString(name) && len(name) <= 24 && strings.EqualFold(strings.TrimRight(uri, "/"), "https://"+host) {
			return endpoint{"https://" + host, host, name, "https://" + c.domain + "/.default", c.cloud}, nil
		}
	}
	meant := "example"
	if name, _, _ := strings.Cut(name, ":"); vaultName.MatchString(name) {
		meant = name
	}
	return endpoint{}, fmt.Errorf("it is not the URI of a key vault. Did you mean https://%s.%s?", meant, nearestDomain(domain))
}

// nearestDomain guesses which cloud a wrong domain was meant for.
func nearestDomain(domain string) string {
	switch {
	case strings.HasSuffix(domain, ".cn"):
		return "vault.azure.cn"
	case strings.Contains(domain, "usgov"), strings.HasSuffix(domain, ".us"):
		return "vault.usgovcloudapi.net"
	}
	return "vault.azure.net"
}
