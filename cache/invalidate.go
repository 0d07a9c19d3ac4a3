package cache

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
