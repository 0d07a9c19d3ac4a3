package cache

import (
	"context"
	"time"

	"kong-vault-auth/clock"
)

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
//   - the error of ctx: the caller has gone away.
//
// It waits no longer than p.LookupTimeout. The record is cached by key and called
// name in the store; the two differ only where several names mean one record.
func (c *Cache[V]) Get(ctx context.Context, key, name string, p Policy, claim Claim[V]) (Result[V], error) {
	if e, ok := c.entries.GetIfPresent(key); ok {
		now := c.clock()
		if age := now.Since(e.began); e.fresh(age, &p) && claim.accepts(e.value) {
			if age >= e.refreshPoint(e.expiry(&p)) {
				c.refreshAhead(key, e, p, now)
			}
			c.stats.hits.RecordHits(1)
			return Result[V]{e.value, Fresh}, nil
		}
	}
	q := question{key: key, name: name, policy: p.withDefaults(), asked: c.clock()}
	r, err := c.answer(ctx, &q, claim)
	c.stats.count(r.State, err)
	return r, err
}

// refreshAhead starts a lookup in the background, once a second and key at most.
func (c *Cache[V]) refreshAhead(key string, e *entry[V], p Policy, now clock.Instant) {
	if c.outage.paused(now) || !e.claimRefresh(now) {
		return
	}
	c.mu.Lock()
	defer c.unlock()
	if c.cached(key) == e && c.guard.suspects[key] == 0 { // else a lookup has ended since, or will be made
		c.callInBackground(key, e.name, p.withDefaults())
	}
}

// question is a Get that isn't a plain hit. Its claim is passed separately, since as a part
// of the question it would escape to the heap, and callers would allocate the functions of
// the claim for each Get.
type question struct {
	key, name string
	policy    Policy
	asked     clock.Instant
}

// answer is Get for a question. Each round answers with the record at hand or waits
// for one lookup.
func (c *Cache[V]) answer(ctx context.Context, q *question, claim Claim[V]) (Result[V], error) {
	raise(&c.entriesFor, q.policy.longest())
	e := c.cached(q.key)
	var answered *call[V] // the lookup that found e, if this Get waited for it
	for {
		now := c.clock()
		v := judge(q, claim, e, now, q.policy.resurrect(c.outage.denied()))
		if r, done, err := c.answerFromMemory(q, claim, v, e, answered, now); done {
			return r, err
		}
		p := priorityOf(q, v, e, now)
		call, err := c.join(q, p, claim.source(p), e)
		if call != nil {
			err = c.wait(ctx, q, call, p, v, now)
		}
		switch {
		case err != nil:
			return c.fallback(q, v, e, err)
		case call == nil, call.outcome == outcomeSuperseded, call.key != q.key && call.outcome != outcomeFailed:
			e, answered = c.cached(q.key), nil
		case call.outcome == outcomeFound:
			e, answered = call.entry, call // memory may be too full to have kept it
		case call.outcome == outcomeAbsent:
			return Result[V]{}, call.err
		default:
			return c.fallback(q, v, e, call.err)
		}
	}
}

// verdict is what the record at hand is worth for a question.
type verdict uint8

const (
	nothing    verdict = iota // there is none, or its end has passed
	good                      // accepted, and fresh or read after the question was asked
	stale                     // accepted, past its ttl, a fallback if the store can't say
	tooOld                    // accepted, of no use
	mismatched                // not accepted, but read before the question was asked
	refused                   // not accepted, and read after the question was asked
)

func judge[V any](q *question, claim Claim[V], e *entry[V], now clock.Instant, resurrect time.Duration) verdict {
	if e == nil {
		return nothing
	}
	age := now.Since(e.began)
	news := e.began.Mono >= q.asked.Mono
	switch {
	case age >= e.life:
		return nothing
	case !claim.accepts(e.value):
		if news {
			return refused
		}
		return mismatched
	case news || e.fresh(age, &q.policy):
		return good
	case e.usable(age, &q.policy, resurrect):
		return stale
	default:
		return tooOld
	}
}

// answerFromMemory answers a question if it can. done is false if the store must be asked.
func (c *Cache[V]) answerFromMemory(q *question, claim Claim[V], v verdict, e *entry[V], answered *call[V], now clock.Instant) (r Result[V], done bool, err error) {
	switch v {
	case nothing:
		err = c.absent.recall(q.key, now, q.policy.NegTTL)
		return r, err != nil, err
	case good:
		if answered == nil {
			return Result[V]{e.value, Fresh}, true, nil
		}
		c.accept(answered)
		return Result[V]{e.value, Loaded}, true, nil
	case stale:
		// A failing store is asked in the background only, without a lock until
		// the next probe is due. On a suspect, the guard's lookup decides.
		if c.outage.paused(now) || c.isSuspect(q.key) {
			return Result[V]{e.value, Resurrected}, true, nil
		}
	case mismatched:
		if c.refused.has(q.key, claim.Digest, now, q.policy.NegTTL) {
			return r, true, ErrRefused
		}
	case refused:
		c.refused.remember(q.key, claim.Digest, now, q.policy.NegTTL)
		return r, true, ErrRefused
	}
	if err := e.recentFailure(now); err != nil {
		r, err = c.fallback(q, v, e, err)
		return r, true, err
	}
	return r, false, nil
}

// priorityOf returns the priority of the lookup that a question needs.
func priorityOf[V any](q *question, v verdict, e *entry[V], now clock.Instant) priority {
	switch {
	case v == nothing:
		return priorityNeverSeen
	case v == mismatched && e.fresh(now.Since(e.began), &q.policy): // else it is due anyway
		return priorityReread
	default:
		return priorityExpired
	}
}

// fallback answers with e if that is stale and usable, which depends on err, or with err.
func (c *Cache[V]) fallback(q *question, v verdict, e *entry[V], err error) (Result[V], error) {
	resurrect := q.policy.resurrect(c.outage.denied() || isDenied(err))
	if v == stale && e.usable(c.clock().Since(e.began), &q.policy, resurrect) {
		return Result[V]{e.value, Resurrected}, nil
	}
	return Result[V]{}, err
}

// wait waits until call, joined for p, has its outcome, and otherwise returns the
// reason. With a stale record it is brief, and call goes on without it.
func (c *Cache[V]) wait(ctx context.Context, q *question, call *call[V], p priority, v verdict, now clock.Instant) error {
	patience := q.asked.Mono + q.policy.LookupTimeout - now.Mono
	switch {
	case v == stale && call.probe:
		patience = 0
	case v == stale:
		patience = q.policy.StalePatience - max(now.Since(q.asked), now.Since(call.created))
	}
	end := c.clock().Mono + patience
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-call.done:
		return nil
	case <-ctx.Done():
		c.leave(call, p, v == stale)
		return ctx.Err()
	case <-timer.C:
		select {
		case <-call.done:
			return nil
		default:
		}
		c.leave(call, p, v == stale)
		return c.lateError(call, end, patience)
	}
}

// accept reports to the queue that a claim has accepted what call has found.
func (c *Cache[V]) accept(call *call[V]) {
	if call.priority != priorityReread { // for which that changes nothing
		return
	}
	c.mu.Lock()
	defer c.unlock()
	c.queue.accepted(&call.ticket)
	c.dispatch(c.clock())
}
