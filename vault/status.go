package vault

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"kong-vault-auth/secretstore"
)

// The values of Status.State.
const (
	stateAnswering = "answering"     // the last lookup got an answer
	stateFailing   = "failing"       // the last lookup failed
	stateUnasked   = "not asked yet" // there was no lookup
	stateUnused    = "not in use"    // the node defines the object, and no route uses it
	stateInvalid   = "invalid"       // Error says what is wrong with the definition
)

// Status describes one open store, or a vault object without an open store. A time is
// zero if the event hasn't happened.
type Status struct {
	Object      string        `json:"object"`
	State       string        `json:"state"`                 // answering, failing, not asked yet, not in use or invalid
	LastSuccess time.Time     `json:"last_success,omitzero"` // when the store last answered
	HoldUntil   time.Time     `json:"hold_until,omitzero"`   // during an outage: until when cached credentials are honoured
	Credentials int           `json:"credentials"`           // in memory
	Lookups     LookupsStatus `json:"lookups"`
	LoginEnds   time.Time     `json:"login_ends,omitzero"` // unless the login is renewed
	Snapshot    time.Time     `json:"snapshot,omitzero"`   // when the last snapshot was written
	Error       string        `json:"error,omitempty"`     // the last failure or the mistake, with the remedy
	ErrorAt     time.Time     `json:"error_at,omitzero"`
}

// LookupsStatus is how many lookups a store may be asked for, and how many there are.
type LookupsStatus struct {
	PerSecond int `json:"per_second"` // max_lookups_per_second; 0: there was no lookup yet
	Permits   int `json:"permits"`    // that are available now
	InFlight  int `json:"in_flight"`
	Waiting   int `json:"waiting"`
}

// Status returns the status of every store in use and every object of the node, sorted by
// name.
func (r *Registry) Status() []Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Status
	inUse := map[string]bool{}
	for _, cs := range r.stores {
		if len(cs.uses) == 0 {
			continue // it stays open only in case it is used again
		}
		inUse[cs.name] = true
		all = append(all, cs.status())
	}
	for name, o := range r.node.inUse { // objects that share a store opened under another name
		if b := o.bound.Load(); b.err == nil && !inUse[name] {
			inUse[name] = true
			s := b.store.status()
			s.Object = name
			all = append(all, s)
		}
	}
	problems := maps.Clone(r.node.problems)
	for name, o := range r.node.inUse {
		if b := o.bound.Load(); b.err != nil && problems[name] == nil {
			problems[name] = b.err
		}
	}
	for name, err := range problems {
		all = append(all, Status{Object: name, State: stateInvalid, Error: err.Error()})
	}
	for name := range r.node.all() {
		if !inUse[name] && problems[name] == nil {
			all = append(all, Status{Object: name, State: stateUnused})
		}
	}
	if err := r.node.fileProblem; err != nil {
		all = append(all, Status{Object: r.node.path, State: stateInvalid, Error: err.Error()})
	}
	slices.SortStableFunc(all, func(a, b Status) int { return cmp.Compare(a.Object, b.Object) })
	return all
}

// status is the status of an open store.
func (cs *credentialStore) status() Status {
	stats, condition := cs.cache.Stats(), cs.cache.Condition()
	s := Status{
		Object:      cs.name,
		State:       stateUnasked,
		LastSuccess: stats.LastAnswer,
		HoldUntil:   cs.cache.HeldUntil(),
		Credentials: stats.Entries,
		Lookups: LookupsStatus{
			PerSecond: condition.LookupsPerSecond, Permits: condition.Permits, InFlight: stats.InFlight, Waiting: stats.Waiting,
		},
		Snapshot: cs.snapshots.lastWritten(),
		ErrorAt:  condition.LastFailureAt,
	}
	switch {
	case stats.Failing:
		s.State = stateFailing
	case stats.Found+stats.NotFound > 0:
		s.State = stateAnswering
	}
	if condition.LastFailure != nil {
		s.Error = condition.LastFailure.Error()
	}
	if e, ok := cs.conn.Load().Store.(secretstore.LoginEnder); ok {
		s.LoginEnds = e.LoginEnds()
	}
	return s
}
