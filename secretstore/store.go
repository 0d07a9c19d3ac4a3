// Package secretstore is the contract between vault objects and the secret stores
// behind them: what a Store does, the outcomes of a read, the settings that all
// stores have, and where a store may connect. It knows no store.
package secretstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kong-vault-auth/cache"
	"kong-vault-auth/credential"
)

// ErrConfig is matched by every error about a vault object's configuration.
var ErrConfig = errors.New("vault object configuration")

// Store is one secret store as one login sees it. A Store does no caching and
// no rate limiting of its own; a vault object does both in front of it. All methods
// are safe for concurrent use.
type Store interface {
	// Read reads the record of one access token, which
	// credential.CheckAccessToken has accepted. It ends when ctx does and
	// answers with one of three outcomes, strictly told apart:
	//
	//   - a record and a nil error: found;
	//   - an *Absent: the store has said that it has no usable record of that
	//     name (cached as a negative answer, never resurrected);
	//   - any other error, preferably a *Failure: the store could not say.
	Read(ctx context.Context, accessToken string) (*credential.Record, error)

	// Key is the name under which the record of an access token is cached.
	// Tokens for which the store reads the same secret have the same key:
	// Azure's names ignore case.
	Key(accessToken string) string

	// Close ends background work (token renewal) and gives up what the store
	// itself obtained (it revokes a Vault token it logged in for). Reads
	// after Close fail.
	Close() error
}

// Lister is a Store that can say which secrets it holds without reading them.
// That is what revocation_interval needs.
type Lister interface {
	// List tells of every secret that can hold a record, in pages: one for each
	// request, or for as much work as a request is worth, since pages are what
	// a listing is taken to cost. A page may be empty, and is the callee's again
	// once yield has returned. An error of yield's ends the listing and is
	// returned.
	//
	// A nil error means that the listing is complete, and then what it leaves
	// out is gone. So everything odd is an error, preferably a *Failure. A store
	// that says that it holds nothing is to be believed.
	List(ctx context.Context, yield func(page []Listed) error) error
}

// LoginEnder is a Store that can say when its login ends unless it is renewed or
// replaced, for operators. It is zero if there is no login, or it has no end, or nobody
// has said.
type LoginEnder interface {
	LoginEnds() time.Time
}

// Listed is a secret as a listing shows it.
type Listed struct {
	Key      string // under which its record is cached, see Store.Key
	Disabled bool   // it is there and must not be used
	// Version differs from that of an earlier listing if the secret may have
	// changed meanwhile. It stays empty where the store doesn't tell.
	Version string
}

// AbsentReason says why a definite no is a no. It is a metric label and a word
// in log lines, so it never holds anything a client sent.
type AbsentReason string

// The reasons of an Absent.
const (
	ReasonNotFound AbsentReason = "not_found" // no secret of that name
	ReasonDeleted  AbsentReason = "deleted"   // a deleted or destroyed version
	ReasonDisabled AbsentReason = "disabled"  // enabled is false, in the record or in Azure
	ReasonOutside  AbsentReason = "outside"   // outside exp and nbf
	ReasonUnusable AbsentReason = "unusable"  // the record can't be used; Err says why
	ReasonDenied   AbsentReason = "denied"    // refused for this one name while others can be read
)

// Absent is a store's definite no. It matches cache.ErrAbsent.
type Absent struct {
	Reason AbsentReason
	Err    error // what is wrong with an unusable record, else nil; never holds a secret or a token
}

// Error names the reason.
func (e *Absent) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %v", e.Reason, e.Err)
	}
	return string(e.Reason)
}

// Unwrap returns what is wrong with an unusable record.
func (e *Absent) Unwrap() error { return e.Err }

// Is reports that every Absent is a cache.ErrAbsent.
func (e *Absent) Is(target error) bool { return target == cache.ErrAbsent }

// Failure is a store that could not say whether it has a record.
type Failure struct {
	Op     string        // what was tried: "read kong-auth/<fingerprint>", "login with approle"
	Reason string        // a short word for metrics and for throttling log lines: Denied, "sealed", "tls", "timeout", …
	Remedy string        // what an operator should do, a sentence without a final stop
	Wait   time.Duration // how long the store asked us to wait (Retry-After), 0 if it did not say
	Err    error         // the cause, without secrets, tokens or URLs that end in one
	// LoginRefused says that the store has answered, and no longer accepts this
	// login: its token was revoked or its secret id deleted, say.
	LoginRefused bool
	// OneName says that it is an answer to this one name, which may say nothing of
	// others: a 4xx other than 429, or a page of a firewall before the store. In
	// doubt it is set, since the cache finds out. It is not set where the
	// transport, the login or the mount is at fault.
	OneName bool
}

// Error is one line: what was tried, why it failed, and what to do about it.
func (e *Failure) Error() string {
	s := e.Op + ": " + e.Reason
	if e.Err != nil {
		s = e.Op + ": " + e.Err.Error()
	}
	if e.Remedy != "" {
		s += " (" + e.Remedy + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *Failure) Unwrap() error { return e.Err }

// Denied is the Reason of a Failure where the store accepts this login and
// refuses it every name: a policy or role that was taken away, by mistake or on
// purpose.
const Denied = "denied"

// Denied reports whether credentials outlive their ttl by the object's
// resurrect_denied_ttl only: the store refuses this login, or all that it asks for.
func (e *Failure) Denied() bool { return e.Reason == Denied || e.LoginRefused }

// AboutKey reports OneName: the cache takes such a failure for the store's only
// once another name fails as well.
func (e *Failure) AboutKey() bool { return e.OneName }

// RetryAfter is how long the store asked to be left alone; the cache's pause
// respects it.
func (e *Failure) RetryAfter() time.Duration { return e.Wait }
