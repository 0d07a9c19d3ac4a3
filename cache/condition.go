package cache

import "time"

// Condition is what operators want to know of the store behind a cache, besides Stats.
type Condition struct {
	LookupsPerSecond int       // the budget, as the latest lookup had it; 0: there was none
	Permits          int       // of the budget, how many can be used at once
	LastFailure      error     // of the latest lookup that failed; nil: none did
	LastFailureAt    time.Time // when that was
}

// Condition returns what is so now.
func (c *Cache[V]) Condition() Condition {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := &c.queue
	q.permits.refill(c.clock(), q.rate, q.rate)
	return Condition{
		LookupsPerSecond: int(q.rate),
		Permits:          max(0, int(q.permits.count)),
		LastFailure:      c.outage.lastFailure,
		LastFailureAt:    c.outage.lastFailureAt,
	}
}
