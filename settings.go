package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"

	"kong-vault-auth/blocklist"
	"kong-vault-auth/control"
	"kong-vault-auth/fleet"
	"kong-vault-auth/kongstatus"
	"kong-vault-auth/localhttp"
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/secretsocket"
	"kong-vault-auth/securefile"
	"kong-vault-auth/vault"
)

// settings are the environment variables of the plugin server itself. Those of vault objects
// are read in package vault.
type settings struct {
	level       slog.Level
	credentials int // that each store's cache keeps; 0 is vault's own default
	metrics     localhttp.Address
	control     string // the control socket's path; empty: none
	kong        *kongstatus.Client
	schedule    func() error
	events      *fleet.Settings // nil: no other nodes
	eventsKey   string
}

// readSettings reads them. socket is the plugin server's. Errors name the variable.
func readSettings(socket string) (s settings, err error) {
	s.level = logLevel(os.Getenv("VAULT_AUTH_LOG_LEVEL"))
	s.eventsKey = os.Getenv(blocklist.KeyVariable)
	if s.credentials, err = maxCredentials(os.Getenv("VAULT_AUTH_MAX_CREDENTIALS")); err != nil {
		return s, fmt.Errorf("VAULT_AUTH_MAX_CREDENTIALS: %w", err)
	}
	if s.metrics, err = localhttp.ParseAddress(os.Getenv("VAULT_AUTH_METRICS_LISTEN")); err != nil {
		return s, fmt.Errorf("VAULT_AUTH_METRICS_LISTEN: %w", err)
	}
	if s.kong, err = kongstatus.New(os.Getenv("VAULT_AUTH_KONG_STATUS")); err != nil {
		return s, fmt.Errorf("VAULT_AUTH_KONG_STATUS: %w", err)
	}
	if s.schedule, err = scheduling(os.Getenv("VAULT_AUTH_SCHEDULING")); err != nil {
		return s, fmt.Errorf("VAULT_AUTH_SCHEDULING: %w", err)
	}
	if err := blocklist.CheckSettings(os.Getenv); err != nil {
		return s, err
	}
	if s.events, err = fleet.ParseSettings(os.Getenv); err != nil {
		return s, err
	}
	if s.control, err = control.Path(os.Getenv(control.Variable), socket); err != nil {
		return s, fmt.Errorf("%s: %w", control.Variable, err)
	}
	return s, distinct(socket, s.control, s.metrics)
}

// distinct checks that no two of the process's sockets have the same path.
func distinct(plugin, control string, metricsAddress localhttp.Address) error {
	own, err := filepath.Abs(plugin)
	switch {
	case err != nil:
		return err
	case metricsAddress.String() == "unix:"+own:
		return errors.New("VAULT_AUTH_METRICS_LISTEN: the socket is the one that Kong connects to, choose another path")
	case control == own:
		return errors.New("VAULT_AUTH_CONTROL: the socket is the one that Kong connects to, choose another path")
	case control != "" && metricsAddress.String() == "unix:"+control:
		return errors.New("VAULT_AUTH_CONTROL: the socket is the one that VAULT_AUTH_METRICS_LISTEN names, choose another path")
	}
	return nil
}

// mostCredentials is far more than fits into one node's memory.
const mostCredentials = 100_000_000

// maxCredentials is how many credentials a store's cache keeps; 0, without a setting, means
// vault's default.
func maxCredentials(setting string) (int, error) {
	if setting == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(setting)
	if err != nil || n < 1 || n > mostCredentials {
		return 0, fmt.Errorf("it must be a whole number between 1 and %d, not %.40q", mostCredentials, setting)
	}
	return n, nil
}

const maxEnvFile = 1 << 20 // bytes

// addEnv adds a file's variables to the environment. Variables that are already set win, as
// with every such file.
func addEnv(path string) error {
	b, err := securefile.Read(path, securefile.Group, maxEnvFile)
	if err != nil {
		return err
	}
	env, err := pluginserver.ParseEnv(bytes.NewReader(b))
	if err != nil {
		return err
	}
	for name, value := range env {
		if _, set := os.LookupEnv(name); set {
			continue
		}
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}

func logLevel(name string) slog.Level {
	var level slog.Level // info, also for an unknown name
	_ = level.UnmarshalText([]byte(name))
	return level
}

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
