package cache

import "time"

// A store that suddenly has nothing is more likely broken than empty: a mount
// was replaced, a replica is not there yet, a listing went wrong. So one
// definite no is believed, but not many at once: if a listing, or the lookups
// of guardWindow, would drop more than half of the records and more than
// guardLeast, no (more) records are dropped. Those in question are suspect: each
// is looked up again guardDelay later, many at a time, and what the store denies
// then is gone. Until then a suspect is answered with as in an outage; a claim
// that it doesn't accept is decided by the store, as ever.
//
// Records of a snapshot are none of that: they stand in for a store that can't
// answer, and not for one that has said no.
//
// What was refused before the guard saw a pattern stays refused; its key is
// looked up again after neg_ttl, as ever.

const (
	guardWindow = 10 * time.Second
	guardLeast  = 10
	// guardDelay is from a denial to the lookup that decides. What was missing for
	// a moment is back by then, and a revocation that is meant need not wait long.
	guardDelay = 2 * time.Second
	// maxVerifying leaves some of the lookups that may run to clients.
	maxVerifying = maxRunning - 8
)

// guard is guarded by Cache.mu.
type guard struct {
	drops []time.Duration // the clock.mono of each drop in the window, oldest first
	// suspects are the keys of records that are dropped only if one more lookup denies
	// them, and the clock.mono from which it may begin. While there are any, all
	// denials are doubted.
	suspects  map[string]time.Duration
	queue     []string // suspects that no goroutine has taken on yet, in the order of their time
	verifiers int      // goroutines that verify
	policy    Policy   // for their lookups
}

func (g *guard) isSuspect(key string) bool {
	_, ok := g.suspects[key]
	return ok
}

// massive reports whether dropping n of cached records is more than is credible.
func massive(n, cached int) bool { return n > guardLeast && 2*n > cached }

// allows reports whether a definite no about one of the cached records may be
// believed at once.
func (g *guard) allows(now instant, cached int) bool {
	for len(g.drops) > 0 && now.mono-g.drops[0] >= guardWindow {
		g.drops = g.drops[1:]
	}
	if len(g.suspects) > 0 || massive(len(g.drops)+1, len(g.drops)+cached) {
		return false
	}
	g.drops = append(g.drops, now.mono)
	return true
}

// holdBack reports whether call's definite no must not be believed yet, and if so,
// sees to it that it is verified. mu is held.
func (c *Cache[V]) holdBack(call *call[V], now instant) bool {
	e := c.cached(call.key)
	if call.verify || e == nil || e.state.Load() == stateRestored || !e.usable(now.since(e.began), &call.policy, call.policy.ResurrectTTL) {
		return false
	}
	g, cached := &c.guard, c.entries.EstimatedSize()
	if g.allows(now, cached) {
		return false
	}
	c.stats.held.Add(1)
	if len(g.suspects) == 0 {
		c.tellDropsHeld(len(g.drops)+1, len(g.drops)+cached)
	}
	c.doubt(call.key, call.policy, now)
	return true
}

// doubt has a record looked up once more, unless it will be already. mu is held.
func (c *Cache[V]) doubt(key string, p Policy, now instant) {
	g := &c.guard
	if c.closed || g.isSuspect(key) {
		return
	}
	if g.suspects == nil {
		g.suspects = map[string]time.Duration{}
	}
	g.suspects[key] = now.mono + guardDelay
	g.queue = append(g.queue, key)
	g.policy = p
	if g.verifiers < maxVerifying {
		g.verifiers++
		c.wg.Go(c.verify)
	}
}

// verify looks up suspects, one after the other, until none is left.
func (c *Cache[V]) verify() {
	for {
		key, due, ok := c.nextSuspect()
		if !ok || !c.decide(key, due) {
			return
		}
	}
}

// nextSuspect takes on the next suspect. Without one, the caller ends.
func (c *Cache[V]) nextSuspect() (key string, due time.Duration, ok bool) {
	c.mu.Lock()
	defer c.unlock()
	g := &c.guard
	for len(g.queue) > 0 {
		key, g.queue = g.queue[0], g.queue[1:]
		if due, ok := g.suspects[key]; ok {
			return key, due, true
		}
	}
	g.verifiers--
	return "", 0, false
}

// decide has a suspect looked up once that is due, and each second from then on
// until the store has decided. It reports whether the cache is still open then.
func (c *Cache[V]) decide(key string, due time.Duration) bool {
	for wait := due - c.clock().mono; c.sleep(wait); wait = time.Second {
		if call := c.lookAgain(key); call != nil {
			<-call.done
		}
		if c.decided(key) {
			return true
		}
	}
	return false
}

// lookAgain starts the lookup that decides on a suspect, or joins one. It returns
// no call if none is needed, or can be had now.
func (c *Cache[V]) lookAgain(key string) *call[V] {
	c.mu.Lock()
	defer c.unlock()
	e := c.cached(key)
	due, suspect := c.guard.suspects[key]
	if e == nil || !suspect || c.clock().mono < due {
		return nil
	}
	call, err := c.callInBackground(key, e.name, c.guard.policy)
	if err != nil || call.key != key {
		return nil
	}
	call.verify = true
	return call
}

// decided reports whether key is no longer in doubt.
func (c *Cache[V]) decided(key string) bool {
	c.mu.Lock()
	defer c.unlock()
	if c.cached(key) == nil { // evicted
		c.resolve(key)
	}
	return !c.guard.isSuspect(key)
}

// resolve ends the doubt about key, if there is any: its record is another now, or
// gone. mu is held.
func (c *Cache[V]) resolve(key string) {
	g := &c.guard
	if !g.isSuspect(key) {
		return
	}
	delete(g.suspects, key)
	if len(g.suspects) == 0 {
		c.tell(c.observer.DropsResolved)
	}
}

func (c *Cache[V]) isSuspect(key string) bool {
	c.mu.Lock()
	defer c.unlock()
	return c.guard.isSuspect(key)
}

// sleep waits for d, and reports whether the cache is still open then.
func (c *Cache[V]) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.ctx.Done():
		return false
	}
}
