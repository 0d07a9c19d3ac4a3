package vault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"

	"kong-vault-auth/secretstore"
	"kong-vault-auth/securefile"
)

// nodeObjects are the vault objects that the node defines, in its environment and in
// its vaults file.
type nodeObjects struct {
	registry *Registry
	path     string     // of the vaults file; may be empty
	reading  sync.Mutex // so that an older version of the file doesn't replace a newer one

	// Guarded by Registry.mu.
	environment   map[string]Definition
	file          map[string]Definition
	problems      map[string]error // with objects of the environment, by name
	fileProblem   error            // with the newest version of the file
	inUse         map[string]*nodeObject
	resolved      map[string]Definition // objects of the file whose login was read from another vault, with it
	loginProblems map[string]error      // why such a login could not be read the last time, by object

	ctx    context.Context // until stop
	cancel context.CancelFunc
	done   sync.WaitGroup // of the goroutines until ctx ends
}

// nodeObject is an object of the node that plugin instances have open.
type nodeObject struct {
	name string
	sharedObject
}

func (n *nodeObjects) init(r *Registry) {
	n.registry = r
	n.path = r.options.Getenv("VAULT_AUTH_VAULTS_FILE")
	n.inUse = map[string]*nodeObject{}
	n.resolved, n.loginProblems = map[string]Definition{}, map[string]error{}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.environment, n.problems = fromEnvironment(r.kinds, r.options.Getenv)
	for _, name := range slices.Sorted(maps.Keys(n.environment)) {
		warnings, err := secretstore.Check(name, n.environment[name].Config, secretstore.Origin{Node: true})
		r.warn(name, warnings)
		if err != nil {
			delete(n.environment, name)
			n.problems[name] = err
		}
	}
	if err := checkSnapshots(n.environment); err != nil {
		for name := range n.environment {
			n.problems[name] = err
		}
		clear(n.environment)
	}
	for _, name := range slices.Sorted(maps.Keys(n.problems)) {
		r.options.Logger.Error("the environment's vault object can't be used", "vault", name, "reason", "config", "err", n.problems[name])
	}
	if n.path != "" {
		w := securefile.NewWatch(n.path) // before the first read, so that no version is missed
		n.reload()
		r.readLogins(n.ctx)
		n.done.Go(func() { w.Run(n.ctx, func(string) { n.reload() }) })
		r.logins.start()
	}
}

// open returns the named object for a configuration, even if it isn't defined: it may be
// later. Registry.mu is held.
func (n *nodeObjects) open(name string, scope Scope) (*Object, func()) {
	o := n.inUse[name]
	if o == nil {
		o = &nodeObject{name: name}
		n.inUse[name] = o
		n.bind(o)
	}
	release := n.registry.addUser(&o.sharedObject, func() { delete(n.inUse, name) })
	return &Object{name: name, scope: scope, bound: &o.bound}, release
}

// definition is what the node defines under a name. Registry.mu is held.
func (n *nodeObjects) definition(name string) (d Definition, defined bool) {
	if d, defined = n.file[name]; !defined {
		d, defined = n.environment[name]
	}
	return d, defined
}

// bind binds an object to the current definition of its name. If that store can't be
// opened, the previous binding stays. Registry.mu is held.
func (n *nodeObjects) bind(o *nodeObject) {
	d, defined := n.definition(o.name)
	if d.loginRefs != nil {
		resolved, err := n.withLogin(d)
		if err != nil {
			o.keepStore(d, err)
			return
		}
		d = resolved
	}
	if defined && o.leave != nil && reflect.DeepEqual(d, o.current) {
		return
	}
	if !defined {
		o.sharedObject.bind(&binding{err: n.undefined(o.name)}, nil, Definition{})
		return
	}
	cs, leave, err := n.registry.use("the node's "+o.name, d)
	if err != nil {
		n.registry.options.Logger.Error("vault object can't be opened", "vault", o.name, "reason", "config", "err", err)
		if o.leave == nil {
			o.bound.Store(&binding{err: err})
		}
		return
	}
	o.sharedObject.bind(n.registry.bindingOf(cs, d), leave, d)
}

// bindAll binds all objects in use. Registry.mu is held.
func (n *nodeObjects) bindAll() {
	for _, name := range slices.Sorted(maps.Keys(n.inUse)) {
		n.bind(n.inUse[name])
	}
}

// all are the objects that can be used, by name. Registry.mu is held.
func (n *nodeObjects) all() map[string]Definition {
	all := maps.Clone(n.environment)
	if all == nil {
		all = map[string]Definition{}
	}
	maps.Copy(all, n.file)
	return all
}

// undefined is the error about a name that no object has. Registry.mu is held.
func (n *nodeObjects) undefined(name string) error {
	if err := n.problems[name]; err != nil {
		return err
	}
	if n.fileProblem != nil {
		return fmt.Errorf("no vault object %q: %w", name, n.fileProblem)
	}
	names := slices.Sorted(maps.Keys(n.file))
	names = append(names, slices.Sorted(maps.Keys(n.environment))...)
	known := "knows none; define it in VAULT_AUTH_VAULTS_FILE, or " + n.registry.kinds.list("", " and ") + " by KONG_VAULT_ variables. " +
		"Kong starts plugin servers with an empty environment: name the variables in nginx_main_env, or start with -env-file"
	if len(names) > 0 {
		known = "knows " + strings.Join(names, ", ")
	}
	return fmt.Errorf("%w: there is no vault object %q; this node %s", secretstore.ErrConfig, name, known)
}

// ReadVaultsFile reads the vaults file again, without waiting for its change to be
// noticed. path must be the file that the registry watches. After an error, all objects
// stay as they were.
func (r *Registry) ReadVaultsFile(path string) error {
	own, err := filepath.Abs(r.node.path)
	switch {
	case r.node.path == "":
		return configError("", "VAULT_AUTH_VAULTS_FILE", errors.New("it is not set in the plugin server's environment, so it reads no vaults file"))
	case err != nil:
		return err
	case own != path:
		return configError("", "VAULT_AUTH_VAULTS_FILE", fmt.Errorf("the plugin server reads %s, and not %.200q", own, path))
	}
	r.node.reload()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.node.fileProblem
}

// reload reads the vaults file. An invalid version is refused as a whole, and the
// previous one stays in use.
func (n *nodeObjects) reload() {
	n.reading.Lock()
	defer n.reading.Unlock()
	f, warnings, err := readVaultsFile(n.path, n.registry.kinds, n.registry.options.Getenv)
	if err == nil {
		err = checkSnapshots(n.environment, f.defined)
	}
	log := n.registry.options.Logger

	n.registry.mu.Lock()
	if n.registry.closed {
		n.registry.mu.Unlock()
		return
	}
	before := n.fileProblem
	n.fileProblem = err
	changed := err != nil && (before == nil || before.Error() != err.Error())
	if err == nil {
		changed = before != nil || !reflect.DeepEqual(n.file, f.defined)
		n.file = f.defined
		n.dropOldLogins()
	}
	n.bindAll()
	n.registry.mu.Unlock()

	n.registry.logins.wakeUp()
	switch {
	case !changed: // another file of the folder has changed
	case err != nil:
		log.Error("the vaults file can't be used; objects stay as they were", "reason", "config", "err", err)
	default:
		log.Info("the vaults file was read", "count", len(f.defined))
		for _, name := range slices.Sorted(maps.Keys(warnings)) {
			n.registry.warn(name, warnings[name])
		}
	}
}

// stop ends the watching of the file, and the reading of logins.
func (n *nodeObjects) stop() {
	n.cancel()
	n.done.Wait()
}
