package vault

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/snapshot"
)

// ErrUnknownObject is matched by the error about a name of which this process neither
// defines nor uses a vault object.
var ErrUnknownObject = errors.New("unknown vault object")

// Changes names credentials that have changed in their stores.
type Changes struct {
	Credentials map[credential.ShortID]bool // single credentials, also by the key that the cache has for them
	Stores      map[credential.ShortID]bool // stores of which any credential may have changed
	// Placed are single credentials, by their store's place instead of its identity. See
	// Defined.Changed.
	Placed map[credential.ShortID]bool
}

// placed reports whether Placed has the credential of a key in the store at place.
func (c Changes) placed(place credential.Naming, key string) bool {
	return len(c.Placed) > 0 && c.Placed[place.ShortID(key)]
}

// placeOf names a store by where it is. Unlike its identity, that doesn't depend on who
// logs in.
func (k kinds) placeOf(c secretstore.Config) credential.Naming {
	where := c.Identity()
	if kind, _ := k.named(c.Kind()); kind.Where > 0 {
		where = where[:kind.Where]
	}
	b, _ := json.Marshal(where) // strings can always be marshalled
	return credential.NewNaming("place " + string(b))
}

// Dropped is the result of a drop.
type Dropped struct {
	Changes               // for the other nodes
	Count   int           // how many credentials were in memory here
	Bound   time.Duration // after this time, a node that was told nothing has noticed by itself
}

// DropCredential forgets an object's credential, in memory and in snapshots: the next
// request with it asks the store, and answers of lookups under way are not stored. An empty
// object stands for all objects. After an error that isn't ErrUnknownObject, a snapshot may
// still have the credential.
func (r *Registry) DropCredential(object, accessToken string) (Dropped, error) {
	stores, d, err := r.storesOf(object)
	if err != nil {
		return d, err
	}
	d.Credentials = map[credential.ShortID]bool{}
	for naming, cs := range stores {
		d.Credentials[naming.ShortID(accessToken)] = true
		if cs != nil {
			d.Credentials[naming.ShortID(cs.conn.Load().Key(accessToken))] = true
		}
	}
	d.Count, err = r.drop(d.Changes, func(cs *credentialStore) int {
		if _, ofObject := stores[cs.naming]; !ofObject {
			return 0
		}
		if cs.cache.Invalidate(cs.conn.Load().Key(accessToken)) {
			return 1
		}
		return 0
	})
	return d, err
}

// DropFingerprint is DropCredential for a credential of which only the fingerprint is
// known.
func (r *Registry) DropFingerprint(object string, id credential.ShortID) (Dropped, error) {
	_, d, err := r.storesOf(object)
	if err != nil {
		return d, err
	}
	d.Credentials = map[credential.ShortID]bool{id: true}
	d.Count, err = r.Drop(d.Changes)
	return d, err
}

// DropObject is DropCredential for all credentials of an object's store.
func (r *Registry) DropObject(object string) (Dropped, error) {
	stores, d, err := r.storesOf(object)
	if err != nil {
		return d, err
	}
	d.Stores = map[credential.ShortID]bool{}
	for naming := range stores {
		d.Stores[naming.Store()] = true
	}
	d.Count, err = r.Drop(d.Changes)
	return d, err
}

// Drop forgets all credentials that have changed, as DropCredential does.
func (r *Registry) Drop(c Changes) (count int, err error) {
	return r.drop(c, func(cs *credentialStore) int { return cs.drop(c) })
}

// Verify makes every cached credential expire, so that it is looked up before it is used
// again. It is for a process that may have missed news of changes. While a store can't
// answer, its credentials are resurrected like others past their ttl.
func (r *Registry) Verify() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, cs := range r.stores {
		cs.cache.Verify()
	}
}

// storesOf are the stores that an object's name stands for, each with its open
// credentialStore or nil. An empty name stands for all objects. d has the Bound of a drop
// in these stores.
func (r *Registry) storesOf(object string) (stores map[credential.Naming]*credentialStore, d Dropped, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	stores = map[credential.Naming]*credentialStore{}
	for name, definition := range r.node.all() {
		if name == object || object == "" {
			stores[credential.NewNaming(definition.identity())] = nil
			d.Bound = max(d.Bound, changeBound(definition.limits()))
		}
	}
	for _, cs := range r.stores {
		if _, named := stores[cs.naming]; named || cs.name == object || object == "" {
			stores[cs.naming] = cs
			d.Bound = max(d.Bound, cs.bound)
		}
	}
	if len(stores) == 0 && object != "" {
		known := slices.Sorted(maps.Keys(r.node.all()))
		return nil, d, fmt.Errorf("%w %q: this plugin server knows %s", ErrUnknownObject, object, cmp.Or(strings.Join(known, ", "), "none: set VAULT_AUTH_VAULTS_FILE or KONG_VAULT_ variables in its environment"))
	}
	return stores, d, nil
}

// changeBound is how long a credential that has changed may still be served from memory if
// nobody drops it.
func changeBound(l *secretstore.Limits) time.Duration {
	d := l.MaxTTL.Duration() // a record may have this ttl
	if every := l.RevocationInterval.Duration(); every > 0 {
		d = min(d, every)
	}
	return d
}

// drop calls forget for each store that is open or still writes its snapshot, and then
// makes its snapshot forget too. At last it cleans the snapshots of objects that nobody
// has opened yet. count is the sum of what forget returns.
func (r *Registry) drop(c Changes, forget func(*credentialStore) int) (count int, err error) {
	done := map[*credentialStore]bool{}
	for {
		r.mu.Lock()
		news := r.holders(done)
		if len(news) == 0 { // mu is kept, so that no store is opened with a snapshot before it is cleaned
			err = errors.Join(err, r.cleanSnapshots(c))
			r.mu.Unlock()
			return count, err
		}
		r.mu.Unlock()
		for _, cs := range news {
			count += forget(cs)
			err = errors.Join(err, cs.snapshots.flush())
			done[cs] = true
		}
	}
}

// holders are the stores that may hold credentials, in memory or in a snapshot: those that
// are open, and those that are being closed. It leaves out those in done. r.mu is held.
func (r *Registry) holders(done map[*credentialStore]bool) (news []*credentialStore) {
	add := func(cs *credentialStore) {
		if !done[cs] && !slices.Contains(news, cs) {
			news = append(news, cs)
		}
	}
	for _, cs := range r.stores {
		add(cs)
	}
	r.keepers.Range(func(_, keeper any) bool {
		add(keeper.(*snapshots).store)
		return true
	})
	return news
}

// drop forgets the credentials of this store that have changed.
func (cs *credentialStore) drop(c Changes) int {
	all := c.Stores[cs.naming.Store()] || c.Stores[cs.place.Store()]
	return cs.cache.InvalidateMatching(
		func(key string, known *credential.Credential) bool {
			return all || c.Credentials[known.ShortID()] || c.placed(cs.place, key)
		},
		func(key, name string) bool {
			return all || c.Credentials[cs.naming.ShortID(key)] || c.Credentials[cs.naming.ShortID(name)] || c.placed(cs.place, key)
		})
}

// cleanSnapshots removes what has changed from the snapshots of stores that aren't open.
// Otherwise it would be restored when the store is opened. r.mu is held.
func (r *Registry) cleanSnapshots(c Changes) (err error) {
	for _, d := range r.node.all() {
		f := d.snapshot()
		if _, kept := r.keepers.Load(f.Path); kept || f.Path == "" {
			continue
		}
		place := r.kinds.placeOf(d.Config)
		all := c.Stores[credential.NewNaming(f.Store).Store()] || c.Stores[place.Store()]
		err = errors.Join(err, f.Filter(time.Now(), r.started, func(s snapshot.Record) bool {
			return !all && !c.Credentials[s.Credential.Credential().ShortID()] && !c.placed(place, s.Key)
		}))
	}
	return err
}
