package cache

import (
	"errors"
	"math"
	"slices"
	"time"
)

// The budget of lookups. A lookup takes a place when it begins; there are
// LookupsPerSecond new ones each second, and as many can be saved up. A lookup
// that finds a record gives its place back, so only misses cost, and a restart
// with thousands of legitimate clients is no attack. A re-read gives it back
// only once a claim accepts what it found: wrong secrets for known names are as
// much a stranger's doing as unknown names are. No stranger causes a miss of a
// record that is due: that gives its place back too, and so a revocation of many
// is through soon.

const (
	maxInFlight  = 64   // lookups that run at a time
	maxWaiting   = 1000 // flights that wait for a place
	maxClaimants = 1000 // Gets that wait for the same re-read
)

// order is what a lookup is for. Those that come first get the next place.
type order uint8

const (
	orderRefresh   order = iota // a record that is about to expire
	orderExpired                // a record past its ttl
	orderReread                 // a record that a claim doesn't accept
	orderNeverSeen              // a key with no record
	orders
)

// budget is guarded by Cache.mu.
type budget[V any] struct {
	rate     float64       // new places a second
	places   float64       // to be had now; a probe may take one that isn't there
	filled   time.Duration // the clock.mono at which places was right
	inFlight int
	waiting  [orders][]*flight[V] // oldest first
	sources  sources
	timer    *time.Timer // fires when the next flight may begin
}

func (b *budget[V]) init(c *Cache[V]) {
	b.sources.byName = map[string]*source{}
	b.timer = time.AfterFunc(forever, func() {
		c.mu.Lock()
		defer c.unlock()
		c.dispatch(c.clock())
	})
	b.timer.Stop()
}

func (b *budget[V]) stop() { b.timer.Stop() }

// add puts f in the waiting room.
func (b *budget[V]) add(f *flight[V], now instant) {
	b.fill(now)
	rate := float64(f.policy.LookupsPerSecond)
	if b.rate == 0 { // the first
		b.places = rate
	}
	b.rate = rate
	b.enqueue(f)
}

func (b *budget[V]) enqueue(f *flight[V]) {
	b.waiting[f.order] = append(b.waiting[f.order], f)
	f.source.waiting++
}

// remove takes f out of the waiting room.
func (b *budget[V]) remove(f *flight[V]) {
	q := b.waiting[f.order]
	if i := slices.Index(q, f); i >= 0 {
		b.waiting[f.order] = slices.Delete(q, i, i+1)
		f.source.waiting--
	}
}

// hurry lets f, which waits, wait as one of an earlier order does.
func (b *budget[V]) hurry(f *flight[V], o order, now instant) {
	b.remove(f)
	f.order, f.notBefore, f.source = o, 0, b.sources.of("", now, b.rate)
	b.enqueue(f)
}

// share lets another source pay for f, which waits, if it is served earlier, and
// reports whether it is: nobody waits longer because a guesser has asked first.
func (b *budget[V]) share(f *flight[V], source string, now instant) bool {
	s := b.sources.of(source, now, b.rate)
	wait, other := s.wait(now, b.rate), f.source.wait(now, b.rate)
	if wait > other || wait == other && !s.before(f.source) {
		return false
	}
	f.source.waiting--
	f.source = s
	s.waiting++
	return true
}

// next takes the next flight that may begin out of the waiting room: of the
// first order, of the source whose turn it is, the oldest. Without one it says
// when to ask again, if the end of a lookup isn't what it takes.
func (b *budget[V]) next(now instant) (*flight[V], time.Duration) {
	b.fill(now)
	if b.inFlight >= maxInFlight || b.len() == 0 {
		return nil, 0
	}
	if b.places < 1 {
		return nil, seconds((1 - b.places) / b.rate)
	}
	soonest := forever
	for _, q := range b.waiting {
		var first *flight[V]
		for _, f := range q {
			wait := max(f.notBefore-now.mono, f.source.wait(now, b.rate))
			switch {
			case wait > 0:
				soonest = min(soonest, wait)
			case first == nil || f.source.before(first.source):
				first = f
			}
		}
		if first != nil {
			b.remove(first)
			b.take(first, now)
			return first, 0
		}
	}
	return nil, soonest
}

// take gives f a place.
func (b *budget[V]) take(f *flight[V], now instant) {
	b.places--
	f.source.places--
	f.source.turn = now.mono
	f.place = true
	b.inFlight++
}

// landed ends f's lookup.
func (b *budget[V]) landed(f *flight[V], err error) {
	b.inFlight--
	absent := errors.Is(err, ErrAbsent)
	switch {
	case absent && f.order < orderReread:
		b.giveBack(f)
	case err == nil && f.order != orderReread:
		b.giveBack(f)
		f.source.owe(-1)
	case err == nil, absent, isAboutKey(err):
		f.source.owe(1)
	}
}

// giveBack returns f's place, and reports whether f had it still.
func (b *budget[V]) giveBack(f *flight[V]) bool {
	if !f.place {
		return false
	}
	f.place = false
	b.places = min(b.places+1, b.rate)
	f.source.places++
	return true
}

// surplus is a flight that must leave the waiting room if it is too full: the
// oldest of the last order, of the source that has and owes the most. As long as
// there is room, one source may have it all: many clients can share an address.
func (b *budget[V]) surplus() *flight[V] {
	if b.len() <= maxWaiting {
		return nil
	}
	var worst *flight[V]
	for _, q := range slices.Backward(b.waiting[:]) {
		for _, f := range q {
			if worst == nil || f.source.givesWayTo(worst.source) {
				worst = f
			}
		}
		if worst != nil {
			return worst
		}
	}
	return nil
}

// len is how many flights wait for a place.
func (b *budget[V]) len() int {
	n := 0
	for _, q := range b.waiting {
		n += len(q)
	}
	return n
}

// fill adds the places that have come up since it was last called.
func (b *budget[V]) fill(now instant) {
	b.places = min(b.places+(now.mono-b.filled).Seconds()*b.rate, b.rate)
	b.filled = now.mono
}

// limitError tells how long those who wait now will take.
func (b *budget[V]) limitError() error {
	return &LimitError{RetryAfter: seconds(1 + math.Floor(float64(b.len())/b.rate))}
}

func seconds(s float64) time.Duration {
	// Rounded up: a timer that fires a nanosecond early would fire again.
	return time.Duration(math.Ceil(s * float64(time.Second)))
}
