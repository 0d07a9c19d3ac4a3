package vaultauth

import (
	"context"
	"log/slog"

	"kong-vault-auth/blocklist"
	"kong-vault-auth/kongstatus"
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/vault"
)

// Priority is the plugin's place among Kong's plugins, that of Kong
// Enterprise's vault-auth.
const Priority = 1350

// Plugin is the plugin, for a plugin server. State that outlives a request (vault objects,
// consumers, counts) belongs to it, not to the instances that Kong starts and drops.
type Plugin struct {
	pluginserver.Plugin // what is served

	open      openFunc
	log       *slog.Logger
	consumers *consumers
	blocked   *blocklist.List // nil: nothing is
}

// New returns the plugin on the vault objects of a registry.
func New(version string, objects *vault.Registry, log *slog.Logger) *Plugin {
	return newPlugin(version, log, func(owner string, c vault.Config) (lookuper, func(), error) {
		return objects.Open(owner, c)
	})
}

func newPlugin(version string, log *slog.Logger, open openFunc) *Plugin {
	p := &Plugin{open: open, log: log, consumers: newConsumers(DefaultConsumerResurrectTTL, log)}
	p.Plugin = pluginserver.Plugin{Version: version, Priority: Priority, Config: (*Config)(nil), Start: p.start, Answers: pluginserver.NewAnswers(foreseen()...)}
	return p
}

// UseStatus makes the plugin ask Kong's Status API, in the background until ctx ends, when it
// must tell a consumer that is gone from a database that is down. It must be called before
// the plugin is served. Without it, or with a nil client, the plugin looks whether Kong still
// finds another consumer.
func (p *Plugin) UseStatus(ctx context.Context, kong *kongstatus.Client) {
	if kong != nil {
		p.consumers.database.useStatus(ctx, kong.Ask)
	}
}

// UseBlocks makes the plugin refuse requests of blocked consumers. It must be called before
// the plugin is served. Blocked credentials are refused by the vault objects.
func (p *Plugin) UseBlocks(l *blocklist.List) { p.blocked = l }

// openFunc is vault.Registry.Open.
type openFunc func(owner string, c vault.Config) (lookuper, func(), error)

// start makes an instance. Its errors appear in Kong's error log at every request of a
// configuration that can't work.
func (p *Plugin) start(config []byte) (pluginserver.Handler, error) {
	c, id, err := parseConfig(config)
	if err != nil {
		return nil, err
	}
	object, release, err := p.open(id.PluginID, vault.Config{
		Vault: c.Vault, Inline: c.inline(), Refs: id.refs(),
		Scope: vault.Scope{Service: id.Service, Route: id.Route, Workspace: id.Workspace},
	})
	if err != nil {
		return nil, err
	}
	return &handler{
		config:    *c,
		workspace: id.Workspace,
		object:    object,
		release:   release,
		consumers: p.consumers,
		blocked:   p.blocked,
		answers:   answers{realm: c.Realm, log: p.log},
	}, nil
}
