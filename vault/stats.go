package vault

import (
	"cmp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"kong-vault-auth/cache"
)

// Stats describes the open stores of one name, for metrics.
//
// A store that several objects share is reported under the name that it was opened
// with. Several stores may have the same name: inline objects at the same place with
// different tokens and, for a while, the store that such an object had before its token
// was changed. Their counts are added up, and the worst of their states is reported.
type Stats struct {
	Object string      // the vault object's name, as log lines have it
	Cache  cache.Stats // Failing: any of the stores in use; LastAnswer: the oldest of theirs

	MaxCredentials int       // the limit of Cache.Entries
	HeldUntil      time.Time // until when credentials that were fresh at the beginning of the outage are honoured; the earliest, zero: no outage
	Snapshot       time.Time // when the last one was written; the oldest, zero: none
	Reads          ReadTimes
	Revocation     RevocationStats
}

// Stats returns the stats of every name with an open store, sorted by name. The counters
// of a name never decrease while it has an open store.
func (r *Registry) Stats() []Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	byName := map[string]*Stats{}
	for _, l := range r.lives {
		if s := byName[l.name]; s != nil {
			s.add(r.statsOf(l))
		} else {
			byName[l.name] = r.statsOf(l)
		}
	}
	all := make([]Stats, 0, len(byName))
	for name, s := range byName {
		if closed := r.counted[name]; closed != nil {
			s.add(closed)
		}
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b Stats) int { return strings.Compare(a.Object, b.Object) })
	return all
}

// statsOf returns the stats of one store. r.mu is held.
func (r *Registry) statsOf(l *live) *Stats {
	s := &Stats{
		Object:         l.name,
		Cache:          l.cache.Stats(),
		MaxCredentials: cmp.Or(r.options.MaxCredentials, cache.DefaultMaxEntries),
		Reads:          l.reads.stats(),
		HeldUntil:      l.cache.HeldUntil(),
		Revocation:     l.revocation.stats(),
	}
	if written := l.snapshots.written.Load(); written != nil {
		s.Snapshot = *written
	}
	if len(l.owners) == 0 { // it gets no more lookups, so its recovery would not be noticed
		s.Cache.Failing, s.Cache.LastAnswer, s.HeldUntil = false, time.Time{}, time.Time{}
	}
	return s
}

// keepCounts keeps the counters of a store that was removed from r.lives in the sum, as
// long as there is another store of its name. r.mu is held.
func (r *Registry) keepCounts(l *live) {
	for _, other := range r.lives {
		if other.name != l.name {
			continue
		}
		s := r.statsOf(l).counters()
		if before := r.counted[l.name]; before != nil {
			s.add(before)
		}
		if r.counted == nil {
			r.counted = map[string]*Stats{}
		}
		r.counted[l.name] = s
		return
	}
	delete(r.counted, l.name)
}

// counters is s without the values that apply only to an open store.
func (s *Stats) counters() *Stats {
	c := *s
	n, v := &c.Cache, &c.Revocation
	n.Entries, n.Absent, n.Refused, n.InFlight, n.Waiting, n.InDoubt, n.Failing, n.LastAnswer = 0, 0, 0, 0, 0, 0, false, time.Time{}
	v.Interval, v.Effective, v.Pages, v.Last = 0, 0, 0, time.Time{}
	c.MaxCredentials, c.HeldUntil, c.Snapshot = 0, time.Time{}, time.Time{}
	return &c
}

// add adds the stats of another store to s.
func (s *Stats) add(o *Stats) {
	addCache(&s.Cache, &o.Cache)
	s.MaxCredentials += o.MaxCredentials
	s.HeldUntil = older(s.HeldUntil, o.HeldUntil)
	s.Snapshot = older(s.Snapshot, o.Snapshot)
	for i, n := range o.Reads.Buckets {
		s.Reads.Buckets[i] += n
	}
	s.Reads.Sum += o.Reads.Sum
	s.Revocation.add(&o.Revocation)
}

func addCache(s, o *cache.Stats) {
	s.Entries += o.Entries
	s.Absent += o.Absent
	s.Refused += o.Refused
	s.InFlight += o.InFlight
	s.Waiting += o.Waiting
	s.InDoubt += o.InDoubt
	s.Failing = s.Failing || o.Failing
	s.LastAnswer = older(s.LastAnswer, o.LastAnswer)
	s.Hits += o.Hits
	s.Loads += o.Loads
	s.Resurrected += o.Resurrected
	s.Absences += o.Absences
	s.Refusals += o.Refusals
	s.Limited += o.Limited
	s.Unavailable += o.Unavailable
	s.Errors += o.Errors
	s.Refresh += o.Refresh
	s.Expired += o.Expired
	s.Reread += o.Reread
	s.NeverSeen += o.NeverSeen
	s.Found += o.Found
	s.NotFound += o.NotFound
	s.Failed += o.Failed
	s.Panicked += o.Panicked
	s.Superseded += o.Superseded
	s.Dropped += o.Dropped
	s.Changed += o.Changed
	s.Evicted += o.Evicted
	s.Held += o.Held
}

// older is the older of two times. Zero means that there is none.
func older(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// ReadBounds are the upper bounds of the buckets of ReadTimes. Reads end at the
// lookup deadline, 2 s.
var ReadBounds = [...]time.Duration{
	5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond,
}

// ReadTimes is how long lookups in the store took, with any outcome, including the wait
// for a login.
type ReadTimes struct {
	Buckets [len(ReadBounds) + 1]uint64 // reads by the first of ReadBounds that they did not exceed; the last bucket has the others
	Sum     time.Duration
}

// readTimes counts reads by duration. The zero value is ready to use, and safe for
// concurrent use.
type readTimes struct {
	buckets [len(ReadBounds) + 1]atomic.Uint64
	sum     atomic.Int64
}

// since counts a read that began at that time and ends now.
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

// RevocationStats describes the listings of a store. For several stores, intervals and
// pages are those of the one that is listed least often, and Last is the oldest.
type RevocationStats struct {
	Interval  time.Duration // revocation_interval, the smallest of the store's objects; 0: off
	Effective time.Duration // the actual interval; Interval until the first listing
	Pages     int           // of the last successful listing
	Last      time.Time     // when that began; zero: none yet

	Listed  uint64 // listings that succeeded
	Failed  uint64 // listings that did not
	Dropped uint64 // cached credentials that a listing no longer contained
}

// listed counts a listing that succeeded.
func (r *revocation) listed(began time.Time, pages, dropped int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.counts
	s.Listed++
	s.Dropped += uint64(dropped)
	s.Pages, s.Last = pages, began
}

// notListed counts a listing that failed.
func (r *revocation) notListed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Failed++
}

// paced records the effective interval of a configured one.
func (r *revocation) paced(interval, effective time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Interval, r.counts.Effective = interval, effective
}

func (r *revocation) stats() RevocationStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.counts
	if s.Interval != r.schedule.interval { // there was no listing since it changed
		s.Interval, s.Effective = r.schedule.interval, r.schedule.interval
	}
	return s
}

func (s *RevocationStats) add(o *RevocationStats) {
	if o.Effective > s.Effective {
		s.Interval, s.Effective, s.Pages = o.Interval, o.Effective, o.Pages
	}
	s.Last = older(s.Last, o.Last)
	s.Listed += o.Listed
	s.Failed += o.Failed
	s.Dropped += o.Dropped
}
