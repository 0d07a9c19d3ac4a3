package vault

import (
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"kong-vault-auth/secretstore"
)

// Objects inside a plugin's configuration whose login is in another vault, see logins.go.
//
// The reference is to a vault of Kong's. Kong resolves it when it starts the plugin's
// instance, and starts no other instance when the secret rotates. So where this node
// defines a vault of the same name, the reference is read here too.
//
// Only what Kong has read itself is read here (see mayResolve). Otherwise the author of a
// configuration could have a secret that Kong can't read sent to a host of their choice.

// referencingObject is such an object, as one owner has it configured. All instances of
// the owner share it. Its fields are guarded by Registry.mu.
type referencingObject struct {
	referencingKey
	family   [sha256.Size]byte // equal for objects with the same references to the same store
	scope    Scope
	refs     map[string]string // references to vaults, by field
	fromKong Definition        // with the values that Kong has handed over last

	sharedObject
	readHere bool   // the login of current was read here, and not handed over by Kong
	problem  string // why the last read failed; empty: it didn't
}

type referencingKey struct {
	owner    string
	settings [sha256.Size]byte // see Definition.referencesDigest
}

// references are the references of an inline object that may have to be read here: those
// to any vault but Kong's env, whose variables never change.
func (d *Definition) references() map[string]string {
	refs := map[string]string{}
	for _, f := range fieldsOf(d.Config) {
		if r, err := ParseReference(d.Refs[f.Name]); err == nil && f.Referenceable && r.Vault != "env" {
			refs[f.Name] = d.Refs[f.Name]
		}
	}
	return refs
}

// referencesDigest is a digest of the settings, with references in place of what they
// stand for, and without some fields.
func (d *Definition) referencesDigest(key []byte, refs map[string]string, without []string) [sha256.Size]byte {
	values := valuesOf(d.Config)
	for field, reference := range refs {
		values[field] = reference
	}
	for _, field := range without {
		delete(values, field)
	}
	return digestOf(key, []any{d.Config.Kind(), d.Node, values, refs})
}

// unresolved reports whether Kong could not resolve one of the references: it then hands
// over an empty string.
func (d *Definition) unresolved(refs map[string]string) bool {
	values := valuesOf(d.Config)
	for field := range refs {
		if values[field] == "" {
			return true
		}
	}
	return false
}

// openReferencing opens an inline object with these references. It uses what Kong has
// handed over until they were read here. mu is held.
func (r *Registry) openReferencing(owner string, d Definition, refs map[string]string, scope Scope) (object *Object, release func(), err error) {
	key := referencingKey{owner, d.referencesDigest(r.key, refs, nil)}
	o := r.referencing[key]
	if o == nil {
		family := d.referencesDigest(r.key, refs, d.limitFields())
		o = &referencingObject{referencingKey: key, family: family, scope: scope, refs: refs, fromKong: d}
	}
	unresolved := d.unresolved(refs)
	if !unresolved {
		o.fromKong = d
		for _, reference := range refs {
			r.secrets.knownToKong.add(reference)
		}
	}
	if !o.readHere && !(unresolved && o.leave != nil) {
		if err := r.bindReferencing(o, d); err != nil {
			if !unresolved {
				return nil, nil, err
			}
			if r.mayResolve(o) {
				err = &UnavailableError{Object: d.Name, Reason: "unavailable", RetryAfter: time.Second, Err: errors.New("the references of its login, which Kong could not resolve, have not been read here yet")}
			}
			// Kong starts no other instance when the secret turns up, but its vault asks
			// for it again. From then on it may be read here, so the object stays open.
			o.bound.Store(&binding{err: err})
		}
	}
	r.referencing[key] = o
	release = r.addUser(&o.sharedObject, func() { delete(r.referencing, key) })
	r.logins.start()
	r.logins.wakeUp()
	return &Object{name: d.Name, bound: &o.bound}, release, nil
}

// bindReferencing binds an object to the store of d, whose references are resolved. mu is
// held.
func (r *Registry) bindReferencing(o *referencingObject, d Definition) error {
	if o.leave != nil && reflect.DeepEqual(o.current.Config, d.Config) {
		return nil
	}
	warnings, err := secretstore.Check(d.Name, d.Config, r.inline.origin(d))
	if err != nil {
		return err
	}
	cs, leave, err := r.useAs(o.owner, func(owner string) bool { return r.related(o, owner) }, d)
	if err != nil {
		return err
	}
	if o.leave == nil {
		r.warn(d.Name, warnings)
	}
	o.bind(r.bindingOf(cs, d), leave, d)
	return nil
}

// related reports whether an owner has an object with the same references to the same
// store as o. The logins of all these rotate together, so they keep their cache.
func (r *Registry) related(o *referencingObject, owner string) bool {
	if owner == "" || owner == o.owner {
		return owner != ""
	}
	for key, other := range r.referencing {
		if key.owner == owner && other.family == o.family {
			return true
		}
	}
	return false
}

// mayResolve reports whether this node may read the references of an object: Kong has
// read them, for this object or another one, or the node trusts the object like its own.
// mu is held.
func (r *Registry) mayResolve(o *referencingObject) bool {
	if o.fromKong.Node {
		return true
	}
	for _, reference := range o.refs {
		if !r.secrets.knownToKong.has(reference) && !r.secrets.knownToKong.has(r.askedSecret(reference)) {
			return false
		}
	}
	return true
}

// askedSecret is how an answer to Kong (Secrets.Ask) is noted in knownToKong if it was
// the secret that a reference names. It is empty if the reference names nothing that this
// node can read. mu is held.
func (r *Registry) askedSecret(reference string) string {
	ref, _ := ParseReference(reference) // references has parsed it
	d, ok := r.node.definition(ref.Vault)
	version, err := versionOf(ref.Version, ref.Options.Get("version"))
	if !ok || err != nil {
		return ""
	}
	return answeredSecret(d, ref.Resource, version)
}

func answeredSecret(d Definition, name string, v secretstore.Version) string {
	return d.identity() + secretKey{name, v}.String()
}

// maxKnownToKong limits the memory of knownToKong. What is not noted matters only if Kong
// later can't resolve a reference to it.
const maxKnownToKong = 10_000

// knownToKong notes which secrets Kong has read: references that it has resolved, and
// secrets that its vaults were given here (answeredSecret). The zero value is ready to
// use, and safe for concurrent use.
type knownToKong struct {
	mu  sync.Mutex
	set map[string]bool
}

func (k *knownToKong) add(secret string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.set == nil {
		k.set = map[string]bool{}
	}
	if len(k.set) < maxKnownToKong {
		k.set[secret] = true
	}
}

func (k *knownToKong) has(secret string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.set[secret]
}

// inlineLogins are the logins of inline objects that are to be read here.
func (r *Registry) inlineLogins() (all []login) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.referencing {
		if !r.mayResolve(o) || !r.definesAll(o.refs) {
			o.readHere = false // what Kong hands over next is used
			continue
		}
		given, identity := o.fromKong, ""
		if o.leave != nil {
			identity = o.current.identity()
		}
		all = append(all, login{
			refs:     o.refs,
			identity: identity,
			read: func(ctx context.Context) (Definition, error) {
				return r.secrets.resolveFields(given, o.refs, r.inline.origin(given), func(reference string) (string, error) {
					return r.secrets.getFor(ctx, o.scope, reference)
				})
			},
			set: func(resolved Definition, err error) { r.setInlineLogin(o, resolved, err) },
		})
	}
	return all
}

// setInlineLogin binds an object to its definition with its login. err is why that could
// not be read; the object then keeps the login that it has.
func (r *Registry) setInlineLogin(o *referencingObject, resolved Definition, err error) {
	r.mu.Lock()
	if r.referencing[o.referencingKey] != o || r.closed {
		r.mu.Unlock()
		return
	}
	if err == nil {
		err = r.bindReferencing(o, resolved)
		o.readHere = err == nil
	}
	problem := ""
	if err != nil {
		problem = err.Error()
		o.readHere = o.readHere && !errors.Is(err, ErrForbidden) && !errors.Is(err, secretstore.ErrConfig)
		if o.leave == nil {
			o.bound.Store(&binding{err: loginError(o.fromKong.Name, "login", err)})
		}
	}
	changed := problem != o.problem
	o.problem = problem
	name := o.fromKong.Name
	r.mu.Unlock()
	// Several objects may have the same name and the same problem.
	if r.reportedRefs.first(name, problem) && changed {
		r.options.Logger.Error("the login of a plugin's own vault object can't be read again; the object keeps the login that it has, and without one its lookups fail (correct the reference, or put the secret back)",
			"vault", name, "reason", "config", "err", problem)
	}
}

// definesAll reports whether this node defines the vaults that references name. One that
// it doesn't is logged once. mu is held.
func (r *Registry) definesAll(refs map[string]string) bool {
	all := true
	for _, field := range slices.Sorted(maps.Keys(refs)) {
		ref, _ := ParseReference(refs[field]) // references has parsed it
		if _, defined := r.node.definition(ref.Vault); defined {
			continue
		}
		all = false
		if r.reportedRefs.first("the vault "+ref.Vault, "unknown") {
			r.options.Logger.Warn("a plugin's own vault object has its login in a vault that this node doesn't define, so a rotation is seen only when Kong starts the plugin's instance again; "+
				"define it in VAULT_AUTH_VAULTS_FILE, under the prefix that it has in Kong", "reason", "config", "reference", strings.TrimSpace(refs[field]))
		}
	}
	return all
}
