package cache

import (
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"kong-vault-auth/clock"
)

// failurePause is for how long a failure that concerns one key is remembered.
const failurePause = time.Second

// absences remembers why there is no record of a key: the store's negative answer,
// and for failurePause a failure that concerns the key alone. It is a space of its
// own, so that guesses can't push out records.
type absences struct{ *memory[string, absence] }

type absence struct {
	err    error // what the store said
	failed bool  // it is a failure
	began  clock.Instant
}

// recall returns the store's negative answer of less than negTTL ago, or its failure of
// less than failurePause ago, or nil.
func (a absences) recall(key string, now clock.Instant, negTTL time.Duration) error {
	no, ok := a.GetIfPresent(key)
	if no.failed {
		negTTL = failurePause
	}
	if ok && now.Since(no.began) < negTTL {
		return no.err
	}
	return nil
}

func (a absences) remember(key string, err error, began clock.Instant, negTTL time.Duration) {
	if negTTL > 0 {
		a.put(key, absence{err: err, began: began}, negTTL)
	}
}

func (a absences) rememberFailure(key string, err error, now clock.Instant) {
	a.put(key, absence{err: err, failed: true, began: now}, failurePause)
}

// memory is a map of bounded size. It keeps all values for the longest time that put was
// called with.
type memory[K comparable, V any] struct {
	*otter.Cache[K, V]
	kept atomic.Int64
}

func newMemory[K comparable, V any](most int, clock otter.Clock) *memory[K, V] {
	m := &memory[K, V]{}
	m.Cache = otter.Must(&otter.Options[K, V]{
		MaximumSize: most,
		Clock:       clock,
		ExpiryCalculator: otter.ExpiryWritingFunc(func(otter.Entry[K, V]) time.Duration {
			return time.Duration(m.kept.Load()) + 2*housekeeping
		}),
	})
	return m
}

func (m *memory[K, V]) put(key K, value V, kept time.Duration) {
	raise(&m.kept, kept)
	m.Set(key, value)
}
