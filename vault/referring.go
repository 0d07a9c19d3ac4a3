package vault

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kong-vault-auth/cache"
	"kong-vault-auth/secretstore"
)

// An object inside a plugin's configuration may have its login in a vault of Kong's:
// token: "{vault://azure/vault-token/value}". Kong resolves the reference when it starts
// the plugin's instance, and starts no other one when the secret rotates. So where this
// node defines a vault of the same name, the reference is read here too: at that vault's
// ttl, and when the store refuses the login. Requests never wait for it.
//
// Only what Kong has had is read here, or the author of a configuration could have a
// secret that Kong itself can't read sent to a host of their choice.

// referring is such an object, as one owner has it configured. All of the owner's
// instances share it. Its fields are guarded by Registry.mu.
type referring struct {
	referringKey
	family [sha256.Size]byte // the same for objects whose references and stores are the same
	scope  Scope
	refs   map[string]string // references to vaults, by field
	given  Definition        // with the values that Kong has handed over last
	users  int

	bound    atomic.Pointer[binding]
	now      Definition // that it is bound to
	release  func()     // nil: it is bound to an error
	resolved bool       // what it is bound to was read here
	problem  string     // why that failed the last time
}

type referringKey struct {
	owner    string
	settings [sha256.Size]byte
}

// references are those of an inline object that may have to be read here: to any vault
// but Kong's env, whose variables never change.
func (d *Definition) references() map[string]string {
	refs := map[string]string{}
	for _, f := range fieldsOf(d.Config) {
		if r, err := ParseReference(d.Refs[f.Name]); err == nil && f.Referenceable && r.Vault != "env" {
			refs[f.Name] = d.Refs[f.Name]
		}
	}
	return refs
}

// withReferences is a digest of settings with references in place of what they stand
// for, and without what without names.
func (d *Definition) withReferences(key []byte, refs map[string]string, without ...string) (sum [sha256.Size]byte) {
	values := valuesOf(d.Config)
	for field, reference := range refs {
		values[field] = reference
	}
	for _, field := range without {
		delete(values, field)
	}
	mac := hmac.New(sha256.New, key)
	_ = json.NewEncoder(mac).Encode([]any{d.Config.Kind(), d.Node, values, refs}) // decoded JSON can always be encoded
	mac.Sum(sum[:0])
	return sum
}

// blank reports whether Kong couldn't say what a reference stands for.
func (d *Definition) blank(refs map[string]string) bool {
	values := valuesOf(d.Config)
	for field := range refs {
		if values[field] == "" {
			return true
		}
	}
	return false
}

// openReferring returns the object d, with these references. It uses what Kong has
// handed over until they have been read here. mu is held; replaced must be called
// without it.
func (r *Registry) openReferring(owner string, d Definition, refs map[string]string, scope Scope) (object *Object, release, replaced func(), err error) {
	key := referringKey{owner, d.withReferences(r.key, refs)}
	o := r.referring[key]
	if o == nil {
		var limits []string
		for _, f := range fieldsOf(d.limits()) {
			if f.Name != "base64_decode" {
				limits = append(limits, f.Name)
			}
		}
		o = &referring{referringKey: key, family: d.withReferences(r.key, refs, limits...), scope: scope, refs: refs, given: d}
	}
	blank := d.blank(refs)
	if !blank {
		o.given = d
		for _, reference := range refs {
			r.secrets.had.note(reference)
		}
	}
	if !o.resolved && !(blank && o.release != nil) {
		if replaced, err = r.bindReferring(o, d); err != nil {
			if !blank {
				return nil, nil, nil, err
			}
			if r.mayResolve(o) {
				err = &UnavailableError{Object: d.Name, Reason: "unavailable", RetryAfter: time.Second, Err: errors.New("the references of its login, which Kong could not resolve, have not been read here yet")}
			}
			// Kong starts no other instance when the secret turns up, but its vault asks
			// for it again: from then on it may be read here.
			o.bound.Store(&binding{err: err})
		}
	}
	r.referring[key] = o
	o.users++
	r.node.keep()
	r.node.logins.wakeUp()
	return &Object{name: d.Name, bound: &o.bound}, r.closeReferring(o), replaced, nil
}

func (r *Registry) closeReferring(o *referring) func() {
	return sync.OnceFunc(func() {
		r.mu.Lock()
		o.users--
		release := o.release
		if o.users > 0 {
			release = nil
		} else {
			delete(r.referring, o.referringKey)
		}
		r.mu.Unlock()
		if release != nil {
			release()
		}
	})
}

// bindReferring has an object log in as d says. mu is held; replaced must be called
// without it.
func (r *Registry) bindReferring(o *referring, d Definition) (replaced func(), err error) {
	if o.release != nil && reflect.DeepEqual(o.now.Config, d.Config) {
		return nil, nil
	}
	warnings, err := secretstore.Check(d.Name, d.Config, r.inline.origin(d))
	if err != nil {
		return nil, err
	}
	l, release, err := r.useAs(o.owner, func(owner string) bool { return r.related(o, owner) }, d)
	if err != nil {
		return nil, err
	}
	if o.release == nil {
		r.warn(d.Name, warnings)
	}
	o.bound.Store(r.bind(l, d))
	replaced, o.release, o.now = o.release, release, d
	return replaced, nil
}

// related reports whether an owner has an object with the same references to the same
// store: the login of all of them rotates at once, and the cache stays.
func (r *Registry) related(o *referring, owner string) bool {
	if owner == "" || owner == o.owner {
		return owner != ""
	}
	for key, other := range r.referring {
		if key.owner == owner && other.family == o.family {
			return true
		}
	}
	return false
}

// mayResolve reports whether Kong has had what an object's references stand for, for
// this object or another, or the node trusts the object as much as its own. mu is held.
func (r *Registry) mayResolve(o *referring) bool {
	if o.given.Node {
		return true
	}
	for _, reference := range o.refs {
		if !r.secrets.had.noted(reference) && !r.secrets.had.noted(r.askedAs(reference)) {
			return false
		}
	}
	return true
}

// askedAs is how an answer to Kong is noted that is what a reference stands for. mu is
// held.
func (r *Registry) askedAs(reference string) string {
	ref, _ := ParseReference(reference) // references has read it
	d, ok := r.node.all()[ref.Vault]
	version, err := versionOf(ref.Version, ref.Options.Get("version"))
	if !ok || err != nil {
		return ""
	}
	return answerTo(d, ref.Resource, version)
}

func answerTo(d Definition, name string, v secretstore.Version) string {
	return d.identity() + secretKey{name, v}.String()
}

// maxHad bounds how much is remembered of what Kong has had. What is beyond is only
// missed where Kong hands over a blank.
const maxHad = 10_000

// had is what Kong has had: references, and answers to its vaults.
type had struct {
	mu  sync.Mutex
	set map[string]bool
}

func (h *had) note(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.set == nil {
		h.set = map[string]bool{}
	}
	if len(h.set) < maxHad {
		h.set[what] = true
	}
}

func (h *had) noted(what string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.set[what]
}

// readReferring reads the references of all such objects, those of stores that have
// refused their login from the vaults themselves. It returns when to do so again.
func (r *Registry) readReferring(ctx context.Context, refused map[string]bool) (next time.Duration) {
	next = kongRotation
	r.mu.Lock()
	objects := slices.Collect(maps.Values(r.referring))
	r.mu.Unlock()
	for _, o := range objects {
		r.mu.Lock()
		given, may, again := o.given, r.mayResolve(o), o.release != nil && refused[o.now.identity()]
		r.mu.Unlock()
		if !may || !r.definesAll(o.refs) {
			r.leaveToKong(o)
			continue
		}
		if again {
			r.secrets.refresh(ctx, o.refs)
		}
		complete, err := r.secrets.completed(given, o.refs, r.inline.origin(given), func(reference string) (string, error) {
			return r.secrets.getFor(ctx, o.scope, reference)
		})
		if ctx.Err() != nil {
			return loginRetry // it says nothing of the login
		}
		problem, isNew := r.useReferring(o, complete, err)
		if r.told.first(given.Name, problem) && isNew {
			r.options.Logger.Error("the login of a plugin's own vault object can't be read again; what it has stays in use, and what else needs it fails (correct the reference, or put the secret back)",
				"vault", given.Name, "reason", "config", "err", problem)
		}
		if err != nil {
			next = min(next, loginRetry)
		}
		next = min(next, max(minLoginTTL, r.secrets.ttlOfLogin(o.refs)))
	}
	return next
}

// useReferring has an object log in as complete says, unless err is why that couldn't be
// read. It returns what is wrong, if something is.
func (r *Registry) useReferring(o *referring, complete Definition, err error) (problem string, isNew bool) {
	r.mu.Lock()
	var replaced func()
	if r.referring[o.referringKey] == o && !r.closed {
		if err == nil {
			replaced, err = r.bindReferring(o, complete)
			o.resolved = err == nil
		}
		if err != nil {
			problem = err.Error()
			o.resolved = o.resolved && !errors.Is(err, ErrForbidden) && !errors.Is(err, secretstore.ErrConfig)
			if o.release == nil {
				o.bound.Store(&binding{err: unreadable(o.given.Name, "login", err)})
			}
		}
		isNew, o.problem = problem != o.problem, problem
	}
	r.mu.Unlock()
	if replaced != nil {
		replaced()
	}
	return problem, isNew
}

// leaveToKong has what Kong hands over next count.
func (r *Registry) leaveToKong(o *referring) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o.resolved = false
}

// unreadable is why an object whose login can't be read can't be used: a mistake, or an
// outage.
func unreadable(object, setting string, err error) error {
	if errors.Is(err, cache.ErrAbsent) || errors.Is(err, ErrForbidden) || errors.Is(err, secretstore.ErrConfig) {
		return configError(object, setting, err)
	}
	return &UnavailableError{Object: object, Reason: reasonOf(err), RetryAfter: loginRetry, Err: err}
}

// definesAll reports whether this node defines the vaults of references. One that it
// doesn't is reported once.
func (r *Registry) definesAll(refs map[string]string) bool {
	all := true
	for _, field := range slices.Sorted(maps.Keys(refs)) {
		ref, _ := ParseReference(refs[field]) // references has read it
		if _, err := r.node.definition(ref.Vault); err == nil {
			continue
		}
		all = false
		if r.told.first("the vault "+ref.Vault, "unknown") {
			r.options.Logger.Warn("a plugin's own vault object has its login in a vault that this node doesn't define, so a rotation is seen only when Kong starts the plugin's instance again; "+
				"define it in VAULT_AUTH_VAULTS_FILE, under the prefix that it has in Kong", "reason", "config", "reference", strings.TrimSpace(refs[field]))
		}
	}
	return all
}
