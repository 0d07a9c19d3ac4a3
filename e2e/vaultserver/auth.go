package vaultserver

import (
	"context"
	"time"

	"github.com/hashicorp/vault/api"
)

// EnableAuth enables an auth method of a kind (approle, cert, …) at auth/mount.
func (s *Server) EnableAuth(ctx context.Context, mount, kind string) error {
	return s.client.Sys().EnableAuthWithOptionsWithContext(ctx, mount, &api.EnableAuthOptions{Type: kind})
}

// PutPolicy writes a policy.
func (s *Server) PutPolicy(ctx context.Context, name, rules string) error {
	return s.client.Sys().PutPolicyWithContext(ctx, name, rules)
}

// Read reads any path of the API, with the root token.
func (s *Server) Read(ctx context.Context, path string) (*api.Secret, error) {
	return s.client.Logical().ReadWithContext(ctx, path)
}

// Write writes to any path of the API, with the root token, as "vault write"
// does.
func (s *Server) Write(ctx context.Context, path string, fields map[string]any) (*api.Secret, error) {
	return s.client.Logical().WriteWithContext(ctx, path, fields)
}

// DeletePath deletes at any path of the API, with the root token, as "vault
// delete" does.
func (s *Server) DeletePath(ctx context.Context, path string) error {
	_, err := s.client.Logical().DeleteWithContext(ctx, path)
	return err
}

// WriteWrapped is Write with the answer wrapped (-wrap-ttl). It returns the
// token that unwraps it, once.
func (s *Server) WriteWrapped(ctx context.Context, path string, fields map[string]any, ttl time.Duration) (token string, err error) {
	client, err := s.client.CloneWithHeaders()
	if err != nil {
		return "", err
	}
	client.SetToken(s.Token)
	client.SetWrappingLookupFunc(func(string, string) string { return ttl.String() })
	secret, err := client.Logical().WriteWithContext(ctx, path, fields)
	if err != nil {
		return "", err
	}
	return secret.WrapInfo.Token, nil
}

// Granted are the accessors of the tokens of logins at auth/mount that are still valid.
func (s *Server) Granted(ctx context.Context, mount string) ([]string, error) {
	secret, err := s.client.Logical().ListWithContext(ctx, "auth/token/accessors")
	if err != nil {
		return nil, err
	}
	var granted []string
	for _, key := range secret.Data["keys"].([]any) {
		accessor := key.(string)
		info, err := s.client.Auth().Token().LookupAccessorWithContext(ctx, accessor)
		if err != nil {
			continue // it has ended since it was listed
		}
		if info.Data["path"] == "auth/"+mount+"/login" {
			granted = append(granted, accessor)
		}
	}
	return granted, nil
}

// RevokeGranted revokes the tokens of logins at auth/mount.
func (s *Server) RevokeGranted(ctx context.Context, mount string) error {
	granted, err := s.Granted(ctx, mount)
	if err != nil {
		return err
	}
	for _, accessor := range granted {
		if err := s.client.Auth().Token().RevokeAccessorWithContext(ctx, accessor); err != nil {
			return err
		}
	}
	return nil
}
