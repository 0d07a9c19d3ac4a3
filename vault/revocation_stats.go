package vault

import "time"

// RevocationStats is what the listings of a store have come to. Of several
// stores, intervals and pages are those of the one that is listed least often,
// and Last is the oldest.
type RevocationStats struct {
	Interval  time.Duration // revocation_interval, the smallest of the store's objects; 0: off
	Effective time.Duration // the interval that there really is; Interval until the first listing
	Pages     int           // of the last listing that succeeded
	Last      time.Time     // when that began; zero: none yet

	Listed  uint64 // listings that succeeded
	Failed  uint64 // listings that did not
	Dropped uint64 // cached credentials that were gone from a listing
}

// listed notes a listing that succeeded.
func (r *revocation) listed(began time.Time, pages, dropped int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.counts
	s.Listed++
	s.Dropped += uint64(dropped)
	s.Pages, s.Last = pages, began
}

// notListed notes a listing that failed.
func (r *revocation) notListed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Failed++
}

// paced notes what a configured interval comes to.
func (r *revocation) paced(interval, effective time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Interval, r.counts.Effective = interval, effective
}

func (r *revocation) stats() RevocationStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.counts
	if s.Interval != r.beat.interval { // there was no listing since that changed
		s.Interval, s.Effective = r.beat.interval, r.beat.interval
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
