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

// Options are what a registry needs in addition to the kinds of store. The zero value
// is usable.
type Options struct {
	Logger         *slog.Logger            // nil: nothing is logged
	UserAgent      string                  // sent by stores, kong-vault-auth/VERSION
	Getenv         func(key string) string // the environment; nil: os.Getenv
	LookupTimeout  time.Duration           // the lookup deadline; 0: 2 s
	MaxCredentials int                     // cached per store; 0: 100,000
	Blocked        *blocklist.List         // credentials that are refused whatever the store says; nil: none

	SecretPolicy *SecretPolicy // which secrets are handed out to references; nil: all but credentials
	// SecretsSnapshot is the file that keeps what references stood for, for a start while
	// a store can't answer, and SecretsSnapshotKey the file with its key. Empty: none.
	SecretsSnapshot, SecretsSnapshotKey string
	// ReadSnapshotOnly leaves the writing of it to the plugin server.
	ReadSnapshotOnly bool
}

// Registry holds the vault objects. Kong may start and drop plugin instances at any
// time, so clients, logins and caches belong to the process: a registry keeps one of
// each per store. It is safe for concurrent use.
type Registry struct {
	kinds   kinds
	options Options
	started time.Time
	key     []byte // for digests of login secrets
	inline  inlinePolicy
	secrets *Secrets // what references stand for
	keepers sync.Map // see snapshots

	mu    sync.Mutex
	lives map[liveKey]*live
	node  nodeObjects

	referring map[referringKey]*referring // see there
	told      reported                    // what is wrong with their references

	closed bool

	closing sync.WaitGroup // of stores that were replaced or that nobody uses
}

// liveKey identifies a store: two objects share it if their keys are equal.
type liveKey struct {
	identity string
	node     bool              // the node defined it, so it may use the node's environment and files
	limited  bool              // it may not connect everywhere
	settings [sha256.Size]byte // see Definition.digest
}

// NewRegistry makes a registry and reads the vault objects that the node defines, from
// the file VAULT_AUTH_VAULTS_FILE and the environment. It logs their problems, and
// lookups in the objects concerned report them, so a plugin can always start. The file
// is watched until Close: correcting it is enough.
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
		lives:   map[liveKey]*live{},

		referring: map[referringKey]*referring{},
	}
	rand.Read(r.key)
	r.secrets = newSecrets(r, o.SecretPolicy)
	if o.SecretsSnapshot != "" {
		r.secrets.readSnapshot(o.SecretsSnapshot, o.SecretsSnapshotKey)
		if !o.ReadSnapshotOnly {
			r.secrets.keepSnapshot()
		}
	}
	r.node.init(r)
	return r
}

var errNotOne = fmt.Errorf("%w: exactly one of config.vault and an object in the configuration itself must be set", secretstore.ErrConfig)

// Config says which vault object a plugin's configuration uses: exactly one of Vault
// and Inline is set.
type Config struct {
	Vault  string             // the name of an object that the node defines
	Inline secretstore.Config // an object in the configuration itself

	// Refs are the references in the inline object's fields, by field: $refs of
	// Kong's record. Those to vaults that the node defines too are read again when what
	// they stand for may have changed.
	Refs map[string]string
	// Scope says which requests the plugin's configuration applies to.
	Scope Scope
}

// Open returns the object that c selects. It does no network I/O. The caller must call
// release when it no longer uses the object; calling it again does nothing.
//
// owner is the plugin's id. If an owner opens an inline object again with another
// secret, because its configuration was edited, and no other owner has it open, the
// cache stays and only the login changes. No other owner gets access to that cache with
// another secret. An empty owner is never the same as another one.
//
// Errors match ErrConfig. An undefined or invalid name is not an error here: the
// returned object's Lookup reports it until the definition is corrected.
func (r *Registry) Open(owner string, c Config) (object *Object, release func(), err error) {
	r.mu.Lock()
	object, release, replaced, err := r.open(owner, c)
	r.mu.Unlock()
	if replaced != nil {
		replaced()
	}
	return object, release, err
}

// open is Open with mu held. replaced, which may be nil, must be called without it.
func (r *Registry) open(owner string, c Config) (object *Object, release, replaced func(), err error) {
	if r.closed {
		return nil, nil, nil, fmt.Errorf("%w: the registry is closed", secretstore.ErrConfig)
	}
	if c.Vault != "" {
		if c.Inline != nil {
			return nil, nil, nil, errNotOne
		}
		object, release = r.node.open(c.Vault, c.Scope)
		return object, release, nil, nil
	}
	d, err := r.inline.definition(c, r.options.Getenv)
	if err != nil {
		return nil, nil, nil, err
	}
	if refs := d.references(); len(refs) > 0 {
		return r.openReferring(owner, d, refs, c.Scope)
	}
	object, release, err = r.openInline(owner, d)
	return object, release, nil, err
}

// openInline returns the object d. mu is held.
func (r *Registry) openInline(owner string, d Definition) (object *Object, release func(), err error) {
	warnings, err := secretstore.Check(d.Name, d.Config, r.inline.origin(d))
	if err != nil {
		return nil, nil, err
	}
	l, release, err := r.use(owner, d)
	if err != nil {
		return nil, nil, err
	}
	r.warn(d.Name, warnings)
	bound := &atomic.Pointer[binding]{}
	bound.Store(r.bind(l, d))
	return &Object{name: d.Name, bound: bound}, release, nil
}

func (r *Registry) bind(l *live, d Definition) *binding {
	return &binding{live: l, allowed: d.Allowed, policy: policyOf(d.limits(), r.options.LookupTimeout)}
}

func (r *Registry) warn(object string, warnings []string) {
	for _, w := range warnings {
		r.options.Logger.Warn("vault object: "+w, "vault", object, "reason", "config")
	}
}

// use makes owner a user of d's store, and opens the store if necessary. d is valid.
// r.mu is held.
func (r *Registry) use(owner string, d Definition) (*live, func(), error) {
	return r.useAs(owner, func(other string) bool { return owner != "" && other == owner }, d)
}

// useAs is use where the cache stays, and only the login changes, if all who use the
// store are owner's own.
func (r *Registry) useAs(owner string, own func(owner string) bool, d Definition) (*live, func(), error) {
	reach := r.reach(d)
	key := liveKey{identity: d.identity(), node: d.Node, limited: reach != secretstore.Reach{}, settings: d.digest(r.key)}
	l := r.lives[key]
	if l == nil {
		s, err := r.openStore(d, key.identity, reach)
		if err != nil {
			return nil, nil, err
		}
		if l = r.successor(own, key); l != nil {
			r.replace(l, key, s)
		} else {
			l = newLive(key.identity, s, r.options.Logger.With("vault", d.Name), r.options.MaxCredentials)
			l.key, l.name, l.number, l.config, l.blocked = key, d.Name, r.number(d.Name), d.Config, r.options.Blocked
			l.place, l.failed = r.kinds.placeOf(d.Config), r.node.refusal
			l.snapshots = newSnapshots(l, r.started, &r.keepers)
			l.snapshots.restore(d.snapshot(), policyOf(d.limits(), r.options.LookupTimeout))
			r.lives[key] = l
		}
	}
	return l, r.join(l, owner, d), nil
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

// successor returns a store that only own owners have used and that differs from key
// only in its settings, so that key may take over its cache. It may be nil.
func (r *Registry) successor(own func(owner string) bool, key liveKey) *live {
	for k, l := range r.lives {
		if k.identity == key.identity && k.node == key.node && k.limited == key.limited && l.usedOnlyBy(own) {
			return l
		}
	}
	return nil
}

// replace gives l another store, known by key, and closes the old one.
func (r *Registry) replace(l *live, key liveKey, s secretstore.Store) {
	delete(r.lives, l.key)
	l.key = key
	r.lives[key] = l
	old := l.swap(s)
	r.closing.Go(func() { l.logCloseError(old.retire()) })
}

// closeIdle closes l unless it has been used since the timer was set.
func (r *Registry) closeIdle(l *live) {
	r.mu.Lock()
	if r.closed || len(l.uses) > 0 || time.Since(l.idle) < l.linger {
		r.mu.Unlock()
		return
	}
	delete(r.lives, l.key)
	r.closing.Add(1)
	r.mu.Unlock()
	defer r.closing.Done()
	l.logCloseError(l.close())
}

// logCloseError logs an error from closing the store, which can only mean that its
// Vault token could not be revoked.
func (l *live) logCloseError(err error) {
	if err != nil {
		l.log.Warn("closing the secret store failed", "reason", "close", "err", err)
	}
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
	for key, l := range r.lives {
		delete(r.lives, key)
		r.closing.Go(func() { l.logCloseError(l.close()) })
	}
	r.mu.Unlock()
	r.node.stop()
	r.secrets.close()
	r.closing.Wait()
}
