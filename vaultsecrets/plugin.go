// Package vaultsecrets is the plugin vault-secrets: it puts secrets of HashiCorp Vault and
// Azure Key Vault into requests on their way to the upstream, as headers, query arguments
// or an Authorization header. A value is a template, in which references such as
// {vault://azure/upstream-key/value} stand for secrets.
//
// Access (access.go) is the whole of it. What a client has sent under a name that is set
// here never reaches the upstream, however it is spelled, and a request for which a secret
// can't be had is answered 503.
package vaultsecrets

import (
	"context"
	"log/slog"

	"kong-vault-auth/pluginserver"
	"kong-vault-auth/secretstore"
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

// foreseen are the answers that are counted from the start, beside pluginserver.AnswerOK:
// proxied with its secrets. The reasons of a store's failures are the stores' to name.
var foreseen = unavailable(string(secretstore.ReasonNotFound), string(secretstore.ReasonDeleted), string(secretstore.ReasonDisabled),
	string(secretstore.ReasonOutside), string(secretstore.ReasonDenied),
	reasonForbidden, reasonConfig, reasonLimit, reasonTimeout, reasonUnusable)

func unavailable(reasons ...string) (all []pluginserver.Answered) {
	for _, reason := range reasons {
		all = append(all, pluginserver.Answered{Answer: "503", Reason: reason})
	}
	return all
}

// Stats returns what was counted so far. It is safe for concurrent use.
func (p *Plugin) Stats() []pluginserver.Answered { return p.Answers.All() }
