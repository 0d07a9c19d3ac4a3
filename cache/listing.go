package cache

import (
	"maps"
	"slices"
	"time"
)

// Retain drops the records that a listing of the store does not have: those that were
// read before the listing began, and for whose key listed is false. It supersedes
// lookups of such keys. It reports how many records it dropped. If they are too many
// to be credible, it drops none, has each of them verified, and notifies
// Observer.DropsHeld.
//
// listed is called without a lock. The listing must be complete.
func (c *Cache[V]) Retain(p Policy, began time.Time, listed func(key string) bool) (dropped int) {
	missing, cached := map[string]*entry[V]{}, 0
	for key, e := range c.entries.All() {
		cached++
		if e.began.Wall < began.UnixNano() && !listed(key) {
			missing[key] = e
		}
	}
	calls := c.unlisted(began, listed)

	c.mu.Lock()
	defer c.unlock()
	// Lookups may have replaced some since.
	maps.DeleteFunc(missing, func(key string, e *entry[V]) bool { return c.cached(key) != e })
	if massive(len(missing), cached) {
		c.notifyDropsHeld(len(missing), cached)
		for key := range missing {
			c.doubt(key, p.withDefaults(), c.clock())
		}
		return 0
	}
	for key := range missing {
		c.supersede(key)
		c.drop(key)
	}
	for _, call := range calls {
		if c.calls[call.key] == call {
			c.supersede(call.key)
		}
	}
	return len(missing)
}

// unlisted are the running calls that began before a listing, and whose key it does
// not have.
func (c *Cache[V]) unlisted(listing time.Time, listed func(key string) bool) []*call[V] {
	c.mu.Lock()
	var running []*call[V]
	for _, call := range c.calls {
		if call.running && call.began.Wall < listing.UnixNano() {
			running = append(running, call)
		}
	}
	c.mu.Unlock()
	return slices.DeleteFunc(running, func(call *call[V]) bool { return listed(call.key) })
}
