package kongtest

import (
	"fmt"
	"strings"
)

// CallError is a call to the plugin server that returned an error to Kong's
// code: the connection failed, or the plugin asked for a method that doesn't
// exist. Kong answers 500, or runs the event again, see Retried.
type CallError struct {
	Message string // as Kong would log it: "closed", "timeout", `method "x" not found`
	Err     error  // the cause, if it has one
}

// Error returns the message.
func (e *CallError) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *CallError) Unwrap() error { return e.Err }

// Retried reports whether Kong, on this error in an event, drops the plugin's
// instances in all workers and runs the event again, however often.
func (e *CallError) Retried() bool {
	m := strings.ToLower(e.Message)
	return strings.Contains(m, "no plugin instance") || strings.Contains(m, "closed")
}

// LuaError is an error raised in Kong's Lua code: by a PDK function that
// refuses its arguments, by a reply that can't be encoded, or by a write to a
// socket that the plugin has closed. It aborts the event, and Kong answers
// 500.
type LuaError struct{ Message string }

// Error returns the message.
func (e *LuaError) Error() string { return e.Message }

func raise(format string, args ...any) error {
	return &LuaError{fmt.Sprintf(format, args...)}
}
