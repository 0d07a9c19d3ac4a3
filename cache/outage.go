package cache

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"kong-vault-auth/clock"
)

// The store is failing from the first lookup that fails to the next one that does
// not. Meanwhile there is at most one lookup at a time, a probe, and a pause after
// each, the backoff. A failure that is an answer to one key is not enough for that: a
// control decides, a lookup of a key that is known to be good.

const (
	firstPause = 250 * time.Millisecond // doubled by each probe that fails
	maxPause   = 5 * time.Second        // unless the store asks for more
	// maxRetryAfter bounds what the store may ask for. A load balancer's maintenance
	// page that asks for an hour must not cause an outage of an hour.
	maxRetryAfter = time.Minute
	// controlPause is between two controls that strangers cause.
	controlPause = time.Second
)

// outage is guarded by Cache.mu, but pause may be read without it.
type outage struct {
	pause      atomic.Pointer[pause] // nil while the store answers
	since      clock.Instant
	policy     Policy    // of the lookup that failed first
	probes     int       // that have failed
	lastAnswer time.Time // to an earlier process, as far as that is known; zero: none yet
	// answered is the clock.Mono at which the latest lookup began that the store has
	// answered. The failure of one that began before says nothing about the store now: a
	// lookup that has hung through an outage ends only after it.
	answered time.Duration
	// failedKey is a key whose lookup has failed with an answer to that key, if no lookup
	// has succeeded since. It was known to be good, unless no key is.
	failedKey   string
	nextControl time.Duration // the clock.Mono before which strangers can't cause one

	// The latest failure of a lookup, for Stats.
	lastFailure   error
	lastFailureAt time.Time
}

// pause is how long a failing store is left alone, and why.
type pause struct {
	until  time.Duration // the clock.Mono from which it may be probed; forever while it is
	err    error
	denied bool
	// open: the store answers, though only with failures, and no key is known to be
	// good. Then each key may be looked up, since the next can be the first that is.
	open bool
}

// paused reports whether the store is failing and must not be asked now.
func (o *outage) paused(now clock.Instant) bool {
	p := o.pause.Load()
	return p != nil && now.Mono < p.until
}

// denied reports whether the store answers, and denies everything.
func (o *outage) denied() bool {
	p := o.pause.Load()
	return p != nil && p.denied
}

// HeldUntil returns the time until which the records that were fresh when the outage began
// are usable, or zero if there is no outage. It changes if a store that was down begins to
// deny everything, or the other way round.
func (c *Cache[V]) HeldUntil() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.outage.pause.Load() == nil {
		return time.Time{}
	}
	return c.outage.heldUntil()
}

// heldUntil is HeldUntil during an outage. It is less than resurrect_ttl after the beginning
// of the outage if the store had not been asked for a while, or only by an earlier process.
func (o *outage) heldUntil() time.Time {
	resurrect := o.policy.resurrect(o.denied())
	until := time.Unix(0, o.since.Wall).Add(resurrect)
	if newest := o.lastAnswer.Add(o.policy.ttl(0) + resurrect); !o.lastAnswer.IsZero() && newest.Before(until) {
		return newest
	}
	return until
}

// admit decides whether a lookup of key may begin, and if so, whether it is a probe,
// or which other key is to be probed instead.
func (c *Cache[V]) admit(key string, now clock.Instant) (probe bool, instead *known, err error) {
	p := c.outage.pause.Load()
	good := c.isGood(key)
	switch {
	case p == nil, p.open && !good:
		return false, nil, nil
	case now.Mono < p.until:
		return false, nil, c.outage.unavailable(p.err, now)
	case !good:
		if instead := c.control(key); instead != nil {
			return false, instead, nil
		}
	}
	c.outage.pause.Store(&pause{until: forever, err: p.err, denied: p.denied, open: p.open})
	return true, nil, nil
}

// known is a key that is known to be good.
type known struct{ key, name string }

// isGood reports whether key has a record, and its latest lookup did not fail with an
// answer to that key alone.
func (c *Cache[V]) isGood(key string) bool {
	e := c.cached(key)
	return e != nil && e.failure.Load() == nil
}

// control returns a good key other than this one, or nil.
func (c *Cache[V]) control(key string) *known {
	for other, e := range c.entries.All() {
		if other != key && e.failure.Load() == nil && c.guard.suspects[other] == 0 {
			return &known{other, e.name}
		}
	}
	return nil
}

// setPause leaves the store alone until then, because call failed with err.
func (c *Cache[V]) setPause(until time.Duration, call *call[V], err error) {
	open := isAboutKey(err) && c.control(call.key) == nil
	c.outage.pause.Store(&pause{until: until, err: err, denied: isDenied(err), open: open})
}

// unavailable returns the error for a Get without a fallback.
func (o *outage) unavailable(err error, now clock.Instant) error {
	retry := time.Second
	if p := o.pause.Load(); p != nil && p.until != forever {
		retry = max(retry, p.until-now.Mono)
	}
	return &UnavailableError{Err: err, RetryAfter: retry}
}

// learn decides by the outcome of call's lookup whether the store is failing. mu is
// held.
func (c *Cache[V]) learn(call *call[V], err error, now clock.Instant) {
	var panicked *PanicError
	switch {
	case err == nil:
		c.stats.found.Add(1)
		c.recovered(call, now)
	case errors.Is(err, ErrAbsent):
		c.stats.notFound.Add(1)
		c.recovered(call, now)
	case errors.As(err, &panicked):
		c.stats.panicked.Add(1)
		if f := c.observer.Panicked; f != nil {
			c.notify(func() { f(panicked) })
		}
		if call.probe && c.outage.pause.Load() != nil {
			c.pauseFor(firstPause, call, c.outage.pause.Load().err, now)
		}
	case !c.closed:
		c.stats.failed.Add(1)
		c.outage.lastFailure, c.outage.lastFailureAt = err, time.Unix(0, now.Wall)
		if isAboutKey(err) && c.outage.pause.Load() == nil {
			c.failedKey(call, err, now)
		} else {
			c.failed(call, err, now)
		}
	}
}

func (c *Cache[V]) recovered(call *call[V], now clock.Instant) {
	o := &c.outage
	o.lastAnswer = time.Unix(0, now.Wall)
	o.answered = max(o.answered, call.began.Mono)
	o.failedKey = ""
	if o.pause.Swap(nil) == nil {
		return
	}
	if f := c.observer.OutageEnded; f != nil {
		lasted := now.Since(o.since)
		c.notify(func() { f(lasted) })
	}
}

func (c *Cache[V]) failed(call *call[V], err error, now clock.Instant) {
	o := &c.outage
	p := o.pause.Load()
	switch {
	case p == nil && call.began.Mono < o.answered && retryAfterOf(err) == 0:
	case p == nil:
		c.beginOutage(call, err, now)
	case call.probe:
		o.probes++
		c.pauseFor(min(firstPause<<min(o.probes, 10), maxPause), call, err, now)
	case p.open && !isAboutKey(err):
		o.probes = 0
		c.pauseFor(firstPause, call, err, now)
	case p.until != forever:
		// It began before the outage did, so its failure is nothing new, unless the
		// store asks to be left alone for longer.
		if until := now.Mono + min(retryAfterOf(err), maxRetryAfter); until > p.until {
			c.setPause(until, call, err)
		}
	}
}

func (c *Cache[V]) beginOutage(call *call[V], err error, now clock.Instant) {
	o := &c.outage
	o.since, o.policy, o.probes = now, call.policy, 0
	c.pauseFor(firstPause, call, err, now)
	if f := c.observer.OutageBegan; f != nil {
		last, until := o.lastAnswer, o.heldUntil()
		c.notify(func() { f(err, last, until) })
	}
	if o.pause.Load().open {
		return
	}
	// Those that wait for a permit would not get an answer either.
	c.failWaiting(o.unavailable(err, now))
}

// failedKey processes a failure that is an answer to call's key. The store is failing
// if a second key, one that is known to be good if there is one, fails like that before
// any lookup succeeds.
func (c *Cache[V]) failedKey(call *call[V], err error, now clock.Instant) {
	o, good := &c.outage, c.isGood(call.key)
	if f := c.observer.KeyFailed; f != nil && c.cached(call.key) != nil {
		c.notify(func() { f(err) })
	}
	if !good && now.Mono < o.nextControl {
		return
	}
	o.nextControl = now.Mono + controlPause
	control := c.control(call.key)
	second := o.failedKey != "" && o.failedKey != call.key
	switch {
	case good && (second || control == nil), !good && second && control == nil:
		c.beginOutage(call, err, now)
	case good || control == nil:
		o.failedKey = call.key
	}
	if control != nil {
		c.callInBackground(control.key, control.name, call.policy)
	}
}

// pauseFor leaves the store alone for d, less up to a quarter so that many nodes don't
// probe at the same time, or for as long as it asks.
func (c *Cache[V]) pauseFor(d time.Duration, call *call[V], err error, now clock.Instant) {
	d -= time.Duration(c.jitter() * float64(d/4))
	d = max(d, min(retryAfterOf(err), maxRetryAfter))
	c.setPause(now.Mono+d, call, err)
}

// lateError returns the error for a question that has waited for call as long as it may,
// until end on clock.Mono. It depends on whether the wait for a permit or the store took
// longer. On a machine that stalls, end may be long ago.
func (c *Cache[V]) lateError(call *call[V], end, waited time.Duration) error {
	c.mu.Lock()
	defer c.unlock()
	if !call.running || end-call.began.Mono < waited/2 {
		return c.queue.limitError()
	}
	return c.outage.unavailable(fmt.Errorf("no answer within the lookup deadline: %w", context.DeadlineExceeded), c.clock())
}
