package vault

import (
	"slices"
	"sync/atomic"
	"time"
)

// ReadBounds are the upper bounds of the buckets of ReadTimes. Reads end at the
// lookup deadline, 2 s.
var ReadBounds = [...]time.Duration{
	5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond,
}

// ReadTimes says how long the store took to answer lookups, whatever it said,
// with the wait for a login in it.
type ReadTimes struct {
	Buckets [len(ReadBounds) + 1]uint64 // reads by the first of ReadBounds that they kept to; the last kept to none
	Sum     time.Duration
}

// readTimes counts reads by how long they took. The zero value is ready, and
// safe for concurrent use.
type readTimes struct {
	buckets [len(ReadBounds) + 1]atomic.Uint64
	sum     atomic.Int64
}

// since counts a read that began then and ends now.
func (t *readTimes) since(began time.Time) {
	took := time.Since(began)
	i, _ := slices.BinarySearch(ReadBounds[:], took)
	t.buckets[i].Add(1)
	t.sum.Add(int64(took))
}

func (t *readTimes) stats() ReadTimes {
	s := ReadTimes{Sum: time.Duration(t.sum.Load())}
	for i := range t.buckets {
		s.Buckets[i] = t.buckets[i].Load()
	}
	return s
}
