package cache

import (
	"math"
	"sync/atomic"
	"time"

	"kong-vault-auth/clock"
)

// Found is a record as a lookup found it.
type Found[V any] struct {
	Value   V
	TTL     time.Duration // the record's own; 0: the policy's
	Expires time.Time     // when the record ends, cached or not; zero: never
}

const forever = time.Duration(math.MaxInt64)

// entry is a record in memory. Only its atomics change after it was stored; a
// new answer of the store makes a new entry.
type entry[V any] struct {
	value  V
	name   string        // what it was looked up by
	began  clock.Instant // when the lookup that read it began: from then its age counts
	ttl    time.Duration // the record's own; 0: the policy's
	life   time.Duration // the age at which Found.Expires ends it
	jitter float32       // 0 to 1: how much earlier than others it is refreshed

	state atomic.Uint32 // an entryState
	// failure is the latest lookup's, if it concerned this key alone.
	failure atomic.Pointer[keyFailure]
	// refreshAt is the clock.Mono before which no hit starts a refresh.
	refreshAt atomic.Int64
}

// entryState is what is known of a record besides its age.
type entryState = uint32

const (
	stateCurrent  entryState = iota // the latest that is known to be in the store
	stateOutdated                   // never fresh: the store is known to have something newer
	stateRestored                   // never fresh: it came from a snapshot
)

// keyFailure is a lookup's failure that concerns one key.
type keyFailure struct {
	err error // what a Get without a usable record gets
	at  clock.Instant
}

func newEntry[V any](name string, found Found[V], began clock.Instant, jitter float64) *entry[V] {
	e := &entry[V]{
		value:  found.Value,
		name:   name,
		began:  began,
		ttl:    found.TTL,
		life:   forever,
		jitter: float32(jitter),
	}
	if !found.Expires.IsZero() {
		e.life = found.Expires.Sub(time.Unix(0, began.Wall))
	}
	return e
}

// expiry is the age at which e stops being fresh under p.
func (e *entry[V]) expiry(p *Policy) time.Duration {
	return min(p.ttl(e.ttl), e.life)
}

// refreshPoint is the age from which a hit refreshes e: 80 % of ttl, less up to
// 10 % so that many nodes don't refresh at the same time.
func (e *entry[V]) refreshPoint(ttl time.Duration) time.Duration {
	return ttl/10*8 - time.Duration(e.jitter*float32(ttl/10))
}

// fresh reports whether a Get may be answered with e, at age, without a lookup.
func (e *entry[V]) fresh(age time.Duration, p *Policy) bool {
	return age < e.expiry(p) && e.state.Load() == stateCurrent
}

// usable reports whether a Get may be answered with e, at age, while the store can't
// say: up to resurrect past its ttl.
func (e *entry[V]) usable(age time.Duration, p *Policy, resurrect time.Duration) bool {
	return age < p.ttl(e.ttl)+resurrect && age < e.life
}

// recentFailure is the failure of the latest lookup, if it was less than failurePause
// ago and concerned this key alone.
func (e *entry[V]) recentFailure(now clock.Instant) error {
	if f := e.failure.Load(); f != nil && now.Since(f.at) < failurePause {
		return f.err
	}
	return nil
}

// claimRefresh reports whether the caller is to refresh e now: no other Get was within
// the last second.
func (e *entry[V]) claimRefresh(now clock.Instant) bool {
	at := e.refreshAt.Load()
	return int64(now.Mono) >= at && e.refreshAt.CompareAndSwap(at, int64(now.Mono+time.Second))
}
