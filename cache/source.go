package cache

import "time"

// sourceShare is the part of the places that one source may use for what
// strangers can cause: a tenth.
const sourceShare = 10

// A source goes into debt by each lookup that found nothing, or for which there
// was no place, and out of it, even into credit, by each that found something. Who
// is less in debt is served earlier, and who is more gives room: so clients that
// come once, and have a right to, pass a crowd that keeps guessing from many
// addresses. Credit keeps a tenth of the room, for many clients behind one
// address; it serves nobody earlier, for then they would keep all others out.
const (
	maxDebt = 20 // and the most credit
	// debtLife is that of each lookup in it. A token that keeps being asked for is
	// one lookup in neg_ttl, 5 s by default: that must not add up.
	debtLife = 2 * time.Second
	// maxSources bounds those that are remembered for their debt alone.
	maxSources = 20_000
)

// source is who lookups are made for, as Claim.Source names it. The source
// without a name has no cap.
type source struct {
	capped  bool
	places  float64       // of its share, to be had now
	filled  time.Duration // the clock.mono at which places was right
	turn    time.Duration // the clock.mono of its last lookup; of equals, who has waited longest since is next, and newcomers before
	debt    float64       // lookups, as of filled; less than 0: credit
	waiting int           // flights in the waiting room
}

// before reports whether a flight of s is served before one of t.
func (s *source) before(t *source) bool {
	if owes, other := max(s.debt, 0), max(t.debt, 0); owes != other {
		return owes < other
	}
	return s.turn < t.turn
}

// givesWayTo reports whether s has to give room rather than t.
func (s *source) givesWayTo(t *source) bool {
	// What waits is a debt to be, unless there is credit.
	most, other := max(s.debt, 0)+float64(s.waiting), max(t.debt, 0)+float64(t.waiting)
	switch {
	case s.trusted() != t.trusted():
		return t.trusted()
	case most != other:
		return most > other
	}
	return s.turn > t.turn
}

// trusted reports whether s gives no room: its credit holds for a tenth of the
// room, so that a crowd behind one address leaves some to others.
func (s *source) trusted() bool { return s.debt < 0 && s.waiting <= maxWaiting/sourceShare }

// owe adds n lookups to the debt, or takes them off.
func (s *source) owe(n float64) {
	if s.capped {
		s.debt = min(max(s.debt+n, -maxDebt), maxDebt)
	}
}

// forgive brings debt, or credit, nearer to none.
func (s *source) forgive(d time.Duration) {
	n := d.Seconds() / debtLife.Seconds()
	if s.debt > 0 {
		s.debt = max(s.debt-n, 0)
	} else {
		s.debt = min(s.debt+n, 0)
	}
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
	s.forgive(now.mono - s.filled)
	s.filled = now.mono
	return s.places == most
}

// sources are those that wait for a place, have used one in the last second or
// so, or are in debt.
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
		if s.waiting == 0 && s.fill(now, rate) && (s.debt == 0 || len(ss.byName) > maxSources) {
			delete(ss.byName, name)
		}
	}
}
