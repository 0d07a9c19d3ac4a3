package vault

import (
	"errors"
	"fmt"
	"time"

	"kong-vault-auth/cache"
	"kong-vault-auth/secretstore"
)

// ErrRefused is matched by every *RefusedError.
var ErrRefused = errors.New("pair refused")

// The reasons of a RefusedError, in addition to those of a secretstore.Absent.
const (
	ReasonMalformed   secretstore.AbsentReason = "malformed"           // no store can hold such a token, so no lookup was made
	ReasonWrongSecret secretstore.AbsentReason = "wrong_secret"        // the secret token is not the record's
	ReasonBlocked     secretstore.AbsentReason = "blocked"             // by an operator; no store was asked
	ReasonExpired     secretstore.AbsentReason = "expired"             // past the record's expires_at
	ReasonEarly       secretstore.AbsentReason = "early"               // before the record's not_before
	ReasonAddress     secretstore.AbsentReason = "address_not_allowed" // not from one of the record's allowed_ips
)

// RefusedError is the error of a pair that is not accepted. It is the only error of a
// lookup that is the client's fault. It matches ErrRefused.
type RefusedError struct {
	Reason secretstore.AbsentReason // for counters and logs; clients must not learn it
}

// Error names the reason.
func (e *RefusedError) Error() string { return fmt.Sprintf("%v: %s", ErrRefused, e.Reason) }

// Is reports that every RefusedError is an ErrRefused.
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// LimitError is the error of a lookup that was not made because too many lookups have
// found nothing.
type LimitError struct {
	Object     string        // the vault object's name
	RetryAfter time.Duration // when to try again, at least a second
}

// Error names the object and its limit.
func (e *LimitError) Error() string {
	return fmt.Sprintf("vault object %q: max_lookups_per_second is used up", e.Object)
}

// GuessingError is the error of a wrong secret token after more than 20 of them for the
// same credential within a minute.
type GuessingError struct {
	Object     string        // the vault object's name
	RetryAfter time.Duration // until wrong tokens get a RefusedError again, at least a second
}

// Error names the object.
func (e *GuessingError) Error() string {
	return fmt.Sprintf("vault object %q: too many wrong secret tokens for one credential", e.Object)
}

// UnavailableError is the error of a pair that isn't cached while the store can't answer.
type UnavailableError struct {
	Object     string        // the vault object's name
	Reason     string        // the Reason of a secretstore.Failure, "timeout" or "unavailable"
	RetryAfter time.Duration // when to try again, at least a second
	Err        error         // usually a secretstore.Failure: what was tried, the cause and the remedy
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

// configError is an error about one setting of an object. object is empty if the setting
// concerns all objects.
func configError(object, setting string, err error) error {
	if object == "" {
		return fmt.Errorf("%w: %s: %w", secretstore.ErrConfig, setting, err)
	}
	return fmt.Errorf("%w of %q: %s: %w", secretstore.ErrConfig, object, setting, err)
}

// ErrForbidden is matched by errors about secrets that the node doesn't hand out.
var ErrForbidden = errors.New("this node doesn't hand out the secret")

func forbidden(vault, name, why string) error {
	return &secretError{vault, name, fmt.Errorf("%w: %s", ErrForbidden, why)}
}

// secretError is why a secret can't be read.
type secretError struct {
	vault string // the kind of vault, or the object's name
	name  string // the secret's
	err   error
}

func (e *secretError) Error() string {
	return fmt.Sprintf("unable to retrieve secret %.200q from the vault %s: %v", e.name, e.vault, e.err)
}

func (e *secretError) Unwrap() error { return e.err }

// absentSecrets says what the reasons of an Absent mean for a secret.
var absentSecrets = map[secretstore.AbsentReason]string{
	secretstore.ReasonNotFound: "there is no such secret",
	secretstore.ReasonDeleted:  "this version of it was deleted or destroyed",
	secretstore.ReasonDisabled: "it is disabled",
	secretstore.ReasonOutside:  "it is not between its activation and expiration dates",
	secretstore.ReasonDenied:   "this login may not read it, though it may read others",
	secretstore.ReasonUnusable: "it can't be used",
}

// explainSecret rewords an error of the cache for the author of a reference.
func explainSecret(err error) error {
	var absent *secretstore.Absent
	var unavailable *cache.UnavailableError
	switch {
	case errors.As(err, &absent) && absent.Err != nil:
		return &rewordedError{absentSecrets[absent.Reason] + ": " + absent.Err.Error(), absent}
	case errors.As(err, &absent):
		return &rewordedError{absentSecrets[absent.Reason], absent}
	case errors.As(err, &unavailable):
		return unavailable.Err
	}
	return err
}

// rewordedError is an error with another text.
type rewordedError struct {
	text string
	error
}

func (e *rewordedError) Error() string { return e.text }
func (e *rewordedError) Unwrap() error { return e.error }
