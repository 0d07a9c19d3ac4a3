package pluginserver

import (
	"context"
	"errors"
	"testing"
)

// askedContext counts how often something waits for its end.
type askedContext struct {
	context.Context
	asked int
}

func (c *askedContext) Done() <-chan struct{} {
	c.asked++
	return c.Context.Done()
}

func TestEventContextEnds(t *testing.T) {
	errServer := errors.New("the server has stopped")
	for name, tt := range map[string]struct {
		do    func(c *eventContext, stopServer context.CancelCauseFunc)
		cause error // nil: it hasn't ended
	}{
		"not yet":                       {func(*eventContext, context.CancelCauseFunc) {}, nil},
		"before anybody waits for it":   {func(c *eventContext, _ context.CancelCauseFunc) { c.end(errEventOver) }, errEventOver},
		"while somebody waits for it":   {func(c *eventContext, _ context.CancelCauseFunc) { c.Done(); c.end(errEventOver) }, errEventOver},
		"with the server, asked before": {func(c *eventContext, stop context.CancelCauseFunc) { c.Done(); stop(errServer) }, errServer},
		"with the server, asked after":  {func(_ *eventContext, stop context.CancelCauseFunc) { stop(errServer) }, errServer},
	} {
		t.Run(name, func(t *testing.T) {
			server, stop := context.WithCancelCause(t.Context())
			defer stop(nil)
			c := &eventContext{server: server}
			tt.do(c, stop)
			child, cancel := context.WithCancel(c)
			defer cancel()
			ended := false
			select {
			case <-c.Done():
				ended = true
			default:
			}
			if want := tt.cause != nil; ended != want || (c.Err() != nil) != want || (child.Err() != nil) != want {
				t.Errorf("ended: %t, Err: %v, Err of a context made of it: %v, want an end: %t", ended, c.Err(), child.Err(), want)
			}
			if got := context.Cause(c); got != tt.cause {
				t.Errorf("the cause is %v, want %v", got, tt.cause)
			}
		})
	}
}

// Every event has a context, and the server's has one lock.
func TestEventContextThatNobodyWaitsForLeavesTheServersAlone(t *testing.T) {
	server := &askedContext{Context: t.Context()}
	e := &Event{c: &conn{server: &Server{ctx: server}}}
	e.begin(nil)
	ctx := e.Context()
	if !e.finish() {
		t.Error("the event had ended before")
	}
	if server.asked > 0 {
		t.Errorf("the server's context was asked %d times for its end, want none", server.asked)
	}
	if cause := context.Cause(ctx); cause != errEventOver {
		t.Errorf("the cause of the end is %v, want %v", cause, errEventOver)
	}
}
