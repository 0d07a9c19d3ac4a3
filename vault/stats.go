package vault

import (
	"cmp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"kong-vault-auth/cache"
)

// Stats describes one open store, for metrics.
//
// A store that several objects share is reported under the name that it was opened
// with. Several stores may have the same name: inline objects at the same place with
// different tokens and, for a while, the store that such an object had before its token
// was changed. Store tells them apart.
type Stats struct {
	Object string // the vault object's name, as log lines have it
	Store  int    // 1, or the next free number if other stores of this name were open already
	Cache  cache.Stats

	MaxCredentials int       // the limit of Cache.Entries
	HeldUntil      time.Time // until when credentials that were fresh at the beginning of the outage are honoured; zero: no outage
	Snapshot       time.Time // when the last one was written; zero: none
	Reads          ReadTimes
	Revocation     RevocationStats
}

// Stats returns the stats of every open store, sorted by Object and Store. Counters
// begin at 0 when a store is opened.
func (r *Registry) Stats() []Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Stats, 0, len(r.stores))
	for _, cs := range r.stores {
		all = append(all, cs.stats(cmp.Or(r.options.MaxCredentials, cache.DefaultMaxEntries)))
	}
	slices.SortFunc(all, func(a, b Stats) int {
		return cmp.Or(strings.Compare(a.Object, b.Object), cmp.Compare(a.Store, b.Store))
	})
	return all
}

// stats returns the stats of one store. Registry.mu is held.
func (cs *credentialStore) stats(maxCredentials int) Stats {
	s := Stats{
		Object:         cs.name,
		Store:          cs.number,
		Cache:          cs.cache.Stats(),
		MaxCredentials: maxCredentials,
		Reads:          cs.reads.stats(),
		HeldUntil:      cs.cache.HeldUntil(),
		Snapshot:       cs.snapshots.lastWritten(),
		Revocation:     cs.revocation.stats(),
	}
	if len(cs.uses) == 0 { // no lookup would notice the end of an outage
		s.Cache.Failing, s.Cache.LastAnswer, s.HeldUntil = false, time.Time{}, time.Time{}
	}
	return s
}

// number returns the smallest number that no open store of the name has. r.mu is held.
func (r *Registry) number(name string) int {
	taken := map[int]bool{}
	for _, cs := range r.stores {
		if cs.name == name {
			taken[cs.number] = true
		}
	}
	n := 1
	for taken[n] {
		n++
	}
	return n
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
	Buckets [len(ReadBounds) + 1]uint64 // each read counts in the first of ReadBounds that it did not exceed, or else in the last bucket
	Sum     time.Duration
}

// readTimes counts reads by duration. The zero value is ready to use, and safe for
// concurrent use.
type readTimes struct {
	buckets [len(ReadBounds) + 1]atomic.Uint64
	sum     atomic.Int64
}

// since counts a read that began at a time and ends now.
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

// RevocationStats describes the listings of a store.
type RevocationStats struct {
	Interval  time.Duration // revocation_interval, the smallest of the store's objects; 0: off
	Effective time.Duration // the actual interval; Interval until the first listing
	Pages     int           // of the last successful listing
	Last      time.Time     // when that listing began; zero: there was none yet

	Listed  uint64 // listings that succeeded
	Failed  uint64 // listings that failed
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

// paced records the effective interval that follows from a configured one.
func (r *revocation) paced(interval, effective time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Interval, r.counts.Effective = interval, effective
}

func (r *revocation) stats() RevocationStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.counts
	if s.Interval != r.schedule.interval { // there was no listing since the interval changed
		s.Interval, s.Effective = r.schedule.interval, r.schedule.interval
	}
	return s
}
