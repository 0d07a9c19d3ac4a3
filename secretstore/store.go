// Package secretstore is the contract between vault objects and the secret stores
// behind them: what a Store must do, the outcomes of a read, the settings that all
// stores have, and where a store may connect. It knows no store by name.
//
// The package of a store provides its [Kind]. The settings implement [Config],
// the store [Store] and, where it can, [Lister], [LoginEnder], [Secrets] and
// [Inspector]; for operators there is a [Writer].
package secretstore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
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
	// credential.CheckAccessToken has accepted. It ends when ctx does. There are
	// three outcomes, which must not be confused:
	//
	//   - a record and a nil error: found;
	//   - an *Absent: the store has said that it has no usable record of that
	//     name (a negative answer, which is cached and never resurrected);
	//   - any other error, preferably a *Failure: the store could not answer.
	Read(ctx context.Context, accessToken string) (*credential.Record, error)

	// Key is the name under which the record of an access token is cached.
	// Tokens for which the store reads the same secret have the same key:
	// Azure's names ignore case.
	Key(accessToken string) string

	// Close ends background work (token renewal) and revokes a Vault token that
	// the store itself obtained. Reads after Close fail.
	Close() error
}

// Lister is a Store that can list its secrets without reading them, which
// revocation_interval needs.
type Lister interface {
	// List passes every secret that can hold a record to yield, in pages. A page is
	// one request, or as much work as one read, since the cost of a listing is
	// measured in pages. A page may be empty. yield must not keep it. List returns
	// the first error of yield.
	//
	// A nil error means that the listing is complete: secrets that are not in it
	// are gone. So anything unexpected must be an error, preferably a *Failure. A
	// complete listing may be empty.
	List(ctx context.Context, yield func(page []Listed) error) error
}

// LoginEnder is a Store that can say when its login expires unless it is renewed or
// replaced, for operators. It is zero if there is no login, or if its expiry is unlimited
// or unknown.
type LoginEnder interface {
	LoginEnds() time.Time
}

// Listed is a secret in a listing.
type Listed struct {
	Key      string // under which its record is cached, see Store.Key
	Disabled bool   // it exists but must not be used
	// Version differs from that of an earlier listing if the secret may have
	// changed since. It is empty if the store doesn't report it.
	Version string
}

// Secrets is a Store that can read secrets other than credentials: those that references
// such as {vault://azure/secret-name/foo} name.
type Secrets interface {
	// CheckName returns nil if a secret can have this name, or why it can't.
	CheckName(name string) error

	// Secret reads a version of the secret called name, which CheckName has accepted.
	// The settings path and name_prefix, which are for credentials, don't apply. Its
	// outcomes are those of Store.Read.
	Secret(ctx context.Context, name string, v Version) (Secret, error)
}

// Version says which version of a secret is meant. The zero Version is the current
// one.
type Version struct {
	Previous bool   // the version directly before the current one
	ID       string // the store's own name of a version; may be empty
}

// Secret is the contents of a secret.
type Secret struct {
	// Value is the secret's value in Azure, and the JSON object of its fields in Vault.
	Value string
	// Expires is when the secret expires; zero: never.
	Expires time.Time
}

// Inspector is a Store that can be examined step by step, by vault-auth doctor.
type Inspector interface {
	// Address is the address that the store connects to: https://host:port, or
	// unix:///path.
	Address() *url.URL
	// Login waits until the store is logged in. An error is what Read's would be.
	Login(ctx context.Context) error
	// MayWrite reports whether the login may write credentials. The plugin's login
	// should not.
	MayWrite(ctx context.Context) (bool, error)
}

// SingleUse is a Config that may log in with something that can be used only once.
type SingleUse interface {
	// SingleUse reports whether it does, so that only the plugin server may log in with
	// it.
	SingleUse() bool
}

// AbsentReason is the reason of a negative answer. It is a metric label and a word
// in log lines, so it never contains anything that a client sent.
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

// Absent is a store's negative answer. It matches cache.ErrAbsent.
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

// IsAbsent reports whether an error is a negative answer for this reason.
func IsAbsent(err error, reason AbsentReason) bool {
	var absent *Absent
	return errors.As(err, &absent) && absent.Reason == reason
}

// Failure means that the store could not say whether it has a record.
type Failure struct {
	Op     string        // what was tried: "read kong-auth/<fingerprint>", "login with approle"
	Reason string        // a short word for metrics and for the throttling of log lines: Denied, "sealed", "tls", "timeout", …
	Remedy string        // what an operator should do, a sentence without a final stop
	Wait   time.Duration // how long the store asked us to wait (Retry-After), 0 if it did not say
	Err    error         // the cause, without secrets, tokens or URLs that end in one
	// LoginRefused says that the store has answered and no longer accepts this
	// login: its token was revoked or its secret id deleted, for example.
	LoginRefused bool
	// OneName says that the failure may concern only this name: a 4xx other than
	// 429, or a page of a firewall in front of the store. In doubt it is set, since
	// the cache finds out. It is not set if the transport, the login or the mount is
	// at fault.
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

// Denied is the Reason of a Failure if the store accepts this login but refuses it
// every name: a policy or role was removed, by mistake or on purpose.
const Denied = "denied"

// Denied reports whether the store refuses this login, or everything that it asks
// for. Credentials then outlive their ttl only by resurrect_denied_ttl.
func (e *Failure) Denied() bool { return e.Reason == Denied || e.LoginRefused }

// AboutKey reports OneName: the cache attributes such a failure to the store only
// when another name fails as well.
func (e *Failure) AboutKey() bool { return e.OneName }

// RetryAfter is how long the store asked us to wait; the cache's backoff respects
// it.
func (e *Failure) RetryAfter() time.Duration { return e.Wait }
