package cache

import (
	"iter"
	"time"

	"kong-vault-auth/clock"
)

// Item is a cached record in a form that can be stored outside the process.
type Item[V any] struct {
	Key, Name string
	Found[V]
	ReadAt time.Time // when the lookup that read it began
}

// All yields what is cached, in no order, for a snapshot.
func (c *Cache[V]) All() iter.Seq[Item[V]] {
	return func(yield func(Item[V]) bool) {
		for key, e := range c.entries.All() {
			item := Item[V]{
				Key:    key,
				Name:   e.name,
				Found:  Found[V]{Value: e.value, TTL: e.ttl},
				ReadAt: time.Unix(0, e.began.Wall),
			}
			if e.life != forever {
				item.Expires = item.ReadAt.Add(e.life)
			}
			if !yield(item) {
				return
			}
		}
	}
}

// Restore puts a record of an earlier process into the cache, as a fallback while the
// store can't answer: it is never fresh, and usable up to ttl + resurrect_ttl from
// ReadAt. It reports whether the record was put there. It is not if it was read in the
// future, if it is too old under p, or if the cache has one already. A negative answer
// ends it at once, however many there are.
func (c *Cache[V]) Restore(item Item[V], p Policy) bool {
	c.mu.Lock()
	defer c.unlock()
	now := c.clock()
	age := time.Duration(now.Wall - item.ReadAt.UnixNano())
	began := clock.Instant{Mono: now.Mono - age, Wall: item.ReadAt.UnixNano()}
	e := newEntry(item.Name, item.Found, began, c.jitter())
	e.state.Store(stateRestored)
	if age < 0 || !e.usable(age, &p, p.ResurrectTTL) || c.cached(item.Key) != nil {
		return false
	}
	raise(&c.entriesFor, p.longest())
	c.entries.Set(item.Key, e)
	if c.outage.lastAnswer.Before(item.ReadAt) {
		c.outage.lastAnswer = item.ReadAt
	}
	return true
}
