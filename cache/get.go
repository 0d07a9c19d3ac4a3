package cache

import (
	"context"
	"time"
)

// stalePatience is how long a Get waits for a lookup while it has a record past
// its ttl at hand.
const stalePatience = 250 * time.Millisecond

// Result is what Get answers.
type Result[V any] struct {
	Value V
	State State
}

// State says where an answer comes from.
type State uint8

// The states of a Result.
const (
	Fresh       State = iota // from memory, within its ttl
	Loaded                   // from a lookup that Get waited for
	Resurrected              // from memory, past its ttl: the store is failing or slow
)

func (s State) String() string {
	return [...]string{"fresh", "loaded", "resurrected"}[s]
}

// Get answers with the record of key that claim accepts. Its errors are
//
//   - one that matches ErrAbsent: the store has no such record;
//   - ErrRefused: there is one, and claim doesn't accept it;
//   - *LimitError: too many lookups;
//   - *UnavailableError: the store can't say;
//   - *PanicError: the lookup panicked;
//   - ctx's own: the caller has gone away.
//
// It waits no longer than p.LookupTimeout. key is what the record is cached by,
// name what the store is asked for; they differ only where several names mean
// one record.
func (c *Cache[V]) Get(ctx context.Context, key, name string, p Policy, claim Claim[V]) (Result[V], error) {
	if e, ok := c.entries.GetIfPresent(key); ok {
		now := c.clock()
		if age := now.since(e.began); e.fresh(age, &p) && claim.accepts(e.value) {
			if age >= e.refreshPoint(e.expiry(&p)) {
				c.refreshAhead(key, e, p, now)
			}
			c.stats.hits.RecordHits(1)
			return Result[V]{e.value, Fresh}, nil
		}
	}
	r, err := c.ask(ctx, key, name, p.withDefaults(), claim)
	c.stats.count(r.State, err)
	return r, err
}

// refreshAhead starts a lookup in the background, once a second and key at most.
func (c *Cache[V]) refreshAhead(key string, e *entry[V], p Policy, now instant) {
	if c.outage.paused(now) || e.suspect.Load() || !e.claimRefresh(now) {
		return
	}
	c.mu.Lock()
	defer c.unlock()
	if c.cached(key) == e { // else a lookup has landed since
		c.launchInBackground(key, e.name, p.withDefaults())
	}
}

// ask is Get for whatever isn't a plain hit. Each round looks at what is at
// hand, and answers with it or waits for one lookup.
func (c *Cache[V]) ask(ctx context.Context, key, name string, p Policy, claim Claim[V]) (Result[V], error) {
	raise(&c.entriesFor, p.longest())
	arrived := c.clock()
	e := c.cached(key)
	var landed *flight[V] // the lookup that found e, if this Get waited for it

	for {
		now := c.clock()
		var o order
		s := judge(e, now, arrived, &p, c.outage.resurrect(&p), claim)
		switch s {
		case current:
			return c.conclude(e, landed), nil
		case refused:
			c.refused.remember(key, claim.Digest, now, p.NegTTL)
			return Result[V]{}, ErrRefused
		case mismatched:
			if e.suspect.Load() || c.refused.has(key, claim.Digest, now, p.NegTTL) {
				return Result[V]{}, ErrRefused
			}
			o = orderReread
			if !e.fresh(now.since(e.began), &p) {
				o = orderExpired // it is due anyway
			}
		case stale:
			if c.outage.paused(now) || e.suspect.Load() {
				return Result[V]{e.value, Resurrected}, nil
			}
			o = orderExpired
		case tooOld:
			o = orderExpired
		case nothing:
			if err := c.absent.recall(key, now, p.NegTTL); err != nil {
				return Result[V]{}, err
			}
			o = orderNeverSeen
		}

		f, err := c.board(key, name, p, o, claim.source(o), e)
		if f == nil && err == nil {
			e, landed = c.cached(key), nil
			continue
		}
		if err == nil {
			patience := arrived.mono + p.LookupTimeout - now.mono
			if s == stale {
				patience = stalePatience - max(now.since(arrived), now.since(f.created))
				if f.probe {
					patience = 0
				}
			}
			err = c.wait(ctx, f, o, patience, s == stale)
		}
		if err == nil {
			switch f.outcome {
			case outcomeFound:
				e, landed = f.entry, f
				continue
			case outcomeSuperseded:
				e, landed = c.cached(key), nil
				continue
			case outcomeAbsent:
				return Result[V]{}, f.err
			default:
				err = f.err
			}
		}
		// No answer from the store. What was stale when this Get came may have
		// become too old for the failure that it now knows of.
		if s == stale && ctx.Err() == nil && e.usable(c.clock().since(e.began), &p, c.outage.resurrect(&p)) {
			return Result[V]{e.value, Resurrected}, nil
		}
		return Result[V]{}, err
	}
}

// standing is how what is at hand stands to a claim.
type standing uint8

const (
	nothing    standing = iota // no record, or its end has passed
	current                    // accepted, and fresh or read after the claim was made
	stale                      // accepted, past its ttl, good enough if the store can't say
	tooOld                     // accepted, past any use
	mismatched                 // not accepted, but read before the claim was made
	refused                    // not accepted, and read after the claim was made
)

func judge[V any](e *entry[V], now, arrived instant, p *Policy, resurrect time.Duration, claim Claim[V]) standing {
	if e == nil {
		return nothing
	}
	age := now.since(e.began)
	if age >= e.life {
		return nothing
	}
	asked := e.began.mono >= arrived.mono
	if claim.accepts(e.value) {
		switch {
		case asked || e.fresh(age, p):
			return current
		case e.usable(age, p, resurrect):
			return stale
		default:
			return tooOld
		}
	}
	if asked {
		return refused
	}
	return mismatched
}

// conclude answers with e, which f has found if it isn't nil.
func (c *Cache[V]) conclude(e *entry[V], f *flight[V]) Result[V] {
	if f == nil {
		return Result[V]{e.value, Fresh}
	}
	if f.order == orderReread {
		c.mu.Lock()
		c.budget.giveBack(f)
		c.dispatch(c.clock())
		c.unlock()
	}
	return Result[V]{e.value, Loaded}
}

// wait returns nil when f, boarded for o, has its outcome, and else why not. A
// flight that is still wanted goes on without anyone who waits for it.
func (c *Cache[V]) wait(ctx context.Context, f *flight[V], o order, patience time.Duration, wanted bool) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		c.leave(f, o, wanted)
		return ctx.Err()
	case <-timer.C:
		select {
		case <-f.done:
			return nil
		default:
		}
		c.leave(f, o, wanted)
		return c.lateError(f)
	}
}
