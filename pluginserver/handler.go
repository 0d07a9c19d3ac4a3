package pluginserver

import (
	"context"
	"log/slog"
)

// Plugin is a plugin as a Server serves it.
type Plugin struct {
	Version  string
	Priority int // order among plugins, highest first
	// Config is a pointer to the zero value of the configuration's struct. Kong's schema
	// is made from its tags (see package kongschema).
	Config any
	// Start makes an instance of a configuration, which is JSON. It is called while
	// requests wait, so it must not do any I/O. After an error, every request of this
	// configuration is answered 500 and the error is logged, so it must not hold a secret.
	Start func(config []byte) (Handler, error)
	// Answers counts the plugin's requests; nil: nothing does.
	Answers *Answers
}

// Handler is one instance of a plugin: one configuration in one of Kong's workers. There
// are many at a time, and Kong drops and starts them at will, so state that must last
// belongs elsewhere.
type Handler interface {
	// Access decides about one request. It is called concurrently. A panic,
	// or a time longer than the event's deadline, is answered with status 500.
	Access(*Event) Verdict
	// Close is called when no further event will come.
	Close()
}

// misconfigured answers for an instance whose configuration can't be used.
type misconfigured struct {
	err    error
	logger *slog.Logger
}

func (m misconfigured) Access(*Event) Verdict {
	m.logger.LogAttrs(context.Background(), slog.LevelError, "plugin configuration is invalid, requests are answered 500", slog.String("reason", m.err.Error()))
	return Fault().Because(ReasonConfig)
}

func (misconfigured) Close() {}
