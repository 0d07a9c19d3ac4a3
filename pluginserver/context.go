package pluginserver

import (
	"context"
	"sync"
	"time"
)

// eventContext is the context of an Event. It joins the server's context only when somebody
// waits for its end: joining and leaving take a lock that all events share, and an event
// that is answered from memory doesn't wait.
type eventContext struct {
	server context.Context

	mu     sync.Mutex // guards the rest
	joined context.Context
	cancel context.CancelCauseFunc
	cause  error // why it has ended; nil: it hasn't
}

func (c *eventContext) join() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.joined == nil {
		c.joined, c.cancel = context.WithCancelCause(c.server)
		if c.cause != nil {
			c.cancel(c.cause)
		}
	}
	return c.joined
}

// end ends the context.
func (c *eventContext) end(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cause = cause
	if c.cancel != nil {
		c.cancel(cause)
	}
}

// Done is context.Context's.
func (c *eventContext) Done() <-chan struct{} { return c.join().Done() }

// Err is context.Context's.
func (c *eventContext) Err() error { return c.join().Err() }

// Value is context.Context's. Package context finds the cause with it.
func (c *eventContext) Value(key any) any { return c.join().Value(key) }

// Deadline is context.Context's. An event has none, since Kong's time doesn't count.
func (c *eventContext) Deadline() (time.Time, bool) { return c.server.Deadline() }
