package vaultserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
)

// KV says where credentials are kept: a KV secrets engine and a path in it.
type KV struct {
	Mount   string // without slashes around it
	Version int    // 1 or 2
	Path    string // inside the mount; empty for its root
}

// KongAuth is where the examples of this project's documentation keep credentials.
var KongAuth = KV{Mount: "secret", Version: 2, Path: "kong-auth"}

// Config is the configuration of a vault object with the credentials in k, at the URL of a
// server. Its numbers are json.Number.
func (k KV) Config(address, token string) map[string]any {
	u, err := url.Parse(address)
	if err != nil {
		panic(err) // it is a test server's
	}
	return map[string]any{
		"protocol": u.Scheme, "host": u.Hostname(), "port": json.Number(u.Port()),
		"mount": k.Mount, "path": k.Path, "kv": fmt.Sprint("v", k.Version), "token": token,
	}
}

// Secret is the API path of the secret of a name, as reads of it appear in
// the audit file.
func (k KV) Secret(name string) string {
	if k.Version == 2 {
		return path.Join(k.Mount, "data", k.Path, name)
	}
	return path.Join(k.Mount, k.Path, name)
}

// MountKV mounts a KV secrets engine and returns when it can be written to.
func (s *Server) MountKV(ctx context.Context, k KV) error {
	err := s.client.Sys().MountWithContext(ctx, k.Mount, &api.MountInput{
		Type:    "kv",
		Options: map[string]string{"version": fmt.Sprint(k.Version)},
	})
	if err != nil || k.Version != 2 {
		return err
	}
	// A new KV v2 refuses everything for a moment, while it sets itself up.
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return s.await(ctx, func() bool {
		_, err := s.client.Logical().ReadWithContext(ctx, k.Mount+"/config")
		return err == nil
	})
}

// ReadPolicy makes the smallest policy that reads the credentials in k, and
// returns its name.
func (s *Server) ReadPolicy(ctx context.Context, k KV) (name string, err error) {
	name = "read-" + strings.ReplaceAll(k.Secret(""), "/", "-")
	return name, s.PutPolicy(ctx, name, fmt.Sprintf("path %q {\n  capabilities = [\"read\"]\n}\n", k.Secret("*")))
}

// ReadToken makes a Vault token that may read the credentials in k and, apart from what Vault's
// default policy allows every token, nothing else.
func (s *Server) ReadToken(ctx context.Context, k KV, ttl time.Duration) (string, error) {
	policy, err := s.ReadPolicy(ctx, k)
	if err != nil {
		return "", err
	}
	return s.TokenWith(ctx, policy, ttl)
}

// TokenWith makes a Vault token with a policy, and Vault's default one.
func (s *Server) TokenWith(ctx context.Context, policy string, ttl time.Duration) (string, error) {
	secret, err := s.client.Auth().Token().CreateOrphanWithContext(ctx, &api.TokenCreateRequest{
		Policies: []string{policy}, TTL: ttl.String(),
	})
	if err != nil {
		return "", err
	}
	return secret.Auth.ClientToken, nil
}

// RevokeToken makes Vault refuse a token from now on.
func (s *Server) RevokeToken(ctx context.Context, token string) error {
	return s.client.Auth().Token().RevokeOrphanWithContext(ctx, token)
}

// Put writes the secret of a name, as "vault kv put" does.
func (s *Server) Put(ctx context.Context, k KV, name string, fields map[string]any) error {
	if k.Version == 2 {
		fields = map[string]any{"data": fields}
	}
	_, err := s.client.Logical().WriteWithContext(ctx, k.Secret(name), fields)
	return err
}

// Delete deletes the secret of a name; in KV v2 its latest version.
func (s *Server) Delete(ctx context.Context, k KV, name string) error {
	_, err := s.client.Logical().DeleteWithContext(ctx, k.Secret(name))
	return err
}

// Remount moves a secrets engine, as "vault secrets move" does, and returns when
// it has moved.
func (s *Server) Remount(ctx context.Context, from, to string) error {
	return s.client.Sys().RemountWithContext(ctx, from, to)
}
