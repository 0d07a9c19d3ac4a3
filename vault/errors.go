package vault

import (
	"errors"
	"fmt"
	"time"

	"kong-vault-auth/secretstore"
)

// ErrRefused is matched by every *RefusedError.
var ErrRefused = errors.New("pair refused")

// The reasons of a RefusedError, in addition to those of an Absent.
const (
	ReasonMalformed   secretstore.AbsentReason = "malformed"           // no store can hold such a token, so no lookup was made
	ReasonWrongSecret secretstore.AbsentReason = "wrong_secret"        // the secret token is not the record's
	ReasonBlocked     secretstore.AbsentReason = "blocked"             // by an operator; no store was asked
	ReasonExpired     secretstore.AbsentReason = "expired"             // past the record's expires_at
	ReasonEarly       secretstore.AbsentReason = "early"               // before the record's not_before
	ReasonAddress     secretstore.AbsentReason = "address_not_allowed" // not from one of the record's allowed_ips
)

// RefusedError is a pair that is not accepted: a negative answer, and the only error of
// a lookup that is the client's fault. It matches ErrRefused.
type RefusedError struct {
	Reason secretstore.AbsentReason // for counters and logs; clients must not learn it
}

// Error names the reason.
func (e *RefusedError) Error() string { return fmt.Sprintf("%v: %s", ErrRefused, e.Reason) }

// Is reports that every RefusedError is an ErrRefused.
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// LimitError is a lookup that was not made because too many lookups have found
// nothing.
type LimitError struct {
	Object     string        // the vault object's name
	RetryAfter time.Duration // when to try again, at least a second
}

// Error names the object and its limit.
func (e *LimitError) Error() string {
	return fmt.Sprintf("vault object %q: max_lookups_per_second is used up", e.Object)
}

// GuessingError is a wrong secret token after more than 20 of them for the same
// credential within a minute.
type GuessingError struct {
	Object     string        // the vault object's name
	RetryAfter time.Duration // when wrong ones are refused as usual, at least a second
}

// Error names the object.
func (e *GuessingError) Error() string {
	return fmt.Sprintf("vault object %q: too many wrong secret tokens for one credential", e.Object)
}

// UnavailableError is a store that can't answer, for a pair that isn't cached.
type UnavailableError struct {
	Object     string        // the vault object's name
	Reason     string        // a Failure's reason, or "unavailable"
	RetryAfter time.Duration // when to try again, at least a second
	Err        error         // usually a Failure: what was tried, the cause and the remedy
}

// Error names the object and the store's last failure.
func (e *UnavailableError) Error() string {
	s := fmt.Sprintf("vault object %q: %v", e.Object, e.Err)
	if f := (*secretstore.Failure)(nil); !errors.As(e.Err, &f) || f.Remedy == "" {
		s += " (check that the store is up and that this node reaches it)"
	}
	return s
}

// Unwrap returns the failure.
func (e *UnavailableError) Unwrap() error { return e.Err }

// configError is an error about one setting of an object. object may be empty.
func configError(object, setting string, err error) error {
	if object == "" {
		return fmt.Errorf("%w: %s: %w", secretstore.ErrConfig, setting, err)
	}
	return fmt.Errorf("%w of %q: %s: %w", secretstore.ErrConfig, object, setting, err)
}
