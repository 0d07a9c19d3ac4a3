package cache

import (
	"maps"
	"slices"
	"time"
)

// Besides lookups, these tell the cache that the store has changed.

// Invalidate forgets the record of key, or the negative answer, and supersedes
// lookups of it: the next Get asks the store. It reports whether there was a record.
func (c *Cache[V]) Invalidate(key string) (dropped bool) {
	c.mu.Lock()
	defer c.unlock()
	dropped = c.cached(key) != nil
	c.supersede(key)
	c.drop(key)
	return dropped
}

// Refresh reads the cached record of key again, in the background, because
// something newer is known to be in the store. It supersedes lookups that began
// before. Until the store has answered, the record is treated as one past its
// ttl. Keys that aren't cached are only invalidated.
func (c *Cache[V]) Refresh(key string, p Policy) {
	c.mu.Lock()
	defer c.unlock()
	c.supersede(key)
	c.absent.Invalidate(key)
	if e, ok := c.entries.GetIfPresent(key); ok {
		e.state.CompareAndSwap(stateCurrent, stateOutdated)
		c.callInBackground(key, e.name, p.withDefaults())
	}
}

// InvalidateMatching is Invalidate for all keys that match, by key and record in memory,
// or by the key and name of a lookup under way or the key of a negative answer, whose
// name is not known. It reports how many records it dropped. The functions are called
// with and without a lock held and must not call the cache.
func (c *Cache[V]) InvalidateMatching(record func(key string, value V) bool, name func(key, name string) bool) (dropped int) {
	// First the lookups: what they would store must not arrive after the scan.
	c.mu.Lock()
	for _, call := range c.calls {
		if call.running && name(call.key, call.name) {
			c.supersede(call.key)
		}
	}
	c.unlock()

	var keys []string
	for key, e := range c.entries.All() {
		if record(key, e.value) {
			keys = append(keys, key)
		}
	}
	found := len(keys)
	for key := range c.absent.All() {
		if name(key, key) {
			keys = append(keys, key)
		}
	}
	c.mu.Lock()
	defer c.unlock()
	for i, key := range keys {
		if i < found && c.cached(key) != nil {
			dropped++
		}
		c.supersede(key)
		c.drop(key)
	}
	return dropped
}

// Verify has every record in memory treated as one past its ttl until a lookup has
// read it again, and supersedes the lookups under way, because changes in the store
// may have been missed. Nothing is looked up before a Get asks for it, so a large
// cache costs the store no more than requests do. Negative answers are forgotten.
func (c *Cache[V]) Verify() {
	c.mu.Lock()
	defer c.unlock()
	for key := range c.calls {
		c.supersede(key)
	}
	for _, e := range c.entries.All() {
		e.state.CompareAndSwap(stateCurrent, stateOutdated)
	}
	c.absent.InvalidateAll()
}

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
