package vaultsecrets

import (
	"context"
	"log/slog"

	"kong-vault-auth/pluginserver"
	"kong-vault-auth/vault"
)

// Name is the plugin's name in Kong.
const Name = "vault-secrets"

// Priority is the plugin's place among Kong's plugins: after all that authenticate, so
// that a configuration can be for a consumer, and after request-transformer (801), whose
// templates then see no secret; before those that send the request on themselves
// (ai-proxy 770, aws-lambda 750).
const Priority = 790

// resolver is the value of references: *vault.Secrets.
type resolver interface {
	GetFor(ctx context.Context, scope vault.Scope, reference string) (string, error)
}

// Plugin is the plugin, and what belongs to the process.
type Plugin struct {
	pluginserver.Plugin // what is served

	secrets resolver
	log     *slog.Logger
}

// New returns the plugin, for a plugin server.
func New(version string, secrets *vault.Secrets, log *slog.Logger) *Plugin {
	return newPlugin(version, secrets, log)
}

func newPlugin(version string, secrets resolver, log *slog.Logger) *Plugin {
	p := &Plugin{secrets: secrets, log: log}
	p.Plugin = pluginserver.Plugin{Version: version, Priority: Priority, Config: (*Config)(nil), Start: p.start, Answers: pluginserver.NewAnswers(foreseen...)}
	return p
}

func (p *Plugin) start(config []byte) (pluginserver.Handler, error) {
	c, scope, err := parseConfig(config)
	if err != nil {
		return nil, err
	}
	h, err := newHandler(c, func(ctx context.Context, reference string) (string, error) {
		return p.secrets.GetFor(ctx, scope, reference)
	})
	if err != nil {
		return nil, err
	}
	h.log = p.log
	return h, nil
}
