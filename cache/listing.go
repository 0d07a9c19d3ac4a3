package cache

import (
	"maps"
	"time"
)

// Retain drops the records that a listing of the store does not have: those
// that were read before the listing began, and for whose key listed is false.
// It outruns lookups of such keys. It reports how many records it dropped. If
// they are too many to be credible, it drops none and has each of them verified,
// which Observer.DropsHeld is told.
//
// listed is called without a lock. A listing must be complete: nothing is known
// from half of one.
func (c *Cache[V]) Retain(p Policy, began time.Time, listed func(key string) bool) (dropped int) {
	missing, cached := map[string]*entry[V]{}, 0
	for key, e := range c.entries.All() {
		cached++
		if e.began.wall < began.UnixNano() && !listed(key) {
			missing[key] = e
		}
	}
	calls := c.overtaken(began, listed)

	c.mu.Lock()
	defer c.unlock()
	// A lookup may have ended since.
	maps.DeleteFunc(missing, func(key string, e *entry[V]) bool { return c.cached(key) != e })
	if massive(len(missing), cached) {
		c.tellDropsHeld(len(missing), cached)
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

// overtaken are the lookups that began before a listing did, and whose key it
// does not have.
func (c *Cache[V]) overtaken(listing time.Time, listed func(key string) bool) []*call[V] {
	c.mu.Lock()
	var fs []*call[V]
	for _, call := range c.calls {
		if call.running && call.began.wall < listing.UnixNano() {
			fs = append(fs, call)
		}
	}
	c.mu.Unlock()
	var out []*call[V]
	for _, call := range fs {
		if !listed(call.key) {
			out = append(out, call)
		}
	}
	return out
}
