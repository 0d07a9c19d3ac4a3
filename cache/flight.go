package cache

import (
	"context"
	"errors"
	"runtime/debug"
	"strings"
	"time"
)

// flight is one lookup, from the wish for it to its answer, shared by everyone
// who waits for its key. It waits for a place in the budget, runs, and lands;
// or it is abandoned before it runs, or superseded while it does.
type flight[V any] struct {
	key, name string
	policy    Policy  // of the Get that started it
	created   instant // when it was wished for
	done      chan struct{}

	// Guarded by Cache.mu, and no longer changed once done is closed, except
	// for place.
	order      order
	source     *source       // who pays for it
	notBefore  time.Duration // the clock.mono at which it may begin
	waiters    int           // Gets that wait for it
	claimants  int           // of those, the ones whose claim needs a re-read
	background bool          // wanted though nobody waits for it
	probe      bool          // of a failing store
	verify     bool          // it decides on a suspect: a definite no is believed
	running    bool
	began      instant
	place      bool // holds a place in the budget

	// The answer, set before done is closed.
	outcome outcome
	entry   *entry[V] // what was found
	err     error     // for all outcomes but found: what Get returns
}

type outcome uint8

const (
	outcomeFound      outcome = iota
	outcomeAbsent             // a definite no
	outcomeHeld               // a definite no that the guard holds back
	outcomeFailed             // the store could not say
	outcomeLimited            // it never ran for want of a place
	outcomeSuperseded         // something newer than its answer is known to be in the store
)

// launch returns the flight for key: the one in the air, which it hurries along
// if the new wish for it comes earlier in the order, or a new one. Where only a
// probe may be made, and not of this key, it is the probe's flight. It refuses with
// an UnavailableError or a LimitError. mu is held.
func (c *Cache[V]) launch(key, name string, p Policy, o order, source string) (*flight[V], error) {
	now := c.clock()
	if f, ok := c.flights[key]; ok {
		switch {
		case f.running:
		case o < f.order:
			c.budget.hurry(f, o, now)
			c.dispatch(now)
		case o == f.order && c.budget.share(f, source, now):
			c.dispatch(now)
		}
		return f, nil
	}
	if c.closed {
		return nil, errClosed
	}
	probe, instead, err := c.admit(key, now)
	switch {
	case err != nil:
		return nil, err
	case instead != nil:
		return c.launch(instead.key, instead.name, p, orderRefresh, "")
	}
	// The caller's strings may be cut from something large, which must not stay
	// in memory with them.
	if name == key {
		key = strings.Clone(key)
		name = key
	} else {
		key, name = strings.Clone(key), strings.Clone(name)
	}
	f := &flight[V]{
		key:     key,
		name:    name,
		policy:  p,
		created: now,
		done:    make(chan struct{}),
		order:   o,
		source:  c.budget.sources.of(source, now, float64(p.LookupsPerSecond)),
		probe:   probe,
	}
	if e := c.cached(key); o == orderReread && e != nil {
		f.notBefore = e.began.mono + rereadPause
	}
	c.flights[key] = f
	if probe {
		// The pause limits probes more strictly than the budget would.
		c.budget.take(f, now)
		c.begin(f, now)
		return f, nil
	}
	c.budget.add(f, now)
	c.dispatch(now)
	if out := c.budget.surplus(); out != nil {
		c.abandon(out, outcomeLimited, c.budget.limitError())
	}
	if f.outcome == outcomeLimited {
		return nil, f.err
	}
	return f, nil
}

// launchInBackground is launch for a lookup that is wanted though nobody waits
// for it. It may fail, for the same reasons. mu is held.
func (c *Cache[V]) launchInBackground(key, name string, p Policy) (*flight[V], error) {
	f, err := c.launch(key, name, p, orderRefresh, "")
	if err == nil {
		f.background = true
	}
	return f, err
}

// dispatch begins the flights that have a place, and comes back when the next
// one may have. mu is held.
func (c *Cache[V]) dispatch(now instant) {
	for !c.closed {
		f, wait := c.budget.next(now)
		if f == nil {
			if wait > 0 {
				c.budget.timer.Reset(wait)
			}
			return
		}
		c.begin(f, now)
	}
}

// begin starts f's lookup. mu is held.
func (c *Cache[V]) begin(f *flight[V], now instant) {
	f.running, f.began = true, now
	c.stats.lookups[f.order].Add(1)
	c.wg.Go(func() { c.fly(f) })
}

func (c *Cache[V]) fly(f *flight[V]) {
	var found Found[V]
	var err error = &PanicError{Value: errors.New("the lookup ended its goroutine")}
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
		c.land(f, found, err)
	}()
	ctx, cancel := context.WithTimeout(c.ctx, f.policy.LookupTimeout)
	defer cancel()
	found, err = c.lookup(ctx, f.key, f.name)
}

// land takes in the outcome of f's lookup: what it says about the store, and,
// unless f was superseded, about the key.
func (c *Cache[V]) land(f *flight[V], found Found[V], err error) {
	e := newEntry(f.name, found, f.began, c.jitter())
	c.mu.Lock()
	defer c.unlock()
	now := c.clock()
	if err == nil && now.since(f.began) >= e.life {
		err = ErrExpired
	}
	c.budget.landed(f, err)
	c.learn(f, err, now)
	if c.flights[f.key] == f {
		c.settle(f, e, err, now)
	}
	c.dispatch(now)
}

// settle makes f's outcome known to the cache and to who waits for it. mu is
// held.
func (c *Cache[V]) settle(f *flight[V], e *entry[V], err error, now instant) {
	var panicked *PanicError
	switch {
	case err == nil:
		if old := c.cached(f.key); old != nil && c.same != nil && !c.same(old.value, e.value) {
			c.stats.changed.Add(1)
		}
		c.entries.Set(f.key, e)
		c.absent.forget(f.key)
		f.entry = e
		c.finish(f, outcomeFound, nil)
	case errors.Is(err, ErrAbsent):
		if c.holdBack(f, now) {
			c.finish(f, outcomeHeld, err)
			return
		}
		c.drop(f.key)
		c.absent.remember(f.key, err, f.began, f.policy.NegTTL)
		c.finish(f, outcomeAbsent, err)
	case errors.As(err, &panicked):
		c.finish(f, outcomeFailed, err)
	case c.closed:
		c.finish(f, outcomeFailed, errClosed)
	default:
		about := isAboutKey(err)
		err = c.outage.unavailable(err, now)
		if old := c.cached(f.key); about && old != nil {
			old.failure.Store(&keyFailure{err, now})
		} else if about {
			c.absent.rememberFailure(f.key, err, now)
		}
		c.finish(f, outcomeFailed, err)
	}
}

// finish ends f for everyone who waits for it. mu is held.
func (c *Cache[V]) finish(f *flight[V], o outcome, err error) {
	delete(c.flights, f.key)
	f.outcome, f.err = o, err
	close(f.done)
}

// abandon ends a flight that has not begun. mu is held.
func (c *Cache[V]) abandon(f *flight[V], o outcome, err error) {
	c.budget.remove(f)
	if o == outcomeLimited {
		f.source.owe(1)
	}
	c.finish(f, o, err)
}

// supersede makes sure that no lookup of key that has begun stores its answer.
// One that has not begun will read what is in the store now, so it may stay.
// mu is held.
func (c *Cache[V]) supersede(key string) {
	if f, ok := c.flights[key]; ok && f.running {
		c.stats.superseded.Add(1)
		c.finish(f, outcomeSuperseded, nil)
	}
}

// board is launch for a question, which then waits for the flight's end, or
// leaves it. It returns no flight and no error if there is news since the
// question had e, or nil, at hand: a lookup has landed, and no other may be
// needed.
func (c *Cache[V]) board(q *question, o order, source string, e *entry[V]) (*flight[V], error) {
	c.mu.Lock()
	defer c.unlock()
	if c.flights[q.key] == nil {
		news := c.cached(q.key)
		if news != nil && news != e || news == nil && c.absent.recall(q.key, c.clock(), q.policy.NegTTL) != nil {
			return nil, nil
		}
	}
	f, err := c.launch(q.key, q.name, q.policy, o, source)
	if err != nil {
		return nil, err
	}
	if o == orderReread {
		if f.claimants == maxClaimants {
			return nil, c.budget.limitError()
		}
		f.claimants++
	}
	f.waiters++
	return f, nil
}

// leave is for a question that boarded f and no longer waits for it. A flight that
// nobody waits for gives up its place in the queue, unless it is still wanted.
func (c *Cache[V]) leave(f *flight[V], o order, wanted bool) {
	c.mu.Lock()
	defer c.unlock()
	f.waiters--
	if o == orderReread {
		f.claimants--
	}
	f.background = f.background || wanted
	if f.waiters == 0 && !f.background && !f.running && c.flights[f.key] == f {
		c.abandon(f, outcomeLimited, c.budget.limitError())
	}
}
