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
	drops     []time.Duration // the clock.mono of each drop in the window, oldest first
	queue     []doubt         // to be verified, in this order
	doubts    int             // in the queue and being verified; while there are any, all denials are doubted
	verifiers int             // goroutines that verify
	policy    Policy          // for their lookups
}

// doubt is a record that is not dropped before one more lookup.
type doubt struct {
	key string
	due time.Duration // the clock.mono from which that lookup may begin
}

// massive reports whether dropping n of cached records is more than is credible.
func massive(n, cached int) bool { return n > guardLeast && 2*n > cached }

// allows reports whether a definite no about one of the cached records may be
// believed at once.
func (g *guard) allows(now instant, cached int) bool {
	for len(g.drops) > 0 && now.mono-g.drops[0] >= guardWindow {
		g.drops = g.drops[1:]
	}
	if g.doubts > 0 || massive(len(g.drops)+1, len(g.drops)+cached) {
		return false
	}
	g.drops = append(g.drops, now.mono)
	return true
}

// holdBack reports whether call's definite no must not be believed yet, and if so,
// sees to it that it is verified. mu is held.
func (c *Cache[V]) holdBack(call *call[V], now instant) bool {
	e := c.cached(call.key)
	if call.verify || e == nil || e.restored || !e.usable(now.since(e.began), &call.policy, call.policy.ResurrectTTL) {
		return false
	}
	g, cached := &c.guard, c.entries.EstimatedSize()
	if g.allows(now, cached) {
		return false
	}
	c.stats.held.Add(1)
	if g.doubts == 0 {
		c.tellDropsHeld(len(g.drops)+1, len(g.drops)+cached)
	}
	c.doubt(call.key, e, call.policy, now)
	return true
}

// doubt has a record looked up once more, unless it will be already. mu is held.
func (c *Cache[V]) doubt(key string, e *entry[V], p Policy, now instant) {
	if c.closed || !e.suspect.CompareAndSwap(false, true) {
		return
	}
	g := &c.guard
	g.queue = append(g.queue, doubt{key, now.mono + guardDelay})
	g.doubts++
	g.policy = p
	if g.verifiers < maxVerifying {
		g.verifiers++
		c.wg.Go(c.verify)
	}
}

// verify looks up suspects, one after the other, until none is left.
func (c *Cache[V]) verify() {
	for {
		d, ok := c.nextDoubt()
		if !ok || !c.decide(d) {
			return
		}
	}
}

// nextDoubt takes the next doubt out of the queue. Without one, the caller ends.
func (c *Cache[V]) nextDoubt() (d doubt, ok bool) {
	c.mu.Lock()
	defer c.unlock()
	g := &c.guard
	if len(g.queue) == 0 {
		g.verifiers--
		return d, false
	}
	d, g.queue = g.queue[0], g.queue[1:]
	return d, true
}

// decide has a suspect looked up once that is due, and each second from then on
// until the store has decided. It reports whether the cache is still open then.
func (c *Cache[V]) decide(d doubt) bool {
	for wait := d.due - c.clock().mono; c.sleep(wait); wait = time.Second {
		if call := c.lookAgain(d.key); call != nil {
			<-call.done
		}
		if c.decided(d.key) {
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
	if e == nil || !e.suspect.Load() {
		return nil
	}
	call, err := c.callInBackground(key, e.name, c.guard.policy)
	if err != nil || call.key != key {
		return nil
	}
	call.verify = true
	return call
}

// decided reports whether key is no longer in doubt, and counts that.
func (c *Cache[V]) decided(key string) bool {
	c.mu.Lock()
	defer c.unlock()
	if e := c.cached(key); e != nil && e.suspect.Load() {
		return false
	}
	c.guard.doubts--
	if c.guard.doubts == 0 {
		c.tell(c.observer.DropsResolved)
	}
	return true
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
