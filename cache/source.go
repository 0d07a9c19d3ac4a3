package cache

import "time"

// sourceShare is the part of the places that one source may use for what
// strangers can cause: a tenth.
const sourceShare = 10

// source is who lookups are made for, as Claim.Source names it. The source
// without a name has no cap.
type source struct {
	capped  bool
	places  float64       // of its share, to be had now
	filled  time.Duration // the clock.mono at which places was right
	turn    time.Duration // the clock.mono of its last lookup; who has waited longest since is next, and newcomers before
	waiting int           // flights in the waiting room
}

// wait is how long it takes until s has a place.
func (s *source) wait(now instant, rate float64) time.Duration {
	if !s.capped {
		return 0
	}
	s.fill(now, rate)
	if s.places >= 1 {
		return 0
	}
	return seconds((1 - s.places) / (rate / sourceShare))
}

// fill adds the places that have come up since it was last called, and reports
// whether s has all it can have.
func (s *source) fill(now instant, rate float64) (full bool) {
	most := max(rate/sourceShare, 1)
	s.places = min(s.places+(now.mono-s.filled).Seconds()*rate/sourceShare, most)
	s.filled = now.mono
	return s.places == most
}

// sources are those that wait for a place or have used one in the last second or
// so, which bounds them.
type sources struct {
	byName map[string]*source
	swept  time.Duration // the clock.mono of the last sweep
}

func (ss *sources) of(name string, now instant, rate float64) *source {
	ss.sweep(now, rate)
	s, ok := ss.byName[name]
	if !ok {
		s = &source{capped: name != "", places: max(rate/sourceShare, 1), filled: now.mono}
		ss.byName[name] = s
	}
	return s
}

// sweep forgets the sources that have nothing to remember, once a second.
func (ss *sources) sweep(now instant, rate float64) {
	if now.mono-ss.swept < time.Second {
		return
	}
	ss.swept = now.mono
	for name, s := range ss.byName {
		if s.waiting == 0 && s.fill(now, rate) {
			delete(ss.byName, name)
		}
	}
}
