package main

import (
	"net/netip"
	"slices"
	"time"
)

// This file says which answers are wrong. Each rule is one of the plugin's promises. For a
// request during a change (the store begins to fail, a secret is being rotated), the answers
// from before and from after the change are both right.

// revokedWithin is how long a deleted pair may work on where the store is listed
// every 2 s.
const revokedWithin = 3 * time.Second

// slack is how long a change may take to have its effect: from the store's first answer until
// the cache has it, and from a ttl's end to the lookup that it causes.
const slack = time.Second

// The most that answers may take.
const (
	lookupLimit = 2500 * time.Millisecond // the lookup deadline of 2 s, and what a busy machine adds
	staleLimit  = 300 * time.Millisecond  // of known pairs while the store fails, for 95 in 100: the rest is the machine's
)

// respawn is how long there may be no plugin server after it was killed: the second after which
// Kong restarts it, and its start on a busy machine. Then known pairs must work, also if only a
// snapshot has them.
const respawn = 3 * time.Second

// kind is the kind of a claim, which decides how it is to be answered.
type kind int

const (
	known     kind = iota // a pair that has been read before the fault
	unread                // a stored pair that was never asked for before the fault
	graced                // a secret token that is the latest or the one before, which has grace
	rotated               // a secret token, the latest or one before it, without grace
	deleted               // a known pair that is deleted in the phase
	gone                  // a known pair that was deleted in an earlier phase
	wrong                 // a known access token with an invented secret token
	unknown               // an invented access token
	nowhere               // a pair looked up in a store whose name doesn't resolve
	malformed             // an access token that no store can hold
	blocked               // an access token for which a firewall in front of the store answers
)

var kinds = [...]string{"known pair", "pair not read before", "rotated with grace", "rotated", "deleted pair", "pair deleted earlier", "wrong secret token", "unknown access token", "name that doesn't resolve", "access token no store can hold", "access token a firewall blocks"}

func (k kind) String() string { return kinds[k] }

// claim is a request's claim to be a consumer.
type claim struct {
	kind           kind
	path           string     // of the route
	from           netip.Addr // the client's address
	access, secret string
	consumer       string // whose it is
	generation     int    // of the secret token, from 0
}

// sent is a request and its answer.
type sent struct {
	claim
	began, ended time.Time
	status       int
	as           string // the consumer that the upstream was told of
}

func (s *sent) took() time.Duration { return s.ended.Sub(s.began) }

// change is when something was done: it took effect at some time in between.
type change struct{ began, ended time.Time }

// timeline is what happened when in a phase. At first the store answers.
type timeline struct {
	ttl        time.Duration       // of what is cached
	revokes    bool                // the store is listed every 2 s
	fails      bool                // the fault is one of the store's
	unlistable bool                // the fault is one of its listings
	fault      change              // its beginning
	cleared    time.Time           // when its end began
	healthy    time.Time           // the store's first answer to a lookup after it
	shown      time.Time           // its first answer that shows a deletion: to a lookup, or to a listing
	rotations  map[string][]change // by access token: the i-th made generation i+1
	deletions  map[string]change   // by access token
	killed     time.Time           // the plugin server, if it was
	flooded    bool                // the budget is used up
}

// honoured is how long a deleted pair may be accepted while the store answers.
func (t *timeline) honoured() time.Duration {
	if t.revokes {
		return revokedWithin
	}
	return t.ttl + slack
}

// failing reports whether no lookup that the request can have caused was answered.
func (t *timeline) failing(s *sent) bool {
	return t.fails && s.began.After(t.fault.ended) && s.ended.Before(t.cleared)
}

// answering reports whether all of them were.
func (t *timeline) answering(s *sent) bool {
	return !t.fails || s.ended.Before(t.fault.began) || s.began.After(t.healthy.Add(slack))
}

// verdict is whether an answer is wrong, and how.
type verdict int

const (
	right    verdict = iota
	accepted         // wrongly
	refused          // wrongly, or in the wrong way
)

// judge judges the answers of a phase, in the order in which they ended.
type judge struct {
	timeline
	proven map[claim]time.Time  // when a claim was first answered 200
	denied map[string]time.Time // when a deleted pair was first answered 401
}

func newJudge(t timeline) *judge {
	return &judge{timeline: t, proven: map[claim]time.Time{}, denied: map[string]time.Time{}}
}

func (j *judge) judge(s *sent) verdict {
	verdict := j.verdict(s)
	switch {
	case s.status == 200:
		note(j.proven, s.claim, s.ended)
	case s.status == 401 && s.kind == deleted:
		note(j.denied, s.access, s.ended)
	}
	return verdict
}

func note[K comparable](m map[K]time.Time, k K, at time.Time) {
	if _, ok := m[k]; !ok {
		m[k] = at
	}
}

func (j *judge) verdict(s *sent) verdict {
	switch {
	case s.status == 500 && !j.killed.IsZero() && s.ended.After(j.killed) && s.began.Before(j.killed.Add(respawn)):
		return right // Kong's own, while there is no plugin server
	case s.status == 200 && s.as != s.consumer:
		return accepted
	case slices.Contains(j.allowed(s), s.status):
		return right
	case s.status == 200:
		return accepted
	}
	return refused
}

// allowed are the right statuses.
func (j *judge) allowed(s *sent) []int {
	switch s.kind {
	case known:
		return []int{200}
	case unread:
		return j.valid(s)
	case graced:
		return j.secret(s, s.generation+1)
	case rotated:
		return j.secret(s, s.generation)
	case deleted:
		return j.deleted(s)
	case gone, wrong:
		return j.mismatched(s)
	case nowhere:
		return []int{503}
	case malformed:
		return []int{401}
	case blocked:
		return []int{503, 429}
	}
	if j.failing(s) {
		return []int{503, 429} // 401 would be a no that the store hasn't given
	}
	return j.mismatched(s)
}

// valid is for a pair that is valid now. Once it was answered 200 it is known, and stays so
// whatever the store does; but if it was first read shortly before the plugin server was killed,
// the snapshot may lack it.
func (j *judge) valid(s *sent) []int {
	first, seen := j.proven[s.claim]
	switch {
	case seen && s.kind == unread && first.Before(j.killed) && s.ended.After(j.killed) && !j.answering(s):
		return []int{200, 503, 429}
	case seen && first.Before(s.began):
		return []int{200}
	case j.failing(s):
		return []int{503, 429}
	case !j.answering(s):
		return []int{200, 503, 429}
	}
	return []int{200}
}

// mismatched is for a claim that no record supports, whether there is one or not.
func (j *judge) mismatched(s *sent) []int {
	switch {
	case !j.answering(s):
		return []int{401, 503, 429}
	case j.flooded, s.kind != unknown: // too many wrong secrets for one credential are limited
		return []int{401, 429}
	}
	return []int{401}
}

// secret is for a secret token of a credential that rotates, which is valid as long as last is
// the latest generation.
func (j *judge) secret(s *sent, last int) []int {
	rotations := j.rotations[s.access]
	if last >= len(rotations) || s.ended.Before(rotations[last].began) {
		return j.valid(s)
	}
	ended := rotations[last]
	if s.began.After(ended.ended) && (j.newerSeen(s, last) || j.expired(s, ended.ended)) {
		return j.mismatched(s)
	}
	return []int{200, 401, 503, 429}
}

// newerSeen reports whether a later generation than last was answered 200 before.
func (j *judge) newerSeen(s *sent, last int) bool {
	for c, at := range j.proven {
		if c.access == s.access && c.generation > last && at.Before(s.began) {
			return true
		}
	}
	return false
}

// expired reports whether a record that was cached at a time has passed its ttl since, and the
// store answers.
func (j *judge) expired(s *sent, at time.Time) bool {
	return j.answering(s) && s.began.After(at.Add(j.ttl+slack))
}

// revoked reports whether the store has been listed since a deletion, or should have been. If
// listings or the store failed at the time, the first answer afterwards counts.
func (j *judge) revoked(s *sent, deletion change) bool {
	at := deletion.ended
	if (j.fails || j.unlistable) && at.Add(revokedWithin).After(j.fault.began) && at.Before(j.shown) {
		at = j.shown
	}
	return s.began.After(at.Add(revokedWithin))
}

// deleted is for a known pair that is deleted in the phase. Then it may be accepted until its
// ttl ends or a listing shows the deletion, or if the store fails then, until the store answers;
// and never again once it was refused.
func (j *judge) deleted(s *sent) []int {
	d, ok := j.deletions[s.access]
	if !ok || s.ended.Before(d.began) {
		return []int{200}
	}
	denied, ok := j.denied[s.access]
	if ok && denied.Before(s.began) || j.expired(s, d.ended) || j.revokes && j.revoked(s, d) {
		return j.mismatched(s)
	}
	if j.revokes && !j.answering(s) {
		return []int{200, 401, 503, 429} // a listing may have shown it while lookups fail
	}
	return []int{200, 401}
}
