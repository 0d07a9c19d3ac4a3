// Package vault holds vault objects: named connections to a secret store, with a cache,
// in which token pairs are looked up. It knows no store itself: a Registry gets the
// kinds of store that there are.
package vault

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"kong-vault-auth/cache"
	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// Object is a vault object for one plugin configuration: a store, the cache in front of
// it, and the limits of this object. Registry.Open returns it. It is safe for concurrent
// use.
type Object struct {
	name  string
	scope Scope // of the configuration that uses it
	bound *atomic.Pointer[binding]
}

// binding is what an object currently stands for. That of a named object changes with
// the vaults file.
type binding struct {
	live    *live
	allowed Allowed
	policy  cache.Policy
	err     error // why there is no store; the other fields are then empty
}

// Name is the object's name, for messages: that of the node's definition, or the place
// that an inline object connects to.
func (o *Object) Name() string { return o.name }

// Usable returns nil, or an error that matches ErrConfig and says why no pair can be
// looked up: the node has no valid object of this name, or this configuration may not
// name it.
func (o *Object) Usable() error { return o.usable(o.bound.Load()) }

func (o *Object) usable(b *binding) error {
	if b.err != nil {
		return b.err
	}
	return b.allowed.check(o.name, o.scope)
}

// Lookup returns the credential of a pair. Its errors are
//
//   - *RefusedError, which matches ErrRefused: there is no such pair;
//   - *LimitError: too many lookups have found nothing;
//   - *GuessingError: the credential exists, and there were too many wrong secret
//     tokens for it;
//   - *UnavailableError: the store can't answer, and nothing is cached;
//   - an error that matches ErrConfig: see Usable;
//   - ctx's own, if the caller has gone away;
//   - anything else is a defect of this program.
//
// It ends within the lookup deadline, and never waits if the pair is cached and fresh.
// client shares the budget of lookups with others; a lookup without a client (nil) may
// use all of it.
func (o *Object) Lookup(ctx context.Context, accessToken, secretToken string, client Client) (*credential.Credential, error) {
	b := o.bound.Load()
	if err := o.usable(b); err != nil {
		return nil, err
	}
	if credential.CheckAccessToken(accessToken) != nil || credential.CheckSecretToken(secretToken) != nil {
		return nil, &RefusedError{ReasonMalformed}
	}
	if b.live.blocked.Credential(b.live.naming, accessToken) {
		b.live.log.Warn("a blocked credential was presented, and is refused", "reason", string(ReasonBlocked), "credential", b.live.fingerprint(accessToken))
		return nil, &RefusedError{ReasonBlocked}
	}
	c, err := b.live.get(ctx, accessToken, secretToken, client, b.policy)
	if err != nil {
		return nil, o.explain(err)
	}
	return c, nil
}

// explain turns an error of the cache into one of this package.
func (o *Object) explain(err error) error {
	var absent *secretstore.Absent
	var limit *cache.LimitError
	var unavailable *cache.UnavailableError
	var guessing *GuessingError
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.As(err, &absent):
		return &RefusedError{absent.Reason}
	case errors.Is(err, cache.ErrExpired):
		return &RefusedError{ReasonExpired}
	case errors.Is(err, cache.ErrAbsent):
		return &RefusedError{secretstore.ReasonNotFound}
	case errors.Is(err, cache.ErrRefused):
		return &RefusedError{ReasonWrongSecret}
	case errors.As(err, &guessing):
		return &GuessingError{Object: o.name, RetryAfter: guessing.RetryAfter}
	case errors.As(err, &limit):
		return &LimitError{Object: o.name, RetryAfter: limit.RetryAfter}
	case errors.As(err, &unavailable):
		return &UnavailableError{
			Object:     o.name,
			Reason:     reasonOf(unavailable.Err),
			RetryAfter: unavailable.RetryAfter,
			Err:        unavailable.Err,
		}
	}
	return fmt.Errorf("vault object %q: %w", o.name, err)
}

// reasonOf is the short word for a failure.
func reasonOf(err error) string {
	var f *secretstore.Failure
	switch {
	case errors.As(err, &f) && f.Reason != "":
		return f.Reason
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	return "unavailable"
}

// policyOf converts an object's limits to the cache's policy.
func policyOf(l *secretstore.Limits, lookupTimeout time.Duration) cache.Policy {
	return cache.Policy{
		TTL:                l.TTL.Duration(),
		MaxTTL:             l.MaxTTL.Duration(),
		NegTTL:             l.NegTTL.Duration(),
		ResurrectTTL:       l.ResurrectTTL.Duration(),
		ResurrectDeniedTTL: l.ResurrectDeniedTTL.Duration(),
		LookupsPerSecond:   l.MaxLookupsPerSecond,
		LookupTimeout:      lookupTimeout,
	}
}

// Client is the client that a lookup is made for.
type Client interface {
	// Address is the client's IP address as text. A text that isn't an address means
	// that it is unknown. It is called only if the cache has no answer, or for a
	// credential with allowed_ips, on the goroutine that called Lookup, and possibly
	// more than once.
	Address() string
}

// ipv6Site is the length of the prefix by which IPv6 clients are distinguished: a
// client can choose its addresses within a /64.
const ipv6Site = 64

// source identifies the client as a user of the shared budget of lookups. It is empty
// if the address is unknown.
func source(c Client) string {
	a := address(c)
	switch {
	case !a.IsValid():
		return ""
	case a.Is4():
		return a.String()
	}
	return netip.PrefixFrom(a, ipv6Site).Masked().String()
}

// shown is the client's address for a log line.
func shown(c Client) string {
	if a := address(c); a.IsValid() {
		return a.String()
	}
	return "unknown"
}

// address is the zero Addr if it is unknown.
func address(c Client) netip.Addr {
	if c == nil {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(c.Address())
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}
