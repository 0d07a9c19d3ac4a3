package cache

import (
	"time"

	"kong-vault-auth/clock"
)

// Strangers can cause two kinds of lookups, re-reads and those of keys without a
// record. Fairness among those who cause them rests on one number, a source's
// score: how useful its latest lookups were. Each that found something adds 1, each that
// found nothing, or had to be refused, subtracts 1, and it decays to 0.
//
//   - The next permit goes to the source with the lowest penalty, which is a score
//     below 0; among equals, to the one that has not been served for longest. So
//     legitimate clients that come once pass a crowd that keeps guessing from many
//     addresses. A score above 0 serves nobody earlier, because those who have one
//     would then keep all others out.
//   - If too many wait, the source with the largest sum of penalty and waiting lookups
//     gives way, but not one with a score above 0 and no more than its share of the
//     room, since many clients may be behind one address.
//
// In addition, each source has a share of the permits and of the room, a tenth.
const (
	sourceShare = 10
	maxScore    = 20 // and the lowest is as far below 0
	// scoreDecay is by how much it approaches 0 in a second. An unknown token that is
	// requested all the time causes one lookup in neg_ttl, 5 s by default: that must not
	// add up.
	scoreDecay = 0.5
	// maxSources bounds those that are remembered for their score alone.
	maxSources = 20_000
)

// source is who lookups are for, named by Claim.Source. The one without a name has
// neither a cap nor a score.
type source struct {
	named   bool
	permits bucket        // its share
	score   float64       // as of permits.filled
	served  time.Duration // the clock.Mono of its last permit; 0: none yet
	waiting int           // its tickets in the queue
}

func (s *source) penalty() float64 { return max(-s.score, 0) }

func (s *source) isServedBefore(t *source) bool {
	if s.penalty() != t.penalty() {
		return s.penalty() < t.penalty()
	}
	return s.served < t.served
}

func (s *source) givesWayBefore(t *source) bool {
	load, other := s.penalty()+float64(s.waiting), t.penalty()+float64(t.waiting)
	switch {
	case s.keepsRoom() != t.keepsRoom():
		return t.keepsRoom()
	case load != other:
		return load > other
	}
	return s.served > t.served
}

func (s *source) keepsRoom() bool { return s.score > 0 && s.waiting <= maxWaiting/sourceShare }

func (s *source) addScore(n float64) {
	if s.named {
		s.score = min(max(s.score+n, -maxScore), maxScore)
	}
}

// wait returns how long it takes until s has a permit left of its share.
func (s *source) wait(now clock.Instant, rate float64) time.Duration {
	if !s.named {
		return 0
	}
	s.update(now, rate)
	return s.permits.wait(rate / sourceShare)
}

// update adds the permits that have come up since the last one, lets the score
// decay, and reports whether s has all the permits that it can have.
func (s *source) update(now clock.Instant, rate float64) (full bool) {
	decay := (now.Mono - s.permits.filled).Seconds() * scoreDecay
	s.score = max(s.score-decay, 0) + min(s.score+decay, 0)
	most := max(rate/sourceShare, 1)
	s.permits.refill(now, rate/sourceShare, most)
	return s.permits.count == most
}

// sources are those that have lookups in the queue, have used a permit in the last
// second or so, or have a score.
type sources struct {
	byName map[string]*source
	swept  time.Duration // the clock.Mono of the last sweep
}

func (ss *sources) get(name string, now clock.Instant, rate float64) *source {
	ss.sweep(now, rate)
	s, ok := ss.byName[name]
	if !ok {
		s = &source{named: name != "", permits: bucket{max(rate/sourceShare, 1), now.Mono}}
		if ss.byName == nil {
			ss.byName = map[string]*source{}
		}
		ss.byName[name] = s
	}
	return s
}

// sweep forgets the sources that have nothing to remember, once a second.
func (ss *sources) sweep(now clock.Instant, rate float64) {
	if now.Mono-ss.swept < time.Second {
		return
	}
	ss.swept = now.Mono
	for name, s := range ss.byName {
		if s.waiting == 0 && s.update(now, rate) && (s.score == 0 || len(ss.byName) > maxSources) {
			delete(ss.byName, name)
		}
	}
}
