// Package vault holds vault objects: named connections to one secret store each,
// where token pairs are looked up. Which kinds of store there are, a Registry is
// told.
package vault

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"kong-vault-auth/cache"
	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// Object is a vault object as plugin configurations use it: a store, the cache
// in front of it, and the limits of this object. Registry.Open returns it. It
// is safe for concurrent use.
type Object struct {
	name  string
	scope Scope // of the configuration that uses it
	bound *atomic.Pointer[binding]
}

// binding is what an object stands for at present. That of a named object
// changes with the vaults file.
type binding struct {
	live    *live
	allowed Allowed
	policy  cache.Policy
	err     error // instead of the others: why there is no store to ask
}

// Name is the object's name, for messages: that of the node's definition, or
// what an inline object connects to.
func (o *Object) Name() string { return o.name }

// Usable says, by its error, which matches ErrConfig, why no pair can be looked up:
// the node has no usable object of this name, or not for this configuration.
func (o *Object) Usable() error { return o.usable(o.bound.Load()) }

func (o *Object) usable(b *binding) error {
	if b.err != nil {
		return b.err
	}
	return b.allowed.check(o.name, o.scope)
}

// Lookup returns the credential that the pair proves. Its errors are
//
//   - *RefusedError, which matches ErrRefused: there is no such pair;
//   - *LimitError: too many lookups that find nothing;
//   - *GuessingError: there is such a credential, and this secret token is one
//     of too many wrong ones;
//   - *UnavailableError: the store can't say, and nothing is cached;
//   - one that matches ErrConfig: see Usable;
//   - ctx's own, if the caller has gone away;
//   - anything else is a fault of this program's.
//
// It ends within the lookup deadline and never waits where the pair is cached
// and fresh. client shares the budget of lookups with others; nil stands for
// nobody, who may have all of it.
func (o *Object) Lookup(ctx context.Context, accessToken, secretToken string, client Client) (*credential.Credential, error) {
	b := o.bound.Load()
	if err := o.usable(b); err != nil {
		return nil, err
	}
	if credential.CheckAccessToken(accessToken) != nil || credential.CheckSecretToken(secretToken) != nil {
		return nil, &RefusedError{ReasonMalformed}
	}
	c, err := b.live.get(ctx, accessToken, secretToken, client, b.policy)
	if err != nil {
		return nil, o.explain(err)
	}
	return c, nil
}

// explain turns an error of the cache into one of ours.
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

// policyOf is what an object's limits mean to the cache.
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
