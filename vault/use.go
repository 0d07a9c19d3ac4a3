package vault

import (
	"slices"
	"sync"
	"time"

	"kong-vault-auth/snapshot"
)

// use is one opening of a store, and what it asks of the store. Everything in this file
// is guarded by Registry.mu.
type use struct {
	owner    string
	schedule schedule      // of listings
	file     snapshot.File // of snapshots; no path: it asks for none
}

// join adds a use, which ends when leave is called. Calling leave again does nothing.
func (r *Registry) join(l *live, owner string, d Definition) (leave func()) {
	limits := d.limits()
	policy := policyOf(limits, r.options.LookupTimeout)
	u := &use{owner, schedule{limits.RevocationInterval.Duration(), policy}, d.snapshot()}
	l.bound = max(l.bound, bound(limits))
	ttl := limits.TTL
	if ttl == 0 {
		ttl = limits.MaxTTL
	}
	l.linger = min(max(l.linger, minLinger, (ttl+limits.ResurrectTTL).Duration()), maxLinger)
	l.uses = append(l.uses, u)
	l.revocation.follow(l.schedule())
	l.snapshots.keep(l.file())
	return sync.OnceFunc(func() { r.leave(l, u) })
}

// leave ends a use. A store without uses is kept as it is for a while, listings and
// snapshots included: the next user gets the same cache.
func (r *Registry) leave(l *live, u *use) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l.uses = slices.DeleteFunc(l.uses, func(other *use) bool { return other == u })
	if len(l.uses) > 0 {
		l.revocation.follow(l.schedule())
		if f := l.file(); f != l.snapshots.current() { // another store may have taken the file over
			l.snapshots.keep(f)
		}
		return
	}
	l.last = u.owner
	if !r.closed {
		l.idle = time.Now()
		time.AfterFunc(l.linger, func() { r.closeIdle(l) })
	}
}

// schedule is that of the use with the smallest interval.
func (l *live) schedule() schedule {
	var best schedule
	for _, u := range l.uses {
		if s := u.schedule; s.interval > 0 && (best.interval == 0 || s.interval < best.interval ||
			s.interval == best.interval && s.policy.LookupsPerSecond < best.policy.LookupsPerSecond) {
			best = s
		}
	}
	return best
}

// file is that of the newest use that asks for snapshots: one that asks for none does
// not turn off another one's.
func (l *live) file() snapshot.File {
	for _, u := range slices.Backward(l.uses) {
		if u.file.Path != "" {
			return u.file
		}
	}
	return snapshot.File{}
}

// usedOnlyBy reports whether own is true of all owners that have l open or, if none
// has, of the last one.
func (l *live) usedOnlyBy(own func(owner string) bool) bool {
	if len(l.uses) == 0 {
		return own(l.last)
	}
	return !slices.ContainsFunc(l.uses, func(u *use) bool { return !own(u.owner) })
}
