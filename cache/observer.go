package cache

import "time"

// Observer is notified of what operators should know. Any of its functions may be
// nil. They are called without a lock, on a goroutine that has other work to do, so
// they must not block; two of them may run at a time.
type Observer struct {
	// OutageBegan is called at the first failure since the store last answered, which
	// was at lastSuccess (zero: never). Every record that is fresh now is usable until
	// heldUntil at least.
	OutageBegan func(err error, lastSuccess, heldUntil time.Time)
	// OutageEnded is called when the store answers again.
	OutageEnded func(lasted time.Duration)
	// KeyFailed is called when a cached record could not be read again, because of a
	// failure that concerns its key alone.
	KeyFailed func(err error)
	// DropsHeld is called when the store, by a listing or by its answers, denies would
	// of the cached records, and this is not believed. Each is being verified.
	DropsHeld func(would, cached int)
	// DropsResolved is called when all are verified: what the store denied again is
	// dropped, the rest is as it was.
	DropsResolved func()
	// Panicked is called when a lookup has panicked.
	Panicked func(*PanicError)
}

// notify calls event, one of Observer's functions, when mu is released. mu is held.
func (c *Cache[V]) notify(event func()) {
	if event != nil {
		c.events = append(c.events, event)
	}
}

func (c *Cache[V]) notifyDropsHeld(would, cached int) {
	if f := c.observer.DropsHeld; f != nil {
		c.notify(func() { f(would, cached) })
	}
}
