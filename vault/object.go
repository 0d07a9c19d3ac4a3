package vault

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"kong-vault-auth/cache"
	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// Object is a vault object as one plugin configuration uses it: a store, the cache in
// front of it, and the object's limits. Registry.Open returns it. It is safe for
// concurrent use.
type Object struct {
	name  string
	scope Scope                    // of the configuration that uses it
	bound *atomic.Pointer[binding] // shared by all Objects of the same vault object
}

// binding is the store that an object currently has, and its limits. An object gets
// another one when its definition changes or its login rotates.
type binding struct {
	store   *credentialStore
	allowed allowed
	policy  cache.Policy
	err     error // why there is no store; store and policy are then unset
}

// sharedObject is what all Objects of the same vault object share, so that a change
// reaches all plugin instances at once. Except for bound it is guarded by Registry.mu.
type sharedObject struct {
	bound   atomic.Pointer[binding]
	users   int
	current Definition // of the store that it is bound to
	leave   func()     // ends the use of that store; nil if there is none
}

// bind binds an object to a store of which it is a user until leave, and ends its use of
// the store before. Registry.mu is held.
func (o *sharedObject) bind(b *binding, leave func(), d Definition) {
	o.bound.Store(b)
	if o.leave != nil {
		o.leave()
	}
	o.leave, o.current = leave, d
}

// addUser adds a user of an object. release, which must be called without mu, removes it
// again; after the last user it forgets the object. mu is held.
func (r *Registry) addUser(o *sharedObject, forget func()) (release func()) {
	o.users++
	return r.releaser(func() {
		if o.users--; o.users > 0 {
			return
		}
		forget()
		if o.leave != nil {
			o.leave()
		}
	})
}

// releaser returns leave as a function for the callers of Open, which don't hold mu and may
// call it more than once.
func (r *Registry) releaser(leave func()) func() {
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		leave()
	})
}

// Name is the object's name for messages: the name in the node's definition, or the
// place that an inline object connects to.
func (o *Object) Name() string { return o.name }

// Usable returns nil, or an error that matches secretstore.ErrConfig and says why no pair
// can be looked up: the node has no valid object of this name, or this configuration may
// not name it.
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
//   - an error that matches secretstore.ErrConfig: see Usable;
//   - the error of ctx, if the caller has gone away;
//   - anything else is a defect of this program.
//
// Lookup returns within the lookup deadline, and at once if the pair is cached and
// fresh. One client gets only a share of the permits for unknown tokens; a lookup
// without a client (nil) may use all of them.
func (o *Object) Lookup(ctx context.Context, accessToken, secretToken string, client Client) (*credential.Credential, error) {
	b := o.bound.Load()
	if err := o.usable(b); err != nil {
		return nil, err
	}
	if credential.CheckAccessToken(accessToken) != nil || credential.CheckSecretToken(secretToken) != nil {
		return nil, &RefusedError{ReasonMalformed}
	}
	if b.store.blocked.Credential(b.store.naming, accessToken) {
		b.store.log.Warn("a blocked credential was presented and refused", "reason", string(ReasonBlocked), "credential", b.store.fingerprint(accessToken))
		return nil, &RefusedError{ReasonBlocked}
	}
	c, err := b.store.get(ctx, accessToken, secretToken, client, b.policy)
	if err != nil {
		return nil, o.explain(err)
	}
	return c, nil
}

// explain turns an error of the cache or the store into one that Lookup documents.
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

// reasonOf is the word for a failure in metrics and log lines.
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
	// Address returns the client's IP address as text, or any other text if it is
	// unknown. It is called only if the cache has no answer, or for a credential with
	// allowed_ips. Calls are made on the goroutine that called Lookup, possibly more
	// than once.
	Address() string
}

// ipv6Site is the length of the prefix by which IPv6 clients are distinguished: a
// client can choose its addresses within a /64.
const ipv6Site = 64

// source is what the cache counts a client's lookups by. It is empty if the address is
// unknown.
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

// addressText is the client's address for a log line.
func addressText(c Client) string {
	if a := address(c); a.IsValid() {
		return a.String()
	}
	return "unknown"
}

// address is the client's address, or the zero Addr if it is unknown.
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
