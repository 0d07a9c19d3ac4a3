package cache

import (
	"errors"
	"fmt"
	"runtime"
	"time"
)

var (
	// ErrAbsent is matched by every definite no. A lookup returns an error
	// that matches it, and Get returns that same error, from the lookup and
	// from memory alike, so errors.As finds in it what the store said.
	ErrAbsent = errors.New("absent from the store")
	// ErrExpired is the definite no of a record that is past its Found.Expires.
	ErrExpired = fmt.Errorf("%w: the record's end has passed", ErrAbsent)
	// ErrRefused means that there is a record, read after the claim was made,
	// and the claim does not accept it.
	ErrRefused = errors.New("claim refused")
	// ErrClosed is the cause of an UnavailableError after Close.
	ErrClosed = errors.New("cache closed")
)

// LimitError means that the store was not asked, because the budget of lookups
// or the waiting room is used up.
type LimitError struct {
	RetryAfter time.Duration // when to try again, at least a second
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("too many lookups, retry in %s", e.RetryAfter)
}

// UnavailableError means that the store could not say, and that there is no
// record at hand that may stand in for its answer.
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

// PanicError is a lookup that panicked. It concerns its key alone: it opens no
// pause, and is neither a no nor a failure of the store.
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
	// denied is a store that answers, and denies everything. That is a mistake,
	// as any outage, or somebody has meant it.
	denied interface{ Denied() bool }
	// aboutKey is a store, or what stands before it, that answers for this key
	// with neither a record nor a definite no. That says nothing of other keys.
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
