package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"kong-vault-auth/pluginserver"
	"kong-vault-auth/secretsocket"
	"kong-vault-auth/vault"
)

// secretOptions reads the settings for resolving references, for Kong's vault strategies and
// for the plugin vault-secrets.
func secretOptions(o *vault.Options, getenv func(string) string) (err error) {
	if o.SecretPolicy, err = vault.ReadSecretPolicy(getenv("VAULT_AUTH_SECRETS_POLICY")); err != nil {
		return fmt.Errorf("VAULT_AUTH_SECRETS_POLICY: %w", err)
	}
	file, key := getenv("VAULT_AUTH_SECRETS_SNAPSHOT_FILE"), getenv("VAULT_AUTH_SECRETS_SNAPSHOT_KEY_FILE")
	if (file != "") != (key != "") || file != "" && filepath.Dir(file) == filepath.Dir(key) {
		return errors.New("VAULT_AUTH_SECRETS_SNAPSHOT_FILE and VAULT_AUTH_SECRETS_SNAPSHOT_KEY_FILE: set both, to files in different folders (openssl rand -base64 32 makes a key)")
	}
	o.SecretsSnapshot, o.SecretsSnapshotKey = file, key
	return nil
}

// serveSecrets answers Kong's vault strategies until ctx ends, at the secrets
// socket; stop waits for the end.
func serveSecrets(ctx context.Context, c *pluginserver.Command, secrets *vault.Secrets, getenv func(string) string, log *slog.Logger) (stop func(), err error) {
	path, err := secretsocket.Path(getenv("VAULT_AUTH_SECRETS_LISTEN"), c.SocketPath)
	if err != nil {
		return nil, fmt.Errorf("VAULT_AUTH_SECRETS_LISTEN: %w", err)
	}
	return secretsocket.Start(ctx, path, c.SocketGroup, secrets, log), nil
}
