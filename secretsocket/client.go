package secretsocket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"kong-vault-auth/unixsocket"
	"kong-vault-auth/vault"
)

// usual are the paths of the installations that deploy/ and the documents describe.
var usual = []string{
	"/run/vault-auth/vault-auth-secrets.socket",
	"/usr/local/kong/vault-auth-secrets.socket", // started by Kong
}

// Find returns the secrets socket of this node's plugin server: the one that
// VAULT_AUTH_SECRETS_LISTEN names, or one of the usual ones. It is empty if there is none.
func Find(getenv func(string) string) string {
	paths := usual
	if setting := getenv("VAULT_AUTH_SECRETS_LISTEN"); setting != "" {
		paths = []string{strings.TrimPrefix(setting, "unix:")}
	}
	for _, path := range paths {
		if info, err := os.Lstat(path); err == nil && info.Mode().Type() == os.ModeSocket {
			return path
		}
	}
	return ""
}

// Ask asks the plugin server at a socket, as Kong's vault strategies do.
func Ask(ctx context.Context, path string, a vault.Ask) (vault.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	body, err := json.Marshal(question(a))
	if err != nil {
		return vault.Answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://vault-auth/secret", bytes.NewReader(body))
	if err != nil {
		return vault.Answer{}, err
	}
	resp, err := unixsocket.Transport(path).RoundTrip(req)
	if err != nil {
		return vault.Answer{}, fmt.Errorf("the plugin server can't be asked at %s: %w", path, err)
	}
	defer resp.Body.Close()
	var got answer
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		return vault.Answer{}, fmt.Errorf("the answer of the plugin server at %s can't be read: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK || got.Value == "" {
		return vault.Answer{}, errors.New(got.Error)
	}
	return vault.Answer{Value: got.Value, TTL: got.TTL}, nil
}
