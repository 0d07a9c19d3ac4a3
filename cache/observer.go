package cache

import "time"

// Observer is told what operators should know. Any of its functions may be nil.
// They are called without a lock, on the goroutine that found out, so they must
// not block; two of them may run at a time.
type Observer struct {
	// OutageBegan tells of the first failure since the store last answered,
	// which was at lastSuccess (zero: never). Every record that is fresh now is
	// good until heldUntil at least.
	OutageBegan func(err error, lastSuccess, heldUntil time.Time)
	// OutageEnded tells that the store answers again.
	OutageEnded func(lasted time.Duration)
	// KeyFailed tells of a cached record that could not be read again, for a
	// failure that concerns its key alone.
	KeyFailed func(err error)
	// DropsHeld tells that the store, by a listing or by its answers, denies
	// would of the cached records, and that this is not believed. Each is being
	// verified.
	DropsHeld func(would, cached int)
	// DropsResolved tells that this is done: what the store denied again is
	// gone, the rest is as it was.
	DropsResolved func()
	// Panicked tells of a lookup that panicked.
	Panicked func(*PanicError)
}

// tell has Observer told once mu is released. mu is held.
func (c *Cache[V]) tell(event func()) {
	if event != nil {
		c.events = append(c.events, event)
	}
}

func (c *Cache[V]) tellDropsHeld(would, cached int) {
	if tell := c.observer.DropsHeld; tell != nil {
		c.tell(func() { tell(would, cached) })
	}
}
