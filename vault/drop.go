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

// ErrUnknownObject is matched by the error about a vault object that this process
// neither defines nor uses.
var ErrUnknownObject = errors.New("unknown vault object")

// Changes are what is known to have changed in stores.
type Changes struct {
	Credentials map[credential.ShortID]bool // and what they are cached by
	Stores      map[credential.ShortID]bool // all credentials of these
	// Placed are credentials by their key and their store's place, see Defined.Changed.
	Placed map[credential.ShortID]bool
}

// placed reports whether the credential of that key is among Placed.
func (c Changes) placed(place credential.Naming, key string) bool {
	return len(c.Placed) > 0 && c.Placed[place.ShortID(key)]
}

// placeOf names a store by where it is. Unlike its identity, that can be known without
// knowing who logs in.
func (k kinds) placeOf(c secretstore.Config) credential.Naming {
	where := c.Identity()
	if kind, _ := k.named(c.Kind()); kind.Where > 0 {
		where = where[:kind.Where]
	}
	b, _ := json.Marshal(where) // strings can always be marshalled
	return credential.NewNaming("place " + string(b))
}

// Dropped is what a drop concerns.
type Dropped struct {
	Changes               // for the other nodes
	Count   int           // how many credentials were in memory here
	Bound   time.Duration // after which a node that hears nothing has noticed
}

// DropCredential forgets what this process knows of an object's credential, in memory
// and in snapshots: the next request with it asks the store, and lookups under way may not
// store their answers. After an error that isn't ErrUnknownObject, a snapshot may still
// hold it.
func (r *Registry) DropCredential(object, accessToken string) (Dropped, error) {
	stores, d, err := r.storesOf(object)
	if err != nil {
		return d, err
	}
	d.Credentials = map[credential.ShortID]bool{}
	for naming, l := range stores {
		d.Credentials[naming.ShortID(accessToken)] = true
		if l != nil {
			d.Credentials[naming.ShortID(l.store.Load().Key(accessToken))] = true
		}
	}
	d.Count, err = r.drop(d.Changes, func(l *live) int {
		if _, ours := stores[l.naming]; !ours {
			return 0
		}
		if l.cache.Invalidate(l.store.Load().Key(accessToken)) {
			return 1
		}
		return 0
	})
	return d, err
}

// DropFingerprint is DropCredential where only the fingerprint is known.
func (r *Registry) DropFingerprint(object string, id credential.ShortID) (Dropped, error) {
	_, d, err := r.storesOf(object)
	if err != nil {
		return d, err
	}
	d.Credentials = map[credential.ShortID]bool{id: true}
	d.Count, err = r.Drop(d.Changes)
	return d, err
}

// DropObject forgets all credentials of an object's store.
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

// Drop forgets what this process knows of all that is said to have changed.
func (r *Registry) Drop(c Changes) (count int, err error) {
	return r.drop(c, func(l *live) int { return l.drop(c) })
}

// Verify has every cached credential looked up before it is used again, because news
// may have been missed. While a store can't answer, they are used as those past their
// ttl are.
func (r *Registry) Verify() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lives {
		l.cache.Verify()
	}
}

// storesOf is the stores that an object's name stands for, with the open one if there
// is one. Without a name it is all of them.
func (r *Registry) storesOf(object string) (stores map[credential.Naming]*live, d Dropped, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	stores = map[credential.Naming]*live{}
	for name, definition := range r.node.all() {
		if name == object || object == "" {
			stores[credential.NewNaming(definition.identity())] = nil
			d.Bound = max(d.Bound, bound(definition.limits()))
		}
	}
	for _, l := range r.lives {
		if _, named := stores[l.naming]; named || l.name == object || object == "" {
			stores[l.naming] = l
			d.Bound = max(d.Bound, l.bound)
		}
	}
	if len(stores) == 0 && object != "" {
		known := slices.Sorted(maps.Keys(r.node.all()))
		return nil, d, fmt.Errorf("%w %q: this plugin server knows %s", ErrUnknownObject, object, cmp.Or(strings.Join(known, ", "), "none: set VAULT_AUTH_VAULTS_FILE or KONG_VAULT_ variables in its environment"))
	}
	return stores, d, nil
}

// bound is how long a credential that has changed may work on where nobody says so.
func bound(l *secretstore.Limits) time.Duration {
	d := l.MaxTTL.Duration() // a record may ask for that
	if every := l.RevocationInterval.Duration(); every > 0 {
		d = min(d, every)
	}
	return d
}

// drop has each store that is open, or whose snapshot is still being written, forget by
// means of forget, and its snapshot too; then the snapshots of objects that nobody has
// opened yet.
func (r *Registry) drop(c Changes, forget func(*live) int) (count int, err error) {
	done := map[*live]bool{}
	for {
		r.mu.Lock()
		news := r.holders(done)
		if len(news) == 0 { // nobody can open one meanwhile
			err = errors.Join(err, r.cleanSnapshots(c))
			r.mu.Unlock()
			return count, err
		}
		r.mu.Unlock()
		for _, l := range news {
			count += forget(l)
			err = errors.Join(err, l.snapshots.flush())
			done[l] = true
		}
	}
}

// holders are the open stores, and those that are being closed, but those in done. r.mu
// is held.
func (r *Registry) holders(done map[*live]bool) (news []*live) {
	add := func(l *live) {
		if !done[l] && !slices.Contains(news, l) {
			news = append(news, l)
		}
	}
	for _, l := range r.lives {
		add(l)
	}
	r.keepers.Range(func(_, keeper any) bool {
		add(keeper.(*snapshots).live)
		return true
	})
	return news
}

// drop forgets what has changed of this store.
func (l *live) drop(c Changes) int {
	all := c.Stores[l.naming.Store()] || c.Stores[l.place.Store()]
	return l.cache.InvalidateMatching(
		func(key string, known *credential.Credential) bool {
			return all || c.Credentials[known.ShortID()] || c.placed(l.place, key)
		},
		func(key, name string) bool {
			return all || c.Credentials[l.naming.ShortID(key)] || c.Credentials[l.naming.ShortID(name)] || c.placed(l.place, key)
		})
}

// cleanSnapshots takes what has changed out of the snapshots that no open store keeps:
// they would be restored when a route uses the object. r.mu is held.
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
