package cache

import (
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// failurePause is for how long a failure that concerns one key is remembered.
const failurePause = time.Second

// absences remembers why there is no record of a key: the store's definite no,
// and for failurePause a failure that concerns the key alone. It is a space of its
// own, so that guesses can't push out records.
type absences struct {
	byKey *otter.Cache[string, absence]
	kept  atomic.Int64 // how long: the longest neg_ttl seen
}

type absence struct {
	err    error // what the store said
	failed bool  // not a definite no
	began  instant
}

func newAbsences(most int, clock otter.Clock) *absences {
	a := &absences{}
	a.byKey = otter.Must(&otter.Options[string, absence]{
		MaximumSize: most,
		Clock:       clock,
		ExpiryCalculator: otter.ExpiryWritingFunc(func(otter.Entry[string, absence]) time.Duration {
			return time.Duration(a.kept.Load()) + 2*housekeeping
		}),
	})
	return a
}

// recall is what the store said no with, less than negTTL ago, or what it failed
// with just now, or nil.
func (a *absences) recall(key string, now instant, negTTL time.Duration) error {
	no, ok := a.byKey.GetIfPresent(key)
	if no.failed {
		negTTL = failurePause
	}
	if ok && now.since(no.began) < negTTL {
		return no.err
	}
	return nil
}

func (a *absences) remember(key string, err error, began instant, negTTL time.Duration) {
	if negTTL > 0 {
		raise(&a.kept, negTTL)
		a.byKey.Set(key, absence{err: err, began: began})
	}
}

func (a *absences) rememberFailure(key string, err error, now instant) {
	raise(&a.kept, failurePause)
	a.byKey.Set(key, absence{err: err, failed: true, began: now})
}

func (a *absences) forget(key string) { a.byKey.Invalidate(key) }

func (a *absences) len() int { return a.byKey.EstimatedSize() }

func (a *absences) stop() { a.byKey.StopAllGoroutines() }
