package cache

import (
	"time"

	"kong-vault-auth/clock"
)

// A store that suddenly has nothing is more likely broken than empty: a mount was
// replaced, a replica is not ready yet, a listing went wrong. So one negative answer
// is believed, but not many at once. If a listing, or the lookups within guardWindow,
// would drop more than half of the records and more than guardLeast, no (more) records
// are dropped. They become suspects: each is looked up again guardDelay later, many at a
// time, and dropped if the store denies it again. Until then Gets are answered with a
// suspect as in an outage; if a claim doesn't accept it, the store decides as usual.
// Restored records are not protected, because they are only a fallback for a store that
// can't answer.

const (
	guardWindow = 10 * time.Second
	guardLeast  = 10
	// guardDelay is from a denial to the lookup that decides. A record that was missing
	// for a moment is back by then, and an intended revocation need not wait long.
	guardDelay = 2 * time.Second
	// maxVerifying leaves some of maxRunning lookups to clients.
	maxVerifying = maxRunning - 8
)

// guard is guarded by Cache.mu.
type guard struct {
	drops []time.Duration // the clock.Mono of each drop in the window, oldest first
	// suspects are the keys of the records to verify, each with the clock.Mono from which
	// the lookup may begin. While there are any, no denial is believed at once.
	suspects  map[string]time.Duration
	queue     []string // suspects that no goroutine verifies yet, by the time of their lookup
	verifiers int      // goroutines that verify
	policy    Policy   // for their lookups
}

// massive reports whether dropping n of cached records is not credible.
func massive(n, cached int) bool { return n > guardLeast && 2*n > cached }

// allows reports whether a negative answer for one of the cached records may be
// believed at once.
func (g *guard) allows(now clock.Instant, cached int) bool {
	for len(g.drops) > 0 && now.Mono-g.drops[0] >= guardWindow {
		g.drops = g.drops[1:]
	}
	if len(g.suspects) > 0 || massive(len(g.drops)+1, len(g.drops)+cached) {
		return false
	}
	g.drops = append(g.drops, now.Mono)
	return true
}

// holdBack reports whether call's negative answer must not be believed yet. If so, it
// has the record verified. mu is held.
func (c *Cache[V]) holdBack(call *call[V], now clock.Instant) bool {
	e := c.cached(call.key)
	if call.verify || e == nil || e.state.Load() == stateRestored || !e.usable(now.Since(e.began), &call.policy, call.policy.ResurrectTTL) {
		return false
	}
	g, cached := &c.guard, c.entries.EstimatedSize()
	if g.allows(now, cached) {
		return false
	}
	c.stats.held.Add(1)
	if len(g.suspects) == 0 {
		c.notifyDropsHeld(len(g.drops)+1, len(g.drops)+cached)
	}
	c.doubt(call.key, call.policy, now)
	return true
}

// doubt makes the record of key a suspect. mu is held.
func (c *Cache[V]) doubt(key string, p Policy, now clock.Instant) {
	g := &c.guard
	if c.closed || g.suspects[key] > 0 {
		return
	}
	g.suspects[key] = now.Mono + guardDelay
	g.queue = append(g.queue, key)
	g.policy = p
	if g.verifiers < maxVerifying {
		g.verifiers++
		c.wg.Go(c.verify)
	}
}

// verify decides on suspects, one after the other, until none is left.
func (c *Cache[V]) verify() {
	for {
		key, due, ok := c.nextSuspect()
		if !ok || !c.decide(key, due) {
			return
		}
	}
}

// nextSuspect takes the next suspect out of the queue. If there is none, the caller must
// end.
func (c *Cache[V]) nextSuspect() (key string, due time.Duration, ok bool) {
	c.mu.Lock()
	defer c.unlock()
	g := &c.guard
	for len(g.queue) > 0 {
		key, g.queue = g.queue[0], g.queue[1:]
		if due = g.suspects[key]; due > 0 {
			return key, due, true
		}
	}
	g.verifiers--
	return "", 0, false
}

// decide looks a suspect up when that is due, and then every second until the store has
// decided. It reports whether the cache is still open then.
func (c *Cache[V]) decide(key string, due time.Duration) bool {
	for wait := due - c.clock().Mono; clock.Sleep(c.ctx, wait); wait = time.Second {
		if call := c.lookAgain(key); call != nil {
			<-call.done
		}
		if !c.isSuspect(key) {
			return true
		}
	}
	return false
}

// lookAgain returns the call that decides on a suspect, or nil if it isn't needed or not
// possible now.
func (c *Cache[V]) lookAgain(key string) *call[V] {
	c.mu.Lock()
	defer c.unlock()
	e := c.cached(key)
	if e == nil { // evicted
		c.resolve(key)
	}
	if due := c.guard.suspects[key]; due == 0 || c.clock().Mono < due {
		return nil
	}
	call, err := c.callInBackground(key, e.name, c.guard.policy)
	if err != nil || call.key != key {
		return nil
	}
	call.verify = true
	return call
}

// resolve ends the doubt about key, if there is any: its record was replaced or
// dropped. mu is held.
func (c *Cache[V]) resolve(key string) {
	g := &c.guard
	if g.suspects[key] == 0 {
		return
	}
	delete(g.suspects, key)
	if len(g.suspects) == 0 {
		c.notify(c.observer.DropsResolved)
	}
}

// isSuspect is for callers that don't hold mu.
func (c *Cache[V]) isSuspect(key string) bool {
	c.mu.Lock()
	defer c.unlock()
	return c.guard.suspects[key] > 0
}
