package vault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"kong-vault-auth/kongschema"
	"kong-vault-auth/secretstore"
)

// An object of the vaults file may have its login in another vault of the node:
// token: "{vault://azure/vault-token/value}". It is read before the object is used, and
// again at the other vault's ttl, and when the store refuses it.

const (
	// loginRetry is how long after a login that couldn't be read, and how soon after
	// another read because of a refusal, it is read again.
	loginRetry = 5 * time.Second
	// minLoginTTL keeps a ttl of next to nothing from keeping a processor busy.
	minLoginTTL = time.Second
)

// nodeLogins are the objects of the vaults file with a login in another vault.
type nodeLogins struct {
	// Guarded by Registry.mu.
	complete map[string]Definition // with their logins, by name
	problems map[string]error      // why a login couldn't be read the last time, by name

	wake chan struct{} // there is something to read; buffers one

	mu      sync.Mutex
	refused map[string]bool      // stores that don't accept their login, by identity
	noted   map[string]time.Time // when that was last noted
}

func (l *nodeLogins) init() {
	l.complete, l.problems = map[string]Definition{}, map[string]error{}
	l.refused, l.noted = map[string]bool{}, map[string]time.Time{}
	l.wake = make(chan struct{}, 1)
}

func (l *nodeLogins) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// of is d with its login, or why there is none. Registry.mu is held.
func (l *nodeLogins) of(d Definition) (Definition, error) {
	if complete, ok := l.complete[d.Name]; ok {
		return complete, nil
	}
	err := l.problems[d.Name]
	if err == nil {
		err = errors.New("its login, which is in another vault, has not been read yet")
	}
	return d, unreadable(d.Name, "VAULT_AUTH_VAULTS_FILE", err)
}

// keepOnly forgets the logins of objects that aren't what they were. Registry.mu is
// held.
func (l *nodeLogins) keepOnly(file map[string]Definition) {
	maps.DeleteFunc(l.complete, func(name string, d Definition) bool { return !file[name].sameButForLogin(d) })
	maps.DeleteFunc(l.problems, func(name string, _ error) bool { return file[name].stored == nil })
}

// sameButForLogin reports whether d is complete without what its references stand for.
func (d Definition) sameButForLogin(complete Definition) bool {
	if d.Config == nil || !reflect.DeepEqual(d.stored, complete.stored) {
		return false
	}
	a, b := valuesOf(d.Config), valuesOf(complete.Config)
	for field := range d.stored {
		delete(a, field)
		delete(b, field)
	}
	d.Config, complete.Config = nil, nil
	return reflect.DeepEqual(a, b) && reflect.DeepEqual(d, complete)
}

// hold has an object go on with what it was bound to, for those who may still name it,
// until its new definition has a login. One that was bound to nothing reports err.
// Registry.mu is held.
func (o *nodeObject) hold(d Definition, err error) {
	b := binding{err: err}
	if o.release != nil {
		b = *o.bound.Load()
		b.allowed = d.Allowed
	}
	o.bound.Store(&b)
}

// refusal has the login of a store read again if err says that the store refuses it.
func (n *nodeObjects) refusal(identity string, err error) {
	if f := (*secretstore.Failure)(nil); !errors.As(err, &f) || !f.LoginRefused {
		return
	}
	l := &n.logins
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.noted[identity]) >= loginRetry {
		l.noted[identity], l.refused[identity] = time.Now(), true
		l.wakeUp()
	}
}

// takeRefused are the stores that have refused their logins since the last time.
func (l *nodeLogins) takeRefused() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	refused := l.refused
	l.refused = map[string]bool{}
	maps.DeleteFunc(l.noted, func(_ string, at time.Time) bool { return time.Since(at) >= loginRetry })
	return refused
}

// keepLogins reads logins when that is due, until ctx ends.
func (n *nodeObjects) keepLogins(ctx context.Context) {
	due := time.NewTimer(n.readLogins(ctx))
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-due.C:
		case <-n.logins.wake:
		}
		due.Reset(n.readLogins(ctx))
	}
}

// readLogins reads the logins that are in other vaults, and has the objects use them.
// It returns when to do so again.
func (n *nodeObjects) readLogins(ctx context.Context) (next time.Duration) {
	refused := n.logins.takeRefused()
	n.registry.mu.Lock()
	file := n.file
	n.registry.mu.Unlock()
	next = kongRotation
	reading, cancel := context.WithTimeout(ctx, 2*secretDeadline)
	defer cancel()
	for _, d := range file { // all first: a login may be in a vault that has refused its own
		if d.stored != nil && refused[n.identity(d)] {
			n.registry.secrets.refresh(reading, d.stored)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(file)) {
		d := file[name]
		if d.stored == nil {
			continue
		}
		complete, err := n.registry.secrets.complete(reading, d)
		if ctx.Err() != nil {
			return next // the end, which says nothing of the login
		}
		n.use(d, complete, err)
		if err != nil {
			next = min(next, loginRetry)
		}
		next = min(next, max(minLoginTTL, n.registry.secrets.ttlOfLogin(d.stored)))
	}
	return min(next, n.registry.readReferring(reading, refused))
}

// identity is that of the store that d is bound to, of which its login may be a part.
func (n *nodeObjects) identity(d Definition) string {
	n.registry.mu.Lock()
	defer n.registry.mu.Unlock()
	if complete, ok := n.logins.complete[d.Name]; ok {
		d = complete
	}
	return d.identity()
}

// use has the object d, if it is still defined like that, log in as complete says,
// unless err is why that couldn't be read.
func (n *nodeObjects) use(d, complete Definition, err error) {
	n.registry.mu.Lock()
	if !reflect.DeepEqual(n.file[d.Name], d) || n.registry.closed {
		n.registry.mu.Unlock()
		return
	}
	before := n.logins.problems[d.Name]
	n.logins.problems[d.Name] = err
	if err == nil {
		delete(n.logins.problems, d.Name)
		n.logins.complete[d.Name] = complete
	}
	released := n.bindAll()
	n.registry.mu.Unlock()
	for _, release := range released {
		release()
	}
	if err != nil && (before == nil || before.Error() != err.Error()) {
		n.registry.options.Logger.Error("the login of a vault object, in another vault, can't be read; one that it has stays in use",
			"vault", d.Name, "reason", "config", "err", err)
	}
}

// complete is d with the login that its references stand for.
func (s *Secrets) complete(ctx context.Context, d Definition) (Definition, error) {
	// The operator has written both; a policy is about what is handed out.
	return s.completed(d, d.stored, secretstore.Origin{Node: true}, func(reference string) (string, error) {
		return s.getReferred(ctx, reference, nil)
	})
}

// completed is d with what get makes of references, which are by field.
func (s *Secrets) completed(d Definition, refs map[string]string, origin secretstore.Origin, get func(reference string) (string, error)) (Definition, error) {
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
		// For what settings have of the node beside fields; all of these count as set.
		if err := c.FromEnvironment(func(string) bool { return true }, s.registry.options.Getenv); err != nil {
			return d, err
		}
	}
	d.Config = c
	_, err := secretstore.Check(d.Name, c, origin)
	return d, err
}

// refresh has references read again, by whoever asks next.
func (s *Secrets) refresh(ctx context.Context, refs map[string]string) {
	for _, reference := range refs {
		ref, of, err := s.referred(ctx, reference)
		if err != nil {
			continue // completed says so
		}
		version, _ := versionOf(ref.Version, ref.Options.Get("version"))
		if store, done, err := s.use(of, policyFor(of)); err == nil {
			store.cache.Refresh(secretKey{ref.Resource, version}.String(), policyFor(of))
			done()
		}
	}
}

// ttlOfLogin is how long references hold.
func (s *Secrets) ttlOfLogin(refs map[string]string) time.Duration {
	ttl := kongRotation
	for _, reference := range refs {
		ref, _ := ParseReference(reference) // it has been read before
		if of, err := s.registry.node.definition(ref.Vault); err == nil {
			ttl = min(ttl, policyFor(of).TTL)
		}
	}
	return ttl
}

// mayBeStored reports whether a field's value is a reference to another vault, and may
// be one: a string of the login, since a store's place is its identity.
func (f *vaultsFile) mayBeStored(kind secretstore.Kind, field kongschema.Field, value string) bool {
	return f.stored != nil && secretstore.IsReference(value) && !strings.HasPrefix(value, "{vault://env/") &&
		slices.Contains(kind.Login, field.Name) && field.Kind == kongschema.String && field.Name != "auth_method"
}

// checkStored checks what objects refer to for their logins: in the end that must be
// something which doesn't need the object itself.
func (f *vaultsFile) checkStored() error {
	for _, name := range slices.Sorted(maps.Keys(f.defined)) {
		if err := f.follow(name, nil); err != nil {
			return err
		}
	}
	return nil
}

// follow follows the references of an object that others, in their order, refer to.
func (f *vaultsFile) follow(name string, from []string) error {
	if slices.Contains(from, name) {
		return fmt.Errorf("the login of %s is in a vault that can't be read without it: %s; give one of them a login that is in no vault",
			name, strings.Join(append(from[slices.Index(from, name):], name), ", then "))
	}
	d := f.defined[name]
	for _, field := range slices.Sorted(maps.Keys(d.stored)) {
		ref, err := ParseReference(d.stored[field])
		if err != nil {
			return fmt.Errorf("config of %s: %s: %w", name, field, err)
		}
		_, inFile := f.defined[ref.Vault]
		if !inFile && !f.inEnvironment(ref.Vault) {
			return fmt.Errorf("config of %s: %s: the reference names the vault %.40q, which neither this file nor the environment defines", name, field, ref.Vault)
		}
		if err := f.follow(ref.Vault, append(from, name)); err != nil {
			return err
		}
	}
	return nil
}

// inEnvironment reports whether the environment, the plugin server's, defines an object
// of that name. An operator's says nothing about it.
func (f *vaultsFile) inEnvironment(name string) bool {
	if _, known := f.kinds.named(name); !known || f.unresolved != nil {
		return known
	}
	defined, failed := fromEnvironment(f.kinds, f.getenv)
	return defined[name].Name != "" || failed[name] != nil
}
