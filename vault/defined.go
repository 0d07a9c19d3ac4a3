package vault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/securefile"
)

// Defined are the vault objects that a node defines, read once for an operator's command.
// OpenWriter opens their stores with an operator's own login.
//
// The operator's environment may lack what the plugin server logs in with. An object
// whose login alone can't be resolved is therefore still defined, and only Open fails.
type Defined struct {
	kinds    kinds
	options  Options
	objects  map[string]Definition
	only     string // the object that an empty name stands for; may be empty
	warnings map[string][]string
	problems map[string]error // by object
}

// NewDefined reads the vaults file that VAULT_AUTH_VAULTS_FILE names, and the
// environment. Its errors match secretstore.ErrConfig.
func NewDefined(all []secretstore.Kind, o Options) (*Defined, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Defined{kinds: all, options: o, warnings: map[string][]string{}}
	d.objects, d.problems = fromEnvironment(d.kinds, o.Getenv)
	path := o.Getenv("VAULT_AUTH_VAULTS_FILE")
	if path != "" {
		f := newVaultsFile(d.kinds, o.Getenv)
		f.unresolved = map[string]error{}
		if err := f.read(path); err != nil {
			return nil, configError("", "VAULT_AUTH_VAULTS_FILE", err)
		}
		d.chooseFrom(slices.Collect(maps.Keys(f.defined)))
		maps.Copy(d.objects, f.defined)
		for name, err := range f.unresolved {
			d.problems[name] = configError(name, "VAULT_AUTH_VAULTS_FILE", err)
		}
	}
	if d.only == "" && path == "" {
		d.chooseFrom(slices.Collect(maps.Keys(d.objects)))
	}
	for name, o := range d.objects {
		if o.loginRefs != nil {
			continue // Open reads its login
		}
		warnings, err := secretstore.Check(name, o.Config, secretstore.Origin{Node: true})
		d.warnings[name] = warnings
		if err != nil && d.problems[name] == nil {
			d.problems[name] = err
		}
	}
	return d, nil
}

// chooseFrom makes an empty name stand for the only one of names.
func (d *Defined) chooseFrom(names []string) {
	if len(names) == 1 {
		d.only = names[0]
	}
}

// Names are the names of the objects, sorted.
func (d *Defined) Names() []string { return slices.Sorted(maps.Keys(d.objects)) }

// Object is the definition of that name. An empty name stands for the only object of the
// vaults file or, if there is no file, of the environment.
func (d *Defined) Object(name string) (Definition, error) {
	names := d.Names()
	known := "this environment defines " + strings.Join(names, ", ")
	if len(names) == 0 {
		variables := strings.ReplaceAll(strings.ToUpper(d.kinds.list("KONG_VAULT_", ",")), ",", "_… or ") + "_…"
		known = "this environment defines none: name a file of vault objects in VAULT_AUTH_VAULTS_FILE, or set " + variables +
			" variables, as for the plugin server (an object inside a plugin's configuration is known to Kong only)"
	}
	if name == "" {
		name = d.only
	}
	o, found := d.objects[name]
	switch {
	case found:
		return o, nil
	case d.problems[name] != nil:
		return o, d.problems[name]
	case name == "" && len(names) == 0:
		return o, fmt.Errorf("%w: %s", secretstore.ErrConfig, known)
	case name == "":
		return o, fmt.Errorf("%w: name a vault object with --vault, or as the argument of vault check; %s", secretstore.ErrConfig, known)
	}
	return o, fmt.Errorf("%w: there is no vault object %q; %s", secretstore.ErrConfig, name, known)
}

// Problems returns why the plugin server can't use an object, or nil, and what should be
// changed although it can.
func (d *Defined) Problems(o Definition) (warnings []string, err error) {
	return d.warnings[o.Name], d.problems[o.Name]
}

// ReadLimit is how many reads a second the object's store allows. 0 means that it has no
// limit of its own.
func (d *Defined) ReadLimit(o Definition) float64 {
	kind, _ := d.kinds.named(o.Config.Kind())
	return kind.ReadsPerSecond
}

// CreateLimit is how many credentials can be created a second in the object's store. 0
// means that it has no limit of its own.
func (d *Defined) CreateLimit(o Definition) float64 {
	kind, _ := d.kinds.named(o.Config.Kind())
	return kind.CreatesPerSecond
}

// Fingerprint is an access token's fingerprint, as in the plugin server's log.
func (d *Definition) Fingerprint(accessToken string) string {
	return credential.Fingerprint(credential.ID(d.identity(), accessToken))
}

// Changed is the message for plugin servers that a credential of an object has changed,
// or all of them if no access token is given. The object may have another login here
// than there, and so another identity, so the store is named by its place.
func (d *Defined) Changed(object, accessToken string) (c Dropped, err error) {
	o, err := d.Object(object)
	if err != nil {
		return c, err
	}
	place := d.kinds.placeOf(o.Config)
	c.Bound = changeBound(o.limits())
	if accessToken == "" {
		c.Stores = map[credential.ShortID]bool{place.Store(): true}
		return c, nil
	}
	key := accessToken
	if kind, _ := d.kinds.named(o.Config.Kind()); kind.Key != nil {
		key = kind.Key(o.Config, accessToken)
	}
	c.Placed = map[credential.ShortID]bool{place.ShortID(key): true}
	return c, nil
}

// Open opens the object's store as the plugin server does.
func (d *Defined) Open(o Definition) (secretstore.Store, error) {
	if err := d.problems[o.Name]; err != nil {
		return nil, err
	}
	if o.loginRefs != nil {
		var err error
		if o, err = d.resolveLogin(o); err != nil {
			return nil, err
		}
	}
	kind, _ := d.kinds.named(o.Config.Kind())
	return kind.Open(o.Config, d.openOptions(o))
}

// resolveLogin reads an object's login from the vaults that it refers to.
func (d *Defined) resolveLogin(o Definition) (Definition, error) {
	r := NewRegistry(d.kinds, d.options)
	defer r.Close()
	ctx, cancel := context.WithTimeout(context.Background(), secretDeadline)
	defer cancel()
	return r.secrets.resolveLogin(ctx, o)
}

// OpenWriter opens the object's store to write to it, with another login than the plugin
// server's, which is never used. The login is the token in tokenFile, if that is given, or
// else the object's login in the file that VAULT_AUTH_WRITE_FILE names, or else the
// operator's own, as the store's command line tool finds it.
func (d *Defined) OpenWriter(o Definition, tokenFile string) (secretstore.Writer, error) {
	kind, _ := d.kinds.named(o.Config.Kind())
	c, err := d.forWriting(o, kind, tokenFile)
	if err != nil {
		return nil, err
	}
	return kind.OpenWriter(c, d.openOptions(o))
}

func (d *Defined) openOptions(o Definition) secretstore.OpenOptions {
	return secretstore.OpenOptions{
		Name: o.Name, Identity: o.identity(), UserAgent: d.options.UserAgent, TrustNode: true, Logger: d.options.Logger,
	}
}

// forWriting returns the object's settings with the login for writing.
func (d *Defined) forWriting(o Definition, kind secretstore.Kind, tokenFile string) (secretstore.Config, error) {
	logins, err := d.writeLogins()
	if err != nil {
		return nil, configError("", "VAULT_AUTH_WRITE_FILE", err)
	}
	login, found := logins[o.Name]
	if found && tokenFile == "" {
		if login.kind != kind.Name {
			err := fmt.Errorf("its name is %s there, and %s where it is defined", login.kind, kind.Name)
			return nil, configError(o.Name, "VAULT_AUTH_WRITE_FILE", err)
		}
		return withLogin(kind, o.Config, login.values)
	}
	c, err := withLogin(kind, o.Config, nil)
	if err != nil {
		return nil, err
	}
	// All fields count as set, since this environment must not change the place.
	if err := c.FromEnvironment(func(string) bool { return true }, d.options.Getenv); err != nil {
		return nil, err
	}
	if err := kind.Operator(c, secretstore.Operator{TokenFile: tokenFile, Getenv: d.options.Getenv}); err != nil {
		return nil, configError(o.Name, "login", err)
	}
	return c, nil
}

// withLogin returns settings with another login.
func withLogin(kind secretstore.Kind, config secretstore.Config, login map[string]any) (secretstore.Config, error) {
	values := valuesOf(config)
	for _, field := range kind.Login {
		delete(values, field)
	}
	maps.Copy(values, login)
	c := kind.New()
	return c, fill(c, values)
}

// writeLogin is the login of one object in the file that VAULT_AUTH_WRITE_FILE names.
type writeLogin struct {
	kind   string
	values map[string]any
}

// writeLogins reads the file that VAULT_AUTH_WRITE_FILE names. It has the form of a
// vaults file, but only the login of each object:
//
//	vaults:
//	- name: hcv
//	  prefix: kong-auth
//	  config: {auth_method: approle, approle_role_id: …, approle_secret_id_file: …}
//
// The plugin server never reads it, so it may belong to another user.
func (d *Defined) writeLogins() (map[string]writeLogin, error) {
	path := d.options.Getenv("VAULT_AUTH_WRITE_FILE")
	if path == "" {
		return nil, nil
	}
	b, err := securefile.Read(path, securefile.Group, maxVaultsFile)
	if err != nil {
		return nil, err
	}
	logins, err := parseWriteLogins(b, d.kinds, d.options.Getenv)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return logins, nil
}

func parseWriteLogins(b []byte, kinds kinds, getenv func(string) string) (map[string]writeLogin, error) {
	entries, err := entriesOf(b)
	if err != nil {
		return nil, err
	}
	f := &vaultsFile{kinds: kinds, getenv: getenv}
	logins := map[string]writeLogin{}
	for _, n := range entries {
		entry, err := mapping(n, "a login", []string{"name", "prefix", "config"})
		if err != nil {
			return nil, err
		}
		kind, known := kinds.named(text(entry["name"]))
		object := text(entry["prefix"])
		switch {
		case !known:
			return nil, at(n, "name must be %s, the kind of vault", kinds.list("", " or "))
		case object == "":
			return nil, at(n, "prefix must be the name of a vault object")
		case logins[object].kind != "":
			return nil, at(n, "prefix %s is given twice", object)
		}
		values, err := f.login(entry["config"], kind)
		if err != nil {
			return nil, err
		}
		logins[object] = writeLogin{kind.Name, values}
	}
	return logins, nil
}

// login reads the fields of a login.
func (f *vaultsFile) login(n *yaml.Node, kind secretstore.Kind) (map[string]any, error) {
	if n == nil {
		return nil, errors.New("a login has no config")
	}
	if _, err := mapping(n, "the config of a login", kind.Login); err != nil {
		return nil, err
	}
	texts, err := f.config(n, kind)
	if err != nil {
		return nil, err
	}
	return valuesOfTexts(kind.New(), texts)
}
