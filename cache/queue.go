package cache

import (
	"errors"
	"math"
	"slices"
	"time"

	"kong-vault-auth/clock"
)

// priority is what a lookup is for, the most urgent first.
type priority uint8

const (
	priorityRefresh   priority = iota // a record that is about to expire
	priorityExpired                   // a record past its ttl
	priorityReread                    // a record that a claim doesn't accept
	priorityNeverSeen                 // a key without a record
	priorities
)

const (
	maxRunning = 64   // lookups at a time
	maxWaiting = 1000 // lookups that wait for a permit
)

// queue decides which lookup may begin, and when. It knows tickets, not what is
// looked up. It has no lock and no clock of its own.
//
// Only misses use permits up, so that a restart with thousands of legitimate clients
// doesn't look like an attack. A re-read counts as a miss unless a claim accepts what it
// found, since strangers can cause it with wrong secrets for known names. A due record
// that is gone doesn't count, since strangers can't cause that lookup; so a revocation of
// many records is noticed soon.
type queue struct {
	rate    float64
	permits bucket
	running int
	waiting [priorities][]*ticket // oldest first
	sources sources
}

// ticket is one lookup in the queue. Only the queue changes it.
type ticket struct {
	key       string // whose lookup it is
	priority  priority
	notBefore time.Duration // the clock.Mono before which it may not begin
	source    *source       // who the lookup is for
	permit    bool          // holds one that can still be returned
}

// add puts t, which is for source, in the queue. rate is the queue's from now on.
func (q *queue) add(t *ticket, source string, rate int, now clock.Instant) {
	q.setRate(float64(rate), now)
	t.source = q.sources.get(source, now, q.rate)
	q.enqueue(t)
}

// admit gives t a permit at once, even if there is none.
func (q *queue) admit(t *ticket, rate int, now clock.Instant) {
	q.setRate(float64(rate), now)
	t.source = q.sources.get("", now, q.rate)
	q.grant(t, now)
}

func (q *queue) setRate(rate float64, now clock.Instant) {
	q.permits.refill(now, q.rate, q.rate)
	if q.rate == 0 { // the first
		q.permits.count = rate
	}
	q.rate = rate
}

func (q *queue) enqueue(t *ticket) {
	q.waiting[t.priority] = append(q.waiting[t.priority], t)
	t.source.waiting++
}

func (q *queue) remove(t *ticket) {
	ts := q.waiting[t.priority]
	if i := slices.Index(ts, t); i >= 0 {
		q.waiting[t.priority] = slices.Delete(ts, i, i+1)
		t.source.waiting--
	}
}

// promote is called when the lookup of t, which waits, is requested again. If the new
// request would be served earlier, t takes its priority and source, so no client waits
// longer because a guesser has asked first. It reports whether t has changed.
func (q *queue) promote(t *ticket, p priority, source string, now clock.Instant) bool {
	if p > t.priority {
		return false
	}
	s := q.sources.get(source, now, q.rate)
	if p < t.priority {
		q.remove(t)
		t.priority, t.notBefore, t.source = p, 0, s
		q.enqueue(t)
		return true
	}
	wait, other := s.wait(now, q.rate), t.source.wait(now, q.rate)
	if wait > other || wait == other && !s.isServedBefore(t.source) {
		return false
	}
	t.source.waiting--
	s.waiting++
	t.source = s
	return true
}

// next takes the ticket of the next lookup out of the queue, and gives it a permit: of the
// highest priority, the oldest of the source that is served first. If there is none, it
// returns how long to wait before the next try; 0 means until a lookup ends or a ticket is
// added.
func (q *queue) next(now clock.Instant) (*ticket, time.Duration) {
	q.permits.refill(now, q.rate, q.rate)
	if q.running >= maxRunning || q.len() == 0 {
		return nil, 0
	}
	if wait := q.permits.wait(q.rate); wait > 0 {
		return nil, wait
	}
	soonest := forever
	for _, ts := range q.waiting {
		var first *ticket
		for _, t := range ts {
			wait := max(t.notBefore-now.Mono, t.source.wait(now, q.rate))
			switch {
			case wait > 0:
				soonest = min(soonest, wait)
			case first == nil || t.source.isServedBefore(first.source):
				first = t
			}
		}
		if first != nil {
			q.remove(first)
			q.grant(first, now)
			return first, 0
		}
	}
	return nil, soonest
}

func (q *queue) grant(t *ticket, now clock.Instant) {
	q.permits.count--
	t.source.permits.count--
	t.source.served = now.Mono
	t.permit = true
	q.running++
}

// ended returns t's permit if its lookup was no miss, and updates the score of its
// source. err is the lookup's; nil means that it found a record.
func (q *queue) ended(t *ticket, err error) {
	q.running--
	absent := errors.Is(err, ErrAbsent)
	switch {
	case absent && t.priority < priorityReread:
		q.refund(t)
	case err == nil && t.priority != priorityReread:
		q.refund(t)
		t.source.addScore(1)
	case err == nil, absent, isAboutKey(err):
		t.source.addScore(-1)
	}
}

// accepted is called when a claim accepts what t's lookup has found. A re-read was then for
// a rotated secret, and no miss.
func (q *queue) accepted(t *ticket) {
	if t.priority == priorityReread && q.refund(t) { // else another claim has done so
		t.source.addScore(2)
	}
}

// refund returns t's permit, and reports whether t still had it.
func (q *queue) refund(t *ticket) bool {
	if !t.permit {
		return false
	}
	t.permit = false
	q.permits.count = min(q.permits.count+1, q.rate)
	t.source.permits.count++
	return true
}

// overflow returns the ticket that must be refused because too many wait: of the last
// priority, the oldest of the source that gives way first. As long as there is room, one
// source may fill it, since many clients can share an address.
func (q *queue) overflow() *ticket {
	if q.len() <= maxWaiting {
		return nil
	}
	var worst *ticket
	for _, ts := range slices.Backward(q.waiting[:]) {
		for _, t := range ts {
			if worst == nil || t.source.givesWayBefore(worst.source) {
				worst = t
			}
		}
		if worst != nil {
			return worst
		}
	}
	return nil
}

// refuse takes t out of the queue, because there is no permit or no room for it, and
// returns the error.
func (q *queue) refuse(t *ticket) error {
	err := q.limitError()
	q.remove(t)
	t.source.addScore(-1)
	return err
}

func (q *queue) len() int {
	n := 0
	for _, ts := range q.waiting {
		n += len(ts)
	}
	return n
}

// limitError returns an error that says when those that wait now will have had their
// permits.
func (q *queue) limitError() error {
	return &LimitError{RetryAfter: seconds(1 + math.Floor(float64(q.len())/q.rate))}
}

// bucket is a token bucket of permits.
type bucket struct {
	count  float64
	filled time.Duration // the clock.Mono at which count was right
}

// refill adds the permits that have come up since the last refill.
func (b *bucket) refill(now clock.Instant, rate, most float64) {
	b.count = min(b.count+(now.Mono-b.filled).Seconds()*rate, most)
	b.filled = now.Mono
}

// wait returns how long it takes until there is a permit.
func (b *bucket) wait(rate float64) time.Duration {
	if b.count >= 1 {
		return 0
	}
	return seconds((1 - b.count) / rate)
}

func seconds(s float64) time.Duration {
	// Rounded up: a timer that fires a nanosecond early would fire again.
	return time.Duration(math.Ceil(s * float64(time.Second)))
}
