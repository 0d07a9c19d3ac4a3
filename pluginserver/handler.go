package pluginserver

import (
	"context"
	"log/slog"
)

// Plugin is what is served to Kong.
type Plugin struct {
	Version  string
	Priority int // order among plugins, highest first
	// Config is a pointer to the zero value of the configuration's struct; its
	// tags are what Kong's schema is made of (see package kongschema).
	Config any
	// Start makes an instance of a configuration, as JSON. It is called while
	// requests wait, so it must not do any I/O. An error means that every
	// request of this configuration is answered 500 and the error logged; it
	// must not hold a secret.
	Start func(config []byte) (Handler, error)
	// Faulted, unless it is nil, is told of each request that was answered 500
	// though no handler said so. It is called concurrently.
	Faulted func(FaultReason)
}

// FaultReason is why a request was answered 500 without a handler's verdict: a
// short word for counting.
type FaultReason string

// The reasons of faults that a plugin doesn't learn of otherwise.
const (
	FaultConfig FaultReason = "config" // the configuration can't be used
	FaultPanic  FaultReason = "panic"  // the handler panicked
)

func (p *Plugin) faulted(reason FaultReason) {
	if p.Faulted != nil {
		p.Faulted(reason)
	}
}

// Handler is one instance of a plugin: one configuration in one of Kong's
// workers. Many live side by side, and Kong drops and starts them at will:
// what is worth keeping belongs elsewhere.
type Handler interface {
	// Access decides about one request. It is called concurrently. A panic,
	// or a time longer than the event's deadline, is answered with status 500.
	Access(*Event) Verdict
	// Close tells that no event will come any more.
	Close()
}

// misconfigured answers for an instance whose configuration can't be used.
type misconfigured struct {
	err    error
	plugin *Plugin
	logger *slog.Logger
}

func (m misconfigured) Access(*Event) Verdict {
	m.plugin.faulted(FaultConfig)
	m.logger.LogAttrs(context.Background(), slog.LevelError, "plugin configuration is invalid, requests are answered 500", slog.String("reason", m.err.Error()))
	return Fault()
}

func (misconfigured) Close() {}
