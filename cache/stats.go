package cache

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2/stats"
)

// Stats is what the cache counts. Counters only grow.
type Stats struct {
	// Now.
	Entries    int       // records in memory
	Absent     int       // negative answers in memory
	Refused    int       // refused claims in memory
	InFlight   int       // lookups that run
	Waiting    int       // lookups that wait for a permit
	InDoubt    int       // records that the guard verifies
	Failing    bool      // the store's last outcome was a failure
	LastAnswer time.Time // of the store, found or negative, or the latest that was restored; zero: none yet

	// How Gets were answered.
	Hits        uint64 // from a fresh record
	Loads       uint64 // from a lookup that the Get waited for
	Resurrected uint64 // from a record past its ttl
	Absences    uint64 // by ErrAbsent
	Refusals    uint64 // by ErrRefused
	Limited     uint64 // by LimitError
	Unavailable uint64 // by UnavailableError
	Errors      uint64 // by others: the caller went away, a lookup panicked

	// Lookups that began, by what they were for.
	Refresh, Expired, Reread, NeverSeen uint64
	// How they ended.
	Found, NotFound, Failed, Panicked uint64

	Superseded uint64 // lookups that an invalidation has superseded
	Dropped    uint64 // records that the store has no longer, or that were invalidated
	Changed    uint64 // records that a lookup found changed, see Options.Same
	Evicted    uint64 // records that were evicted because there were too many
	Held       uint64 // negative answers that the guard held back
}

type counters struct {
	hits *stats.Counter // striped: all cores count here

	loads, resurrected, absences, refusals, limited, unavailable, errors atomic.Uint64

	lookups                                     [priorities]atomic.Uint64
	found, notFound, failed, panicked           atomic.Uint64
	superseded, dropped, changed, evicted, held atomic.Uint64
}

// count counts the answer of a question.
func (n *counters) count(s State, err error) {
	var limit *LimitError
	var unavailable *UnavailableError
	switch {
	case err == nil && s == Fresh:
		n.hits.RecordHits(1)
	case err == nil && s == Loaded:
		n.loads.Add(1)
	case err == nil:
		n.resurrected.Add(1)
	case errors.Is(err, ErrAbsent):
		n.absences.Add(1)
	case errors.Is(err, ErrRefused):
		n.refusals.Add(1)
	case errors.As(err, &limit):
		n.limited.Add(1)
	case errors.As(err, &unavailable):
		n.unavailable.Add(1)
	default:
		n.errors.Add(1)
	}
}

// Stats returns a snapshot of all counts, for metrics.
func (c *Cache[V]) Stats() Stats {
	n := &c.stats
	s := Stats{
		Entries: c.entries.EstimatedSize(),
		Absent:  c.absent.EstimatedSize(),
		Refused: c.refused.EstimatedSize(),
		Failing: c.outage.pause.Load() != nil,

		Hits:        n.hits.Snapshot().Hits,
		Loads:       n.loads.Load(),
		Resurrected: n.resurrected.Load(),
		Absences:    n.absences.Load(),
		Refusals:    n.refusals.Load(),
		Limited:     n.limited.Load(),
		Unavailable: n.unavailable.Load(),
		Errors:      n.errors.Load(),

		Refresh:   n.lookups[priorityRefresh].Load(),
		Expired:   n.lookups[priorityExpired].Load(),
		Reread:    n.lookups[priorityReread].Load(),
		NeverSeen: n.lookups[priorityNeverSeen].Load(),

		Found:    n.found.Load(),
		NotFound: n.notFound.Load(),
		Failed:   n.failed.Load(),
		Panicked: n.panicked.Load(),

		Superseded: n.superseded.Load(),
		Dropped:    n.dropped.Load(),
		Changed:    n.changed.Load(),
		Evicted:    n.evicted.Load(),
		Held:       n.held.Load(),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.InFlight = c.queue.running
	s.Waiting = c.queue.len()
	s.InDoubt = len(c.guard.suspects)
	s.LastAnswer = c.outage.lastAnswer
	return s
}

// Condition is what operators need to know about the store behind a cache, besides Stats.
type Condition struct {
	LookupsPerSecond int       // the budget, as the latest lookup had it; 0: there was none
	Permits          int       // how many of it are left now
	LastFailure      error     // of the latest lookup that failed; nil: none did
	LastFailureAt    time.Time // when that was
}

// Condition returns the present Condition.
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
