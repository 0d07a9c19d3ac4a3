package vault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"kong-vault-auth/kongschema"
	"kong-vault-auth/secretstore"
)

// Objects of the vaults file whose login is in another vault, see logins.go.

// logins are the logins of the vaults file that are in other vaults.
func (n *nodeObjects) logins() (all []login) {
	n.registry.mu.Lock()
	defer n.registry.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(n.file)) {
		d := n.file[name]
		if d.loginRefs == nil {
			continue
		}
		bound := d
		if resolved, ok := n.resolved[name]; ok {
			bound = resolved // its login may be a part of the store's identity
		}
		all = append(all, login{
			refs:     d.loginRefs,
			identity: bound.identity(),
			read:     func(ctx context.Context) (Definition, error) { return n.registry.secrets.resolveLogin(ctx, d) },
			set:      func(resolved Definition, err error) { n.setLogin(d, resolved, err) },
		})
	}
	return all
}

// setLogin binds the object d to its definition with its login. err is why that could
// not be read. Nothing changes if d is no longer the object's definition.
func (n *nodeObjects) setLogin(d, resolved Definition, err error) {
	n.registry.mu.Lock()
	if !reflect.DeepEqual(n.file[d.Name], d) || n.registry.closed {
		n.registry.mu.Unlock()
		return
	}
	before := n.loginProblems[d.Name]
	if err == nil {
		delete(n.loginProblems, d.Name)
		n.resolved[d.Name] = resolved
	} else {
		n.loginProblems[d.Name] = err
	}
	n.bindAll()
	n.registry.mu.Unlock()
	if err != nil && (before == nil || before.Error() != err.Error()) {
		n.registry.options.Logger.Error("the login of a vault object, in another vault, can't be read; the object keeps the login that it has, if any",
			"vault", d.Name, "reason", "config", "err", err)
	}
}

// withLogin returns d with its login as it was last read, or why it has none yet.
// Registry.mu is held.
func (n *nodeObjects) withLogin(d Definition) (Definition, error) {
	if resolved, ok := n.resolved[d.Name]; ok {
		return resolved, nil
	}
	err := n.loginProblems[d.Name]
	if err == nil {
		err = errors.New("its login, which is in another vault, has not been read yet")
	}
	return d, loginError(d.Name, "VAULT_AUTH_VAULTS_FILE", err)
}

// keepStore leaves an object bound to the store that it has until the login of its new
// definition d was read, but only for the configurations that d allows. An object without
// a store reports err. Registry.mu is held.
func (o *nodeObject) keepStore(d Definition, err error) {
	b := binding{err: err}
	if o.leave != nil {
		b = *o.bound.Load()
		b.allowed = d.allowed
	}
	o.bound.Store(&b)
}

// dropOldLogins forgets the logins of objects whose definitions have changed.
// Registry.mu is held.
func (n *nodeObjects) dropOldLogins() {
	maps.DeleteFunc(n.resolved, func(name string, resolved Definition) bool { return !n.file[name].sameButForLogin(resolved) })
	maps.DeleteFunc(n.loginProblems, func(name string, _ error) bool { return n.file[name].loginRefs == nil })
}

// sameButForLogin reports whether resolved differs from d only in having what the
// references of d stand for.
func (d Definition) sameButForLogin(resolved Definition) bool {
	if d.Config == nil || !reflect.DeepEqual(d.loginRefs, resolved.loginRefs) {
		return false
	}
	a, b := valuesOf(d.Config), valuesOf(resolved.Config)
	for field := range d.loginRefs {
		delete(a, field)
		delete(b, field)
	}
	d.Config, resolved.Config = nil, nil
	return reflect.DeepEqual(a, b) && reflect.DeepEqual(d, resolved)
}

// isLoginRef reports whether a field's value is a reference to another vault, in a place
// where one is allowed: a string of the login. A store's address, for example, must not
// depend on another vault, since it is a part of the store's identity.
func (f *vaultsFile) isLoginRef(kind secretstore.Kind, field kongschema.Field, value string) bool {
	return f.loginRefs != nil && secretstore.IsReference(value) && !strings.HasPrefix(value, "{vault://env/") &&
		slices.Contains(kind.Login, field.Name) && field.Kind == kongschema.String && field.Name != "auth_method"
}

// checkLoginRefs refuses references of logins to vaults that nobody defines, and those
// that lead back to the object itself.
func (f *vaultsFile) checkLoginRefs() error {
	for _, name := range slices.Sorted(maps.Keys(f.defined)) {
		if err := f.follow(name, nil); err != nil {
			return err
		}
	}
	return nil
}

// follow checks the references of an object and of all objects that these lead to. path
// has the objects that have led to this one.
func (f *vaultsFile) follow(name string, path []string) error {
	if slices.Contains(path, name) {
		return fmt.Errorf("the login of %s is in a vault that can't be read without it: %s; give one of them a login that is in no vault",
			name, strings.Join(append(path[slices.Index(path, name):], name), ", then "))
	}
	d := f.defined[name]
	for _, field := range slices.Sorted(maps.Keys(d.loginRefs)) {
		ref, err := ParseReference(d.loginRefs[field])
		if err != nil {
			return fmt.Errorf("config of %s: %s: %w", name, field, err)
		}
		_, inFile := f.defined[ref.Vault]
		if !inFile && !f.inEnvironment(ref.Vault) {
			return fmt.Errorf("config of %s: %s: the reference names the vault %.40q, which neither this file nor the environment defines", name, field, ref.Vault)
		}
		if err := f.follow(ref.Vault, append(path, name)); err != nil {
			return err
		}
	}
	return nil
}

// inEnvironment reports whether the plugin server's environment defines an object of that
// name. An operator's command has another environment, so for it every kind counts.
func (f *vaultsFile) inEnvironment(name string) bool {
	if _, known := f.kinds.named(name); !known || f.unresolved != nil {
		return known
	}
	defined, failed := fromEnvironment(f.kinds, f.getenv)
	return defined[name].Name != "" || failed[name] != nil
}
