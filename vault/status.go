package vault

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"kong-vault-auth/secretstore"
)

// State is what an operator wants to know first of a vault object.
type State string

// The states of a vault object.
const (
	StateAnswering State = "answering"     // the store's last outcome was an answer
	StateFailing   State = "failing"       // it was a failure
	StateUnasked   State = "not asked yet" // there was none
	StateUnused    State = "not in use"    // the node defines it, and no route uses it
	StateInvalid   State = "invalid"       // Error says what is wrong with its definition
)

// Status is what this process knows of one store that is open, or of a vault object
// that none is open for. The zero time stands for what never was.
type Status struct {
	Object      string        `json:"object"`
	State       State         `json:"state"`
	LastSuccess time.Time     `json:"last_success,omitzero"` // when the store last answered
	HoldUntil   time.Time     `json:"hold_until,omitzero"`   // during an outage: how long cached credentials are honoured
	Credentials int           `json:"credentials"`           // in memory
	Lookups     LookupsStatus `json:"lookups"`
	LoginEnds   time.Time     `json:"login_ends,omitzero"` // unless it is renewed
	Snapshot    time.Time     `json:"snapshot,omitzero"`   // when the last was written
	Error       string        `json:"error,omitempty"`     // the last, with its remedy
	ErrorAt     time.Time     `json:"error_at,omitzero"`
}

// LookupsStatus is the budget of lookups.
type LookupsStatus struct {
	PerSecond int `json:"per_second"` // max_lookups_per_second; 0: none was made yet
	Permits   int `json:"permits"`    // that can be used at once
	InFlight  int `json:"in_flight"`
	Waiting   int `json:"waiting"`
}

// Status tells of every open store and every object of the node, by name.
func (r *Registry) Status() []Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Status
	inUse := map[string]bool{}
	for _, l := range r.lives {
		if len(l.uses) == 0 {
			continue // it only waits for who comes back
		}
		inUse[l.name] = true
		all = append(all, l.status())
	}
	for name, o := range r.node.inUse { // those that share another's store
		if b := o.bound.Load(); b.err == nil && !inUse[name] {
			inUse[name] = true
			s := b.live.status()
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
		all = append(all, Status{Object: name, State: StateInvalid, Error: err.Error()})
	}
	for name := range r.node.all() {
		if !inUse[name] && problems[name] == nil {
			all = append(all, Status{Object: name, State: StateUnused})
		}
	}
	if err := r.node.fileProblem; err != nil {
		all = append(all, Status{Object: r.node.path, State: StateInvalid, Error: err.Error()})
	}
	slices.SortStableFunc(all, func(a, b Status) int { return cmp.Compare(a.Object, b.Object) })
	return all
}

// status is that of an open store.
func (l *live) status() Status {
	stats, condition := l.cache.Stats(), l.cache.Condition()
	s := Status{
		Object:      l.name,
		State:       StateUnasked,
		LastSuccess: stats.LastAnswer,
		HoldUntil:   l.cache.HeldUntil(),
		Credentials: stats.Entries,
		Lookups: LookupsStatus{
			PerSecond: condition.LookupsPerSecond, Permits: condition.Permits, InFlight: stats.InFlight, Waiting: stats.Waiting,
		},
		ErrorAt: condition.LastFailureAt,
	}
	switch {
	case stats.Failing:
		s.State = StateFailing
	case stats.Found+stats.NotFound > 0:
		s.State = StateAnswering
	}
	if condition.LastFailure != nil {
		s.Error = condition.LastFailure.Error()
	}
	if e, ok := l.store.Load().Store.(secretstore.LoginEnder); ok {
		s.LoginEnds = e.LoginEnds()
	}
	if written := l.snapshots.written.Load(); written != nil {
		s.Snapshot = *written
	}
	return s
}
