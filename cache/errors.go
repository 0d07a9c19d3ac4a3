package cache

import (
	"errors"
	"fmt"
	"runtime"
	"time"
)

var (
	// ErrAbsent is matched by every negative answer. A lookup returns an error
	// that matches it, and Get returns that same error, from the lookup and
	// from memory alike, so errors.As finds in it what the store said.
	ErrAbsent = errors.New("absent from the store")
	// ErrExpired is the negative answer for a record that is past its Found.Expires.
	ErrExpired = fmt.Errorf("%w: the record's end has passed", ErrAbsent)
	// ErrRefused means that there is a record, read after the claim was made,
	// and the claim does not accept it.
	ErrRefused = errors.New("claim refused")
	// ErrClosed is the cause of an UnavailableError after Close.
	ErrClosed = errors.New("cache closed")
)

// LimitError means that the store was not asked, because there was no permit for the
// lookup, or no room in the queue.
type LimitError struct {
	RetryAfter time.Duration // when to try again, at least a second
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("too many lookups, retry in %s", e.RetryAfter)
}

// UnavailableError means that the store could not say, and that there is no record in
// memory that may be used as a fallback.
type UnavailableError struct {
	Err        error         // the latest failure of the store
	RetryAfter time.Duration // when to try again, at least a second
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("the store can't answer: %v", e.Err)
}

// Unwrap returns the failure.
func (e *UnavailableError) Unwrap() error { return e.Err }

var errClosed = &UnavailableError{Err: ErrClosed, RetryAfter: time.Second}

// PanicError is a lookup that panicked. It concerns its key alone: it is
// neither a negative answer nor a failure of the store, and begins no outage.
type PanicError struct {
	Value any    // what the lookup panicked with; it may hold secrets
	Stack []byte // where, as debug.Stack tells it
}

// Error says what the panic was if the runtime raised it (an index out of
// range, say), and no more than its type otherwise.
func (e *PanicError) Error() string {
	if err, ok := e.Value.(runtime.Error); ok {
		return "lookup panicked: " + err.Error()
	}
	return fmt.Sprintf("lookup panicked with a %T", e.Value)
}

// A failure may carry these. They are found with errors.As.
type (
	// retryAfter is how long the store asked to be left alone.
	retryAfter interface{ RetryAfter() time.Duration }
	// denied is a store that answers, and denies everything. That is either a mistake,
	// like any outage, or intended.
	denied interface{ Denied() bool }
	// aboutKey is an answer for this key, of the store or of a proxy before it, that
	// is neither a record nor a negative answer. It says nothing about other keys.
	aboutKey interface{ AboutKey() bool }
)

func retryAfterOf(err error) time.Duration {
	var r retryAfter
	if errors.As(err, &r) {
		return r.RetryAfter()
	}
	return 0
}

func isDenied(err error) bool {
	var d denied
	return errors.As(err, &d) && d.Denied()
}

func isAboutKey(err error) bool {
	var a aboutKey
	return errors.As(err, &a) && a.AboutKey()
}
