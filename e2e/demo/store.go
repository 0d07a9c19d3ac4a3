package main

import (
	"context"
	"fmt"

	"kong-vault-auth/e2e/example"
)

// store is a secret store that holds the credential of the tour.
type store interface {
	words() words
	// kongYML is the configuration of a gateway that looks pairs up here.
	kongYML(upstream string) (string, error)
	// environ is what Kong's environment must hold in addition, and what of it
	// nginx_main_env passes on to the plugin server.
	environ() (env []string, mainEnv string)
	// putOwn is how readers store a pair of their own, as shell commands.
	putOwn() string
	// Stop is an outage, which Restart ends.
	Stop() error
	Restart(context.Context) error
	Close() error
}

// words are what the demo calls a store and what is in it.
type words struct {
	label  string
	name   string // begins a sentence
	at     string // URL
	secret string // where the credential is
	but    string // how the configuration differs from kong.yml
}

// openStore starts the store of a kind, which STORE in the environment names.
func openStore(ctx context.Context, kind string, say func(format string, args ...any)) (store, error) {
	switch kind {
	case "", "vault":
		say("Starting a Vault server, an upstream and a gateway.")
		return startVault(ctx, func(line string) { say("%s", line) })
	case "azure":
		say("Starting a simulator of Azure Key Vault, an upstream and a gateway. Nothing here\n" +
			"asks Azure; docs/azure.md leads to the same with a key vault of your own.")
		return startAzure()
	}
	return nil, fmt.Errorf("there is no STORE=%s, only vault and azure", kind)
}

// The credential of the tour.
const (
	accessToken = "demo-access"
	secretToken = "demo-secret"
)

func record() map[string]any {
	return map[string]any{
		"access_token": accessToken,
		"secret_token": secretToken,
		"consumer":     map[string]any{"username": example.Consumer},
	}
}
