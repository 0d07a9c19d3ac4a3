// Package example is the project's own kong.yml, for other ports than its own, which may be
// taken.
package example

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"kong-vault-auth/e2e/build"
)

// Texts of kong.yml.
const (
	Consumer = "mobile-app"
	upstream = "http://127.0.0.1:8080"
	vault    = "port: 8200"
)

// TokenVariable is the environment variable from which kong.yml takes the
// Vault token.
const TokenVariable = "HCV_TOKEN"

// KongYML is kong.yml with an upstream and a Vault at these URLs.
func KongYML(upstreamURL, vaultURL string) (string, error) {
	root, err := build.Root()
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(filepath.Join(root, "kong.yml"))
	if err != nil {
		return "", err
	}
	at, err := url.Parse(vaultURL)
	if err != nil {
		return "", err
	}
	text := string(b)
	for old, new := range map[string]string{upstream: upstreamURL, vault: "port: " + at.Port()} {
		if strings.Count(text, old) != 1 {
			return "", fmt.Errorf("kong.yml does not hold %q, once", old)
		}
		text = strings.Replace(text, old, new, 1)
	}
	return text, nil
}
