package vault

import (
	"slices"
	"time"

	"kong-vault-auth/snapshot"
)

// use is one user of a credentialStore, and what its definition asks of the store. Uses
// are guarded by Registry.mu.
type use struct {
	owner    string
	schedule schedule      // of listings
	file     snapshot.File // of snapshots; without a path it asks for none
}

// join adds a use, which ends when leave is called, once and with Registry.mu held.
func (r *Registry) join(cs *credentialStore, owner string, d Definition) (leave func()) {
	limits := d.limits()
	policy := policyOf(limits, r.options.LookupTimeout)
	u := &use{owner, schedule{limits.RevocationInterval.Duration(), policy}, d.snapshot()}
	cs.bound = max(cs.bound, changeBound(limits))
	ttl := limits.TTL
	if ttl == 0 {
		ttl = limits.MaxTTL
	}
	cs.linger = min(max(cs.linger, minLinger, (ttl+limits.ResurrectTTL).Duration()), maxLinger)
	cs.uses = append(cs.uses, u)
	cs.revocation.follow(cs.schedule())
	cs.snapshots.keep(cs.file())
	return func() { r.leave(cs, u) }
}

// leave ends a use. A store without uses stays open for a while, and its listings and
// snapshots continue, so that the next user gets the same cache.
func (r *Registry) leave(cs *credentialStore, u *use) {
	cs.uses = slices.DeleteFunc(cs.uses, func(other *use) bool { return other == u })
	if len(cs.uses) > 0 {
		cs.revocation.follow(cs.schedule())
		if f := cs.file(); f != cs.snapshots.current() { // else another store may have taken the file over
			cs.snapshots.keep(f)
		}
		return
	}
	cs.lastOwner = u.owner
	if !r.closed {
		cs.idleSince = time.Now()
		time.AfterFunc(cs.linger, func() { r.closeIdle(cs) })
	}
}

// schedule is the schedule of the use with the smallest interval.
func (cs *credentialStore) schedule() schedule {
	var best schedule
	for _, u := range cs.uses {
		if s := u.schedule; s.interval > 0 && (best.interval == 0 || s.interval < best.interval ||
			s.interval == best.interval && s.policy.LookupsPerSecond < best.policy.LookupsPerSecond) {
			best = s
		}
	}
	return best
}

// file is the snapshot file of the newest use that asks for one. A use that asks for
// none doesn't turn off the snapshots of others.
func (cs *credentialStore) file() snapshot.File {
	for _, u := range slices.Backward(cs.uses) {
		if u.file.Path != "" {
			return u.file
		}
	}
	return snapshot.File{}
}

// usedOnlyBy reports whether own is true for every owner that has the store open or, if
// there is none, for the last one.
func (cs *credentialStore) usedOnlyBy(own func(owner string) bool) bool {
	if len(cs.uses) == 0 {
		return own(cs.lastOwner)
	}
	return !slices.ContainsFunc(cs.uses, func(u *use) bool { return !own(u.owner) })
}
