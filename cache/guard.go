package cache

import "time"

// A store that suddenly has nothing is more likely broken than empty: a mount
// was replaced, a replica is not there yet, a listing went wrong. So one
// definite no is believed, but not many at once: if a listing, or the lookups
// of guardWindow, would drop more than half of the records and more than
// guardLeast, no (more) records are dropped. Those in question are looked up
// one after the other, and what the store denies then is gone. A record that a
// lookup has denied is looked up again only after another guardWindow, and is
// answered with until then, as in an outage.
//
// Records of a snapshot are none of that: they stand in for a store that can't
// answer, and not for one that has said no.
//
// What was refused before the guard saw a pattern stays refused; its key is
// looked up again after neg_ttl, as ever.

const (
	guardWindow = 10 * time.Second
	guardLeast  = 10
)

// guard is guarded by Cache.mu.
type guard struct {
	drops     []time.Duration // the clock.mono of each drop in the window, oldest first
	doubts    []doubt         // to be resolved, in this order
	held      int             // doubts about definite nos; while there are any, all others are held too
	resolving bool
}

// doubt is a record that is not dropped before one more lookup.
type doubt struct {
	key  string
	held bool          // a lookup denied it; else a listing did not have it
	due  time.Duration // the clock.mono from which that lookup counts
}

// massive reports whether dropping n of cached records is more than is credible.
func massive(n, cached int) bool { return n > guardLeast && 2*n > cached }

// allows reports whether a definite no about one of the cached records may be
// believed at once.
func (g *guard) allows(now instant, cached int) bool {
	for len(g.drops) > 0 && now.mono-g.drops[0] >= guardWindow {
		g.drops = g.drops[1:]
	}
	if g.held > 0 || massive(len(g.drops)+1, len(g.drops)+cached) {
		return false
	}
	g.drops = append(g.drops, now.mono)
	return true
}

// holdBack reports whether f's definite no must not be believed yet, and if so,
// sees to it that it is verified. mu is held.
func (c *Cache[V]) holdBack(f *flight[V], now instant) bool {
	e := c.cached(f.key)
	if f.verify || e == nil || e.restored || !e.usable(now.since(e.began), &f.policy, f.policy.ResurrectTTL) {
		return false
	}
	g, cached := &c.guard, c.entries.EstimatedSize()
	if g.allows(now, cached) {
		return false
	}
	c.stats.held.Add(1)
	if g.held == 0 {
		c.tellDropsHeld(len(g.drops)+1, len(g.drops)+cached)
	}
	if e.suspect.CompareAndSwap(false, true) {
		g.held++
		c.doubt(doubt{key: f.key, held: true, due: now.mono + guardWindow}, f.policy)
	}
	return true
}

// doubt has a record looked up once more. mu is held.
func (c *Cache[V]) doubt(d doubt, p Policy) {
	g := &c.guard
	g.doubts = append(g.doubts, d)
	if !g.resolving && !c.closed {
		g.resolving = true
		c.wg.Go(func() { c.resolve(p) })
	}
}

// resolve looks up the records in doubt one after the other, until none is left.
func (c *Cache[V]) resolve(p Policy) {
	for {
		f, wait, more := c.nextDoubt(p)
		switch {
		case !more:
			return
		case f != nil:
			<-f.done
			if f.outcome == outcomeFailed || f.outcome == outcomeLimited {
				wait = time.Second
			}
		}
		if !c.sleep(wait) {
			return
		}
	}
}

// nextDoubt starts the lookup of the next record that is in doubt still, or
// says how long to wait for that.
func (c *Cache[V]) nextDoubt(p Policy) (f *flight[V], wait time.Duration, more bool) {
	c.mu.Lock()
	defer c.unlock()
	g := &c.guard
	for len(g.doubts) > 0 {
		d := g.doubts[0]
		if e := c.cached(d.key); e != nil && e.inDoubt(d.held) {
			if wait := d.due - c.clock().mono; wait > 0 {
				return nil, wait, true
			}
			f, err := c.launchInBackground(d.key, e.name, p)
			if err != nil {
				return nil, time.Second, true
			}
			f.verify = d.held
			return f, 0, true
		}
		g.doubts = g.doubts[1:]
		if d.held {
			g.held--
		}
	}
	g.resolving, g.doubts = false, nil
	c.tell(c.observer.DropsResolved)
	return nil, 0, false
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
