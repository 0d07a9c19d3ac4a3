package cache

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/maypok86/otter/v2/stats"

	"kong-vault-auth/clock"
)

// Sizes that Options' zero fields stand for.
const (
	DefaultMaxEntries = 100_000
	DefaultMaxAbsent  = 10_000
)

// housekeeping is the precision of otter's own clock. Otter only frees the memory of
// what is of no use any more; every decision is made on Cache.clock.
const housekeeping = time.Second

// LookupFunc reads one record of the store: the one called name, which is cached by
// key. It returns what it found, an error that matches ErrAbsent for a negative
// answer, or any other error for a failure, which may have the methods
//
//	RetryAfter() time.Duration  // how long the store asked to be left alone
//	Denied() bool               // whether Policy.ResurrectDeniedTTL holds
//	AboutKey() bool             // whether it is an answer to this key, and says nothing about others
//
// It must return when ctx ends. Lookups of different keys run concurrently.
type LookupFunc[V any] func(ctx context.Context, key, name string) (Found[V], error)

// Options are the settings of a cache that don't depend on who asks.
type Options[V any] struct {
	MaxEntries int            // records kept; 0 means DefaultMaxEntries
	MaxAbsent  int            // negative answers kept, and as many refused claims; 0 means DefaultMaxAbsent
	Observer   Observer       // notified of what operators should know
	Jitter     func() float64 // random numbers in [0,1); safe for concurrent use, and doesn't call the cache; nil means math/rand
	// Same reports whether two records of a key are the same. It is called with a
	// lock held. nil means that changes aren't counted.
	Same func(a, b V) bool
}

// Cache answers from memory and from a store. All methods are safe for
// concurrent use. Make one with New.
type Cache[V any] struct {
	lookup   LookupFunc[V]
	observer Observer
	jitter   func() float64
	same     func(a, b V) bool
	clock    func() clock.Instant
	stats    counters

	// What is remembered. Otter bounds it and is safe without mu, but the outcome of
	// a lookup is written under mu, so that no older answer is stored after an
	// invalidation.
	entries    *otter.Cache[string, *entry[V]]
	absent     absences
	refused    refusals
	coarse     *otter.CoarseClock
	entriesFor atomic.Int64 // how long an entry is kept: the longest of all policies seen

	// What is going on. mu guards these fields and all that is reached from them,
	// except where a comment says otherwise.
	mu         sync.Mutex
	calls      map[string]*call[V] // the lookup of each key that waits or runs
	queue      queue               // of calls that wait
	nextPermit *time.Timer         // fires when the next of them may begin
	outage     outage
	guard      guard
	events     []func() // calls of Observer, to be made at the next unlock
	closed     bool

	ctx    context.Context // of all lookups
	cancel context.CancelFunc
	wg     sync.WaitGroup // lookups, and the guard's goroutines
}

// New makes a cache in front of lookup. Close it to end its goroutines.
func New[V any](lookup LookupFunc[V], o Options[V]) *Cache[V] {
	c := &Cache[V]{
		lookup:   lookup,
		observer: o.Observer,
		jitter:   o.Jitter,
		same:     o.Same,
		clock:    clock.System(),
		coarse:   otter.NewCoarseClock(housekeeping),
		calls:    map[string]*call[V]{},
		guard:    guard{suspects: map[string]time.Duration{}},
	}
	if c.jitter == nil {
		c.jitter = rand.Float64
	}
	if o.MaxEntries <= 0 {
		o.MaxEntries = DefaultMaxEntries
	}
	if o.MaxAbsent <= 0 {
		o.MaxAbsent = DefaultMaxAbsent
	}
	c.stats.hits = stats.NewCounter()
	c.entries = otter.Must(&otter.Options[string, *entry[V]]{
		MaximumSize: o.MaxEntries,
		Clock:       c.coarse,
		ExpiryCalculator: otter.ExpiryWritingFunc(func(otter.Entry[string, *entry[V]]) time.Duration {
			return time.Duration(c.entriesFor.Load()) + 2*housekeeping
		}),
		OnAtomicDeletion: func(d otter.DeletionEvent[string, *entry[V]]) {
			if d.Cause == otter.CauseOverflow {
				c.stats.evicted.Add(1)
			}
		},
	})
	c.absent = absences{newMemory[string, absence](o.MaxAbsent, c.coarse)}
	c.refused = refusals{newMemory[refusal, clock.Instant](o.MaxAbsent, c.coarse)}
	c.nextPermit = time.AfterFunc(forever, func() {
		c.mu.Lock()
		defer c.unlock()
		c.dispatch(c.clock())
	})
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Close cancels the lookups that run, and waits for their end and that of all
// background work. Gets that wait for a lookup get an UnavailableError of ErrClosed.
// Get still answers from memory.
func (c *Cache[V]) Close() {
	c.mu.Lock()
	c.closed = true
	c.cancel()
	c.failWaiting(errClosed)
	c.nextPermit.Stop()
	c.unlock()

	c.wg.Wait()
	c.entries.StopAllGoroutines()
	c.absent.StopAllGoroutines()
	c.refused.StopAllGoroutines()
	c.coarse.Stop()
}

// cached is the entry of key, in any state.
func (c *Cache[V]) cached(key string) *entry[V] {
	e, _ := c.entries.GetIfPresent(key)
	return e
}

// drop forgets key. mu is held.
func (c *Cache[V]) drop(key string) {
	if _, cached := c.entries.Invalidate(key); cached {
		c.stats.dropped.Add(1)
	}
	c.absent.Invalidate(key)
	c.resolve(key)
}

// unlock releases mu and then notifies Observer of what happened under it.
func (c *Cache[V]) unlock() {
	events := c.events
	c.events = nil
	c.mu.Unlock()
	for _, event := range events {
		event()
	}
}

// raise makes n at least d.
func raise(n *atomic.Int64, d time.Duration) {
	for old := n.Load(); int64(d) > old; old = n.Load() {
		if n.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}
