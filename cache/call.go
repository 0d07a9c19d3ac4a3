package cache

import (
	"context"
	"errors"
	"runtime/debug"
	"strings"

	"kong-vault-auth/clock"
)

// maxClaimants bounds the Gets that wait for the same re-read.
const maxClaimants = 1000

// call is one lookup, from the request for it to its outcome, shared by all Gets that
// wait for its key. It waits in the queue, runs, and ends:
//
//	waiting ──► running ──► found, absent, held back or failed
//	   │           └──────► superseded
//	   └──► limited or failed
type call[V any] struct {
	ticket  // guarded by Cache.mu; once done is closed, only its permit changes
	name    string
	policy  Policy        // of the Get that began it
	created clock.Instant // when it was first requested
	done    chan struct{}

	// Guarded by Cache.mu, and no longer changed once done is closed.
	waiters    int  // Gets that wait for it
	claimants  int  // of those, the ones whose claim needs a re-read
	background bool // it is needed even if no Get waits for it
	probe      bool // of a failing store
	verify     bool // it decides on a suspect: a negative answer is believed
	running    bool
	began      clock.Instant

	// The answer, set before done is closed.
	outcome outcome
	entry   *entry[V] // what was found
	err     error     // for all outcomes but found: what Get returns
}

type outcome uint8

const (
	outcomeFound      outcome = iota
	outcomeAbsent             // a negative answer
	outcomeHeld               // a negative answer that the guard holds back
	outcomeFailed             // the store could not say
	outcomeLimited            // it got no permit, and never ran
	outcomeSuperseded         // something newer than its answer is known to be in the store
)

func newCall[V any](key, name string, p Policy, priority priority, now clock.Instant) *call[V] {
	// The caller's strings may be cut from something large, which must not stay
	// in memory with them.
	if name == key {
		key = strings.Clone(key)
		name = key
	} else {
		key, name = strings.Clone(key), strings.Clone(name)
	}
	return &call[V]{
		ticket:  ticket{key: key, priority: priority},
		name:    name,
		policy:  p,
		created: now,
		done:    make(chan struct{}),
	}
}

// callFor returns the call for key: the existing one, promoted if the new request is more
// urgent, or a new one. If only a probe of another key is allowed, it returns the call for
// that. Its errors are an UnavailableError and a LimitError. mu is held.
func (c *Cache[V]) callFor(key, name string, p Policy, priority priority, source string) (*call[V], error) {
	now := c.clock()
	if call, ok := c.calls[key]; ok {
		if !call.running && c.queue.promote(&call.ticket, priority, source, now) {
			c.dispatch(now)
		}
		return call, nil
	}
	if c.closed {
		return nil, errClosed
	}
	probe, instead, err := c.admit(key, now)
	switch {
	case err != nil:
		return nil, err
	case instead != nil:
		return c.callFor(instead.key, instead.name, p, priorityRefresh, "")
	}
	call := newCall[V](key, name, p, priority, now)
	if e := c.cached(key); priority == priorityReread && e != nil {
		call.notBefore = e.began.Mono + rereadPause
	}
	c.calls[call.key] = call
	if call.probe = probe; probe {
		// The pause limits probes more strictly than the queue would.
		c.queue.admit(&call.ticket, p.LookupsPerSecond, now)
		c.start(call, now)
		return call, nil
	}
	c.queue.add(&call.ticket, source, p.LookupsPerSecond, now)
	c.dispatch(now)
	if t := c.queue.overflow(); t != nil {
		c.refuse(c.calls[t.key])
	}
	if call.outcome == outcomeLimited {
		return nil, call.err
	}
	return call, nil
}

// callInBackground is callFor for a lookup that no Get waits for. mu is held.
func (c *Cache[V]) callInBackground(key, name string, p Policy) (*call[V], error) {
	call, err := c.callFor(key, name, p, priorityRefresh, "")
	if err == nil {
		call.background = true
	}
	return call, err
}

// join is callFor for a question, which then waits for the call's end or leaves it. e
// is the record that the question knows of, or nil. If a lookup has replaced it
// meanwhile, join returns no call and no error, because another lookup may not be
// needed.
func (c *Cache[V]) join(q *question, p priority, source string, e *entry[V]) (*call[V], error) {
	c.mu.Lock()
	defer c.unlock()
	if c.calls[q.key] == nil {
		news := c.cached(q.key)
		if news != nil && news != e || news == nil && c.absent.recall(q.key, c.clock(), q.policy.NegTTL) != nil {
			return nil, nil
		}
	}
	call, err := c.callFor(q.key, q.name, q.policy, p, source)
	if err != nil {
		return nil, err
	}
	if p == priorityReread {
		if call.claimants == maxClaimants {
			return nil, c.queue.limitError()
		}
		call.claimants++
	}
	call.waiters++
	return call, nil
}

// leave is for a question that joined call and no longer waits for it. A call that no
// Get waits for leaves the queue, unless it is needed in the background.
func (c *Cache[V]) leave(call *call[V], p priority, background bool) {
	c.mu.Lock()
	defer c.unlock()
	call.waiters--
	if p == priorityReread {
		call.claimants--
	}
	call.background = call.background || background
	if call.waiters == 0 && !call.background && !call.running && c.calls[call.key] == call {
		c.refuse(call)
	}
}

// dispatch starts the calls that get a permit, and sets the timer for the next one.
// mu is held.
func (c *Cache[V]) dispatch(now clock.Instant) {
	for !c.closed {
		t, wait := c.queue.next(now)
		if t == nil {
			if wait > 0 {
				c.nextPermit.Reset(wait)
			}
			return
		}
		c.start(c.calls[t.key], now)
	}
}

// start starts call's lookup. mu is held.
func (c *Cache[V]) start(call *call[V], now clock.Instant) {
	call.running, call.began = true, now
	c.stats.lookups[call.priority].Add(1)
	c.wg.Go(func() {
		var found Found[V]
		var err error = &PanicError{Value: errors.New("the lookup ended its goroutine")}
		defer func() {
			if v := recover(); v != nil {
				err = &PanicError{Value: v, Stack: debug.Stack()}
			}
			c.ended(call, found, err)
		}()
		ctx, cancel := context.WithTimeout(c.ctx, call.policy.LookupTimeout)
		defer cancel()
		found, err = c.lookup(ctx, call.key, call.name)
	})
}

// ended processes the outcome of call's lookup: what it says about the store, and,
// unless call was superseded, about the key.
func (c *Cache[V]) ended(call *call[V], found Found[V], err error) {
	e := newEntry(call.name, found, call.began, c.jitter())
	c.mu.Lock()
	defer c.unlock()
	now := c.clock()
	if err == nil && now.Since(call.began) >= e.life {
		err = ErrExpired
	}
	c.queue.ended(&call.ticket, err)
	c.learn(call, err, now)
	if c.calls[call.key] == call {
		c.settle(call, e, err, now)
	}
	c.dispatch(now)
}

// settle stores call's outcome in the cache, and ends call with it. mu is held.
func (c *Cache[V]) settle(call *call[V], e *entry[V], err error, now clock.Instant) {
	var panicked *PanicError
	switch {
	case err == nil:
		if old := c.cached(call.key); old != nil && c.same != nil && !c.same(old.value, e.value) {
			c.stats.changed.Add(1)
		}
		c.entries.Set(call.key, e)
		c.absent.Invalidate(call.key)
		c.resolve(call.key)
		call.entry = e
		c.finish(call, outcomeFound, nil)
	case errors.Is(err, ErrAbsent):
		if c.holdBack(call, now) {
			c.finish(call, outcomeHeld, err)
			return
		}
		c.drop(call.key)
		c.absent.remember(call.key, err, call.began, call.policy.NegTTL)
		c.finish(call, outcomeAbsent, err)
	case errors.As(err, &panicked):
		c.finish(call, outcomeFailed, err)
	case c.closed:
		c.finish(call, outcomeFailed, errClosed)
	default:
		about := isAboutKey(err)
		err = c.outage.unavailable(err, now)
		if old := c.cached(call.key); about && old != nil {
			old.failure.Store(&keyFailure{err, now})
		} else if about {
			c.absent.rememberFailure(call.key, err, now)
		}
		c.finish(call, outcomeFailed, err)
	}
}

// finish ends call for all Gets that wait for it. mu is held.
func (c *Cache[V]) finish(call *call[V], o outcome, err error) {
	delete(c.calls, call.key)
	call.outcome, call.err = o, err
	close(call.done)
}

// refuse ends a call that waits in the queue, because there is no permit or no room
// for it. mu is held.
func (c *Cache[V]) refuse(call *call[V]) {
	c.finish(call, outcomeLimited, c.queue.refuse(&call.ticket))
}

// failWaiting ends all calls that wait in the queue. mu is held.
func (c *Cache[V]) failWaiting(err error) {
	for _, call := range c.calls {
		if !call.running {
			c.queue.remove(&call.ticket)
			c.finish(call, outcomeFailed, err)
		}
	}
}

// supersede makes sure that no lookup of key that has begun stores its answer.
// One that has not begun will read what is in the store now, so it may stay.
// mu is held.
func (c *Cache[V]) supersede(key string) {
	if call, ok := c.calls[key]; ok && call.running {
		c.stats.superseded.Add(1)
		c.finish(call, outcomeSuperseded, nil)
	}
}
