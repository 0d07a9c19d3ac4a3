package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kong-vault-auth/e2e/example"
	"kong-vault-auth/e2e/vaultserver"
)

// hcv is a real Vault server.
type hcv struct {
	*vaultserver.Server
	token string // for the plugin: may read credentials, and nothing else
}

func startVault(ctx context.Context, progress func(string)) (store, error) {
	server, err := vaultserver.Start(ctx, vaultserver.Options{Progress: progress})
	if err != nil {
		return nil, err
	}
	if err := server.Put(ctx, vaultserver.KongAuth, accessToken, record()); err != nil {
		return nil, errors.Join(err, server.Close())
	}
	token, err := server.ReadToken(ctx, vaultserver.KongAuth, 24*time.Hour)
	if err != nil {
		return nil, errors.Join(err, server.Close())
	}
	return &hcv{server, token}, nil
}

func (v *hcv) words() words {
	return words{label: "Vault", name: "Vault", at: v.Addr, secret: vaultserver.KongAuth.Secret(accessToken)}
}

func (v *hcv) kongYML(upstream string) (string, error) { return example.KongYML(upstream, v.Addr) }

// environ holds what kong.yml refers to. Kong resolves that itself.
func (v *hcv) environ() (env []string, mainEnv string) {
	return []string{example.TokenVariable + "=" + v.token}, ""
}

func (v *hcv) putOwn() string {
	return fmt.Sprintf(`  curl -H 'X-Vault-Token: %s' %s/v1/secret/data/kong-auth/mine-1 \
    -d '{"data": {"access_token": "mine-1", "secret_token": "shhh", "consumer": {"username": "%s"}}}'`, v.Token, v.Addr, example.Consumer)
}
