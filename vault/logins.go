package vault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"kong-vault-auth/cache"
	"kong-vault-auth/secretstore"
)

// The login of a vault object may be a reference to a secret in another vault of the
// node, as in token: "{vault://azure/vault-token/value}". When that secret rotates, the
// object must log in with the new one. So the loginReader reads the reference again at
// the other vault's ttl, and when the object's own store refuses the login. Requests
// never wait for that.
//
// There are two kinds of such objects. Those of the vaults file (nodelogins.go) can't be
// used before their login was read here. Those inside a plugin's configuration
// (inlinelogins.go) begin with what Kong has resolved their references to.

const (
	// loginRetry is the pause after a login could not be read, and the minimum time
	// between two extra reads because a store refuses its login.
	loginRetry = 5 * time.Second
	// minLoginTTL bounds how often logins are read if the other vault's ttl is tiny.
	minLoginTTL = time.Second
)

// login is the login of one object that is in other vaults, for the loginReader.
type login struct {
	refs     map[string]string // the references, by field of the object's settings
	identity string            // of the store that the object is bound to; empty: it has none
	// read returns the object's definition with what refs stand for now.
	read func(context.Context) (Definition, error)
	// set binds the object to the result of read, or handles its error.
	set func(resolved Definition, err error)
}

// loginReader decides when logins are read. It has a goroutine from the first object
// that needs one until the registry is closed.
type loginReader struct {
	start func()        // starts the goroutine; more calls do nothing
	wake  chan struct{} // there is something to read; buffers one

	mu      sync.Mutex
	refused map[string]refusal // by the identity of the store
}

// refusal is a store's word that it doesn't accept its login.
type refusal struct {
	at   time.Time
	seen bool // by takeRefused
}

func (l *loginReader) init(r *Registry) {
	l.start = sync.OnceFunc(func() { r.node.done.Go(func() { r.keepLogins(r.node.ctx) }) })
	l.wake = make(chan struct{}, 1)
	l.refused = map[string]refusal{}
}

func (l *loginReader) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// noteRefusal causes a read of the login of a store, known by its identity, if err says
// that the store refuses it.
func (l *loginReader) noteRefusal(identity string, err error) {
	if f := (*secretstore.Failure)(nil); !errors.As(err, &f) || !f.LoginRefused {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.refused[identity].at) >= loginRetry {
		l.refused[identity] = refusal{at: time.Now()}
		l.wakeUp()
	}
}

// takeRefused returns the stores that have refused their logins since the last call, by
// identity.
func (l *loginReader) takeRefused() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	news := map[string]bool{}
	for identity, r := range l.refused {
		switch {
		case !r.seen:
			news[identity] = true
			l.refused[identity] = refusal{at: r.at, seen: true}
		case time.Since(r.at) >= loginRetry:
			delete(l.refused, identity)
		}
	}
	return news
}

// keepLogins reads logins whenever that is due, until ctx ends.
func (r *Registry) keepLogins(ctx context.Context) {
	due := time.NewTimer(r.readLogins(ctx))
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-due.C:
		case <-r.logins.wake:
		}
		due.Reset(r.readLogins(ctx))
	}
}

// readLogins reads all logins that are in other vaults, and binds their objects to the
// results. It returns the time until the next read is due.
func (r *Registry) readLogins(ctx context.Context) (next time.Duration) {
	refused := r.logins.takeRefused()
	all := append(r.node.logins(), r.inlineLogins()...)
	reading, cancel := context.WithTimeout(ctx, 2*secretDeadline)
	defer cancel()
	for _, l := range all { // before any is read: a login may be in a vault that has refused its own
		if refused[l.identity] {
			r.secrets.refresh(reading, l.refs)
		}
	}
	next = kongRotation
	for _, l := range all {
		resolved, err := l.read(reading)
		if ctx.Err() != nil {
			return next // the registry is being closed; err says nothing about the login
		}
		l.set(resolved, err)
		if err != nil {
			next = min(next, loginRetry)
		}
		next = min(next, max(minLoginTTL, r.secrets.loginTTL(l.refs)))
	}
	return next
}

// resolveLogin returns d with the login that its references stand for. The policy for
// secrets doesn't apply: the operator has written both the references and the vaults.
func (s *Secrets) resolveLogin(ctx context.Context, d Definition) (Definition, error) {
	return s.resolveFields(d, d.loginRefs, secretstore.Origin{Node: true}, func(reference string) (string, error) {
		return s.readReference(ctx, reference, nil)
	})
}

// resolveFields returns d with the results of get in place of references, which are by
// field, and checks it.
func (s *Secrets) resolveFields(d Definition, refs map[string]string, origin secretstore.Origin, get func(reference string) (string, error)) (Definition, error) {
	values := valuesOf(d.Config)
	for _, field := range slices.Sorted(maps.Keys(refs)) {
		value, err := get(refs[field])
		if err != nil {
			return d, fmt.Errorf("%s: %.200s: %w", field, refs[field], err)
		}
		values[field] = value
	}
	kind, _ := s.registry.kinds.named(d.Config.Kind())
	c := kind.New()
	if err := fill(c, values); err != nil {
		return d, err
	}
	if d.Node {
		// A store may keep more of the node's environment than its fields hold. All
		// fields count as set, so that the environment changes none of them.
		if err := c.FromEnvironment(func(string) bool { return true }, s.registry.options.Getenv); err != nil {
			return d, err
		}
	}
	d.Config = c
	_, err := secretstore.Check(d.Name, c, origin)
	return d, err
}

// refresh makes the next read of references ask their vaults, whatever is cached.
func (s *Secrets) refresh(ctx context.Context, refs map[string]string) {
	for _, reference := range refs {
		ref, d, err := s.target(ctx, reference)
		if err != nil {
			continue // the read that follows returns the error
		}
		version, _ := versionOf(ref.Version, ref.Options.Get("version"))
		if store, done, err := s.acquire(d, policyFor(d)); err == nil {
			store.cache.Refresh(secretKey{ref.Resource, version}.String(), policyFor(d))
			done()
		}
	}
}

// loginTTL is the smallest ttl of the vaults that references name.
func (s *Secrets) loginTTL(refs map[string]string) time.Duration {
	ttl := kongRotation
	for _, reference := range refs {
		ref, _ := ParseReference(reference) // it has been parsed before
		if d, err := s.registry.node.find(ref.Vault); err == nil {
			ttl = min(ttl, policyFor(d).TTL)
		}
	}
	return ttl
}

// loginError is the error of an object that can't be used because its login could not be
// read: a mistake in the configuration, or an outage.
func loginError(object, setting string, err error) error {
	if errors.Is(err, cache.ErrAbsent) || errors.Is(err, ErrForbidden) || errors.Is(err, secretstore.ErrConfig) {
		return configError(object, setting, err)
	}
	return &UnavailableError{Object: object, Reason: reasonOf(err), RetryAfter: loginRetry, Err: err}
}
