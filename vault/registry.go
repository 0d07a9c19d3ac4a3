package vault

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"kong-vault-auth/blocklist"
	"kong-vault-auth/secretstore"
)

// A store without users stays open for as long as its cache can be useful, within
// these limits: Kong may close an instance and start a new one at any time, and a store
// that is no longer configured must revoke its Vault token within an hour.
const (
	minLinger = 10 * time.Minute
	maxLinger = 55 * time.Minute
)

// Options are settings of a Registry, and of a Defined. The zero value is usable for a
// Registry.
type Options struct {
	Logger         *slog.Logger            // nil: nothing is logged
	UserAgent      string                  // sent by stores, kong-vault-auth/VERSION
	Getenv         func(key string) string // the environment; nil: os.Getenv
	LookupTimeout  time.Duration           // the lookup deadline; 0: 2 s
	MaxCredentials int                     // cached per store; 0: 100,000
	Blocked        *blocklist.List         // credentials that are refused whatever the store says; nil: none

	SecretPolicy *SecretPolicy // which secrets may be read through references; nil: all but credentials
	// SecretsSnapshot is the file that keeps the secrets that references name, for a
	// start while a store can't answer, and SecretsSnapshotKey the file with its key.
	// Empty: there is no such snapshot.
	SecretsSnapshot, SecretsSnapshotKey string
	// ReadSnapshotOnly is for processes that only read SecretsSnapshot: the plugin
	// server writes it.
	ReadSnapshotOnly bool
}

// Registry holds the vault objects of a process. Kong may start and drop plugin
// instances at any time, so an instance owns nothing: the registry keeps one client, one
// login and one cache per store. It is safe for concurrent use.
type Registry struct {
	kinds   kinds
	options Options
	started time.Time
	key     []byte // for digests of login secrets
	inline  inlinePolicy
	secrets *Secrets
	logins  loginReader
	keepers sync.Map // see snapshots

	mu          sync.Mutex // guards what follows
	stores      map[storeKey]*credentialStore
	node        nodeObjects
	referencing map[referencingKey]*referencingObject
	closed      bool

	reportedRefs reported       // problems with the references of referencing objects
	closing      sync.WaitGroup // of stores that were replaced or that nobody uses
}

// storeKey identifies an open store: two objects share one if their keys are equal.
type storeKey struct {
	identity string
	node     bool              // the node defined it, so it may use the node's environment and files
	limited  bool              // the node limits where it may connect
	settings [sha256.Size]byte // see Definition.digest
}

// NewRegistry makes a registry and reads the vault objects that the node defines, from
// the file VAULT_AUTH_VAULTS_FILE and the environment. A mistake in them doesn't keep a
// plugin from starting: it is logged, and lookups in the object concerned return it. The
// file is watched until Close, so a correction needs no restart.
func NewRegistry(kinds []secretstore.Kind, o Options) *Registry {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	r := &Registry{
		kinds:   kinds,
		options: o,
		started: time.Now(),
		key:     make([]byte, sha256.Size),
		inline:  newInlinePolicy(kinds, o.Getenv),
		stores:  map[storeKey]*credentialStore{},

		referencing: map[referencingKey]*referencingObject{},
	}
	rand.Read(r.key)
	r.secrets = newSecrets(r, o.SecretPolicy)
	if o.SecretsSnapshot != "" {
		r.secrets.readSnapshot(o.SecretsSnapshot, o.SecretsSnapshotKey)
		if !o.ReadSnapshotOnly {
			r.secrets.keepSnapshot()
		}
	}
	r.logins.init(r)
	r.node.init(r)
	return r
}

var errNotOne = fmt.Errorf("%w: exactly one of config.vault and an object in the configuration itself must be set", secretstore.ErrConfig)

// Config says which vault object a plugin's configuration uses: exactly one of Vault
// and Inline is set.
type Config struct {
	Vault  string             // the name of an object that the node defines
	Inline secretstore.Config // an object in the configuration itself

	// Refs are the references in the inline object's fields, by field: $refs of Kong's
	// record. Kong has resolved them. A reference to a vault that the node defines too
	// is also resolved here, again and again, so that a rotation of the secret is seen.
	Refs map[string]string
	// Scope says which requests the plugin's configuration applies to.
	Scope Scope
}

// Open returns the object that c selects. It does no network I/O. The caller must call
// release when it no longer uses the object; calling it again does nothing.
//
// owner is the plugin's id. If an owner opens an inline object again with another login
// secret, because the plugin was edited, and no other owner has the object open, its
// cache stays and only the login changes. Another owner with another secret gets a cache
// of its own. An empty owner is never the same as another one.
//
// Errors match secretstore.ErrConfig. An undefined or invalid name is not an error here: the
// returned object's Lookup reports it until the definition is corrected.
func (r *Registry) Open(owner string, c Config) (object *Object, release func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, nil, fmt.Errorf("%w: the registry is closed", secretstore.ErrConfig)
	}
	if c.Vault != "" {
		if c.Inline != nil {
			return nil, nil, errNotOne
		}
		object, release = r.node.open(c.Vault, c.Scope)
		return object, release, nil
	}
	d, err := r.inline.definition(c, r.options.Getenv)
	if err != nil {
		return nil, nil, err
	}
	if refs := d.references(); len(refs) > 0 {
		return r.openReferencing(owner, d, refs, c.Scope)
	}
	return r.openInline(owner, d)
}

// openInline opens an inline object without references. mu is held.
func (r *Registry) openInline(owner string, d Definition) (object *Object, release func(), err error) {
	warnings, err := secretstore.Check(d.Name, d.Config, r.inline.origin(d))
	if err != nil {
		return nil, nil, err
	}
	cs, leave, err := r.use(owner, d)
	if err != nil {
		return nil, nil, err
	}
	r.warn(d.Name, warnings)
	bound := &atomic.Pointer[binding]{}
	bound.Store(r.bindingOf(cs, d))
	return &Object{name: d.Name, bound: bound}, r.releaser(leave), nil
}

// bindingOf is the binding of an object whose definition is d and whose store is cs.
func (r *Registry) bindingOf(cs *credentialStore, d Definition) *binding {
	return &binding{store: cs, allowed: d.allowed, policy: policyOf(d.limits(), r.options.LookupTimeout)}
}

func (r *Registry) warn(object string, warnings []string) {
	for _, w := range warnings {
		r.options.Logger.Warn("vault object: "+w, "vault", object, "reason", "config")
	}
}

// use makes owner a user of d's store, and opens the store if necessary. d is valid. leave
// is as for join. mu is held.
func (r *Registry) use(owner string, d Definition) (cs *credentialStore, leave func(), err error) {
	return r.useAs(owner, func(other string) bool { return owner != "" && other == owner }, d)
}

// useAs is use, where own tells which owners may hand their store over to this one: if
// only they use the store that d replaces, its cache stays and only its login changes.
func (r *Registry) useAs(owner string, own func(owner string) bool, d Definition) (cs *credentialStore, leave func(), err error) {
	reach := r.reach(d)
	key := storeKey{identity: d.identity(), node: d.Node, limited: reach != secretstore.Reach{}, settings: d.digest(r.key)}
	cs = r.stores[key]
	if cs == nil {
		s, err := r.openStore(d, key.identity, reach)
		if err != nil {
			return nil, nil, err
		}
		if cs = r.predecessor(own, key); cs != nil {
			r.reconnect(cs, key, s)
		} else {
			cs = newCredentialStore(key.identity, s, r.options.Logger.With("vault", d.Name), r.options.MaxCredentials)
			cs.key, cs.name, cs.number, cs.config, cs.blocked = key, d.Name, r.number(d.Name), d.Config, r.options.Blocked
			cs.place, cs.onError = r.kinds.placeOf(d.Config), r.logins.noteRefusal
			cs.snapshots = newSnapshots(cs, r.started, &r.keepers)
			cs.snapshots.restore(d.snapshot(), policyOf(d.limits(), r.options.LookupTimeout))
			r.stores[key] = cs
		}
	}
	return cs, r.join(cs, owner, d), nil
}

// reach is where d's store may connect.
func (r *Registry) reach(d Definition) secretstore.Reach {
	if d.Inline {
		return r.inline.reach
	}
	return secretstore.Reach{}
}

func (r *Registry) openStore(d Definition, identity string, reach secretstore.Reach) (secretstore.Store, error) {
	o := secretstore.OpenOptions{
		Name:      d.Name,
		Identity:  identity,
		UserAgent: r.options.UserAgent,
		TrustNode: d.Node,
		Kong:      d.Kong,
		Logger:    r.options.Logger,
		Reach:     reach,
	}
	kind, ok := r.kinds.named(d.Config.Kind())
	if !ok {
		return nil, fmt.Errorf("%w of %q: this program has no store named %s", secretstore.ErrConfig, d.Name, d.Config.Kind())
	}
	return kind.Open(d.Config, o)
}

// predecessor is an open store that differs from key only in its settings and that only
// own owners use, so that key may take over its cache. It may be nil.
func (r *Registry) predecessor(own func(owner string) bool, key storeKey) *credentialStore {
	for k, cs := range r.stores {
		if k.identity == key.identity && k.node == key.node && k.limited == key.limited && cs.usedOnlyBy(own) {
			return cs
		}
	}
	return nil
}

// reconnect gives cs another connection and key, and closes the old connection.
func (r *Registry) reconnect(cs *credentialStore, key storeKey, s secretstore.Store) {
	delete(r.stores, cs.key)
	cs.key = key
	r.stores[key] = cs
	old := cs.conn.Swap(&connection{Store: s})
	r.closing.Go(func() { cs.logCloseError(old.retire()) })
}

// closeIdle closes cs unless it has been used since the timer was set.
func (r *Registry) closeIdle(cs *credentialStore) {
	r.mu.Lock()
	if r.closed || len(cs.uses) > 0 || time.Since(cs.idleSince) < cs.linger {
		r.mu.Unlock()
		return
	}
	delete(r.stores, cs.key)
	r.closing.Add(1)
	r.mu.Unlock()
	defer r.closing.Done()
	cs.logCloseError(cs.close())
}

// Close closes all stores and caches, and waits until they have revoked their Vault
// tokens. Later lookups fail, except those that the cache can answer.
func (r *Registry) Close() {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	r.closed = true
	for key, cs := range r.stores {
		delete(r.stores, key)
		r.closing.Go(func() { cs.logCloseError(cs.close()) })
	}
	r.mu.Unlock()
	r.node.stop()
	r.secrets.close()
	r.closing.Wait()
}
