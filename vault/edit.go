package vault

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.yaml.in/yaml/v3"

	"kong-vault-auth/kongschema"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/securefile"
)

// ErrNoObject, ErrObjectExists and ErrFile are matched by errors of an ObjectFile.
var (
	ErrFile         = errors.New("the vaults file can't be used")
	ErrNoObject     = errors.New("there is no vault object")
	ErrObjectExists = errors.New("there is a vault object of that name or id already")
)

// NoObject is the error that no object is called nameOrID; names are those of the objects
// that there are. It matches ErrNoObject.
func NoObject(nameOrID string, names []string) error {
	there := "there is none yet"
	if len(names) > 0 {
		there = "there are " + strings.Join(names, ", ")
	}
	return fmt.Errorf("%w called %.100q: %s", ErrNoObject, nameOrID, there)
}

// IsObjectName reports whether name is well formed as the name of an object of a vaults
// file. It doesn't exclude the names of the environment's objects.
func IsObjectName(name string) bool { return kongPrefix.MatchString(name) }

// checkName returns an error if no object of the file can have a name.
func (f *ObjectFile) checkName(name string) error {
	problem := reservedName
	_, reserved := f.kinds.named(name)
	switch {
	case !IsObjectName(name):
		problem = "a name is letters in lower case, digits and -, as in kong-auth"
	case !reserved && name != "env":
		return nil
	}
	return fmt.Errorf("%w: no vault object can be called %.100q: %s", secretstore.ErrConfig, name, problem)
}

// ObjectFile is a vaults file that the Admin API edits. The running plugin server notices
// a change like one by hand. Comments in the file stay. It is safe for concurrent use, but
// only one process may write the file.
type ObjectFile struct {
	path       string
	kinds      kinds
	getenv     func(string) string
	noLiterals bool
	mu         sync.Mutex
}

// NewObjectFile is the vaults file at path, which need not exist yet. With noLiterals, a
// secret can be written to it only as a reference.
func NewObjectFile(path string, all []secretstore.Kind, getenv func(string) string, noLiterals bool) *ObjectFile {
	return &ObjectFile{path: path, kinds: all, getenv: getenv, noLiterals: noLiterals}
}

// Stored is a vault object as the file has it, but without secrets themselves.
type Stored struct {
	ID          string
	Name        string // the prefix
	Kind        string // hcv or azure
	Description string
	CreatedAt   time.Time      // zero: not known
	UpdatedAt   time.Time      // zero: not known
	Config      map[string]any // the fields that are set
}

// Edit is a new object of the file, or a change of one.
type Edit struct {
	ID          string // of a new object; empty: a random one
	Name        string
	Kind        string
	Description *string           // nil: unchanged
	Fields      map[string]string // of its config, as text; an empty text removes the field
	Replace     bool              // whether all other fields are removed
}

// Objects are the objects of the file, in its order.
func (f *ObjectFile) Objects() ([]Stored, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, err := f.load()
	if err != nil {
		return nil, err
	}
	all := make([]Stored, len(d.vaults.Content))
	for i, n := range d.vaults.Content {
		all[i] = f.storedOf(n)
	}
	return all, nil
}

// Object is the object of that name or id.
func (f *ObjectFile) Object(nameOrID string) (Stored, error) {
	all, err := f.Objects()
	if err != nil {
		return Stored{}, err
	}
	i := slices.IndexFunc(all, func(s Stored) bool { return s.Name == nameOrID || s.ID == nameOrID })
	if i < 0 {
		return Stored{}, NoObject(nameOrID, namesOf(all))
	}
	return all[i], nil
}

func namesOf(all []Stored) (names []string) {
	for _, s := range all {
		names = append(names, s.Name)
	}
	return names
}

// Create adds an object.
func (f *ObjectFile) Create(e Edit, now time.Time) (Stored, error) {
	if err := f.checkName(e.Name); err != nil {
		return Stored{}, err
	}
	return f.change(e.Name, func(d *objectDocument) error {
		e.ID = cmp.Or(e.ID, uuid.NewString())
		if d.find(e.Name) >= 0 || d.find(e.ID) >= 0 {
			return fmt.Errorf("%w: %.100q", ErrObjectExists, e.Name)
		}
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		setText(n, "id", e.ID)
		setText(n, "name", e.Kind)
		setText(n, "prefix", e.Name)
		setNumber(n, "created_at", now)
		d.vaults.Content = append(d.vaults.Content, n)
		return f.apply(n, e, now)
	})
}

// Update changes the object called e.Name.
func (f *ObjectFile) Update(e Edit, now time.Time) (Stored, error) {
	return f.change(e.Name, func(d *objectDocument) error {
		i := d.find(e.Name)
		if i < 0 {
			return fmt.Errorf("%w called %.100q", ErrNoObject, e.Name)
		}
		n := d.vaults.Content[i]
		if n.Kind != yaml.MappingNode {
			return fmt.Errorf("%w: %s is an alias of another object in the vaults file: edit it there", secretstore.ErrConfig, e.Name)
		}
		if member(n, "id") == nil {
			setText(n, "id", idOf(e.Name))
		}
		return f.apply(n, e, now)
	})
}

// Delete removes the named object.
func (f *ObjectFile) Delete(name string) error {
	_, err := f.change("", func(d *objectDocument) error {
		i := d.find(name)
		if i < 0 {
			return fmt.Errorf("%w called %.100q", ErrNoObject, name)
		}
		d.vaults.Content = slices.Delete(d.vaults.Content, i, i+1)
		return nil
	})
	return err
}

// apply applies an edit to the entry of its object.
func (f *ObjectFile) apply(n *yaml.Node, e Edit, now time.Time) error {
	kind, known := f.kinds.named(e.Kind)
	if !known || e.Kind != text(member(n, "name")) {
		return fmt.Errorf("%w: the kind of a vault object must be %s, and stays as it is", secretstore.ErrConfig, f.kinds.list("", " or "))
	}
	setNumber(n, "updated_at", now)
	if e.Description != nil {
		setText(n, "description", *e.Description)
	}
	config := member(n, "config")
	if config == nil || config.Kind != yaml.MappingNode || e.Replace {
		config = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		set(n, "config", config)
	}
	for _, field := range fieldsOf(kind.New()) {
		value, given := e.Fields[field.Name]
		switch {
		case !given:
		case value == "" && !mayBeEmpty(field):
			unset(config, field.Name)
		case f.noLiterals && field.Encrypted && !secretstore.IsReference(value):
			return configError(e.Name, field.Name, errors.New("a secret itself is not allowed in the vaults file (--no-literals): write a reference such as {vault://env/NAME}"))
		default:
			v := &yaml.Node{Kind: yaml.ScalarNode, Value: value}
			if field.Kind == kongschema.String {
				v.SetString(value)
			}
			set(config, field.Name, v)
		}
	}
	return nil
}

// change applies change to the file, checks the result, and writes it. It returns the
// named object as it is then.
func (f *ObjectFile) change(name string, change func(*objectDocument) error) (s Stored, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, err := f.load()
	if err != nil {
		return s, err
	}
	if err := change(d); err != nil {
		return s, err
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(&d.root), enc.Close()); err != nil {
		return s, fmt.Errorf("%w: it can't be written as YAML", secretstore.ErrConfig)
	}
	if err := f.check(b.Bytes(), name); err != nil {
		return s, err
	}
	if i := d.find(name); i >= 0 {
		s = f.storedOf(d.vaults.Content[i])
	}
	path := f.path
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	if err := securefile.Replace(path, func(w io.Writer) error { _, err := w.Write(b.Bytes()); return err }); err != nil {
		return s, fmt.Errorf("%w: %w (this program's user must own its folder)", ErrFile, err)
	}
	return s, nil
}

// check returns an error if a plugin server would refuse the file b, because of the named
// object or as a whole. References of logins can't be resolved here, so any value counts.
func (f *ObjectFile) check(b []byte, name string) error {
	parsed := newVaultsFile(f.kinds, withoutLogin(f.getenv))
	parsed.unresolved, parsed.assumed = map[string]error{}, "unresolved"
	if err := parsed.parse(b); err != nil {
		return editError(b, name, err)
	}
	if d, found := parsed.defined[name]; found {
		if _, err := secretstore.Check(name, d.Config, secretstore.Origin{Node: true}); err != nil {
			return err
		}
	}
	if len(b) > maxVaultsFile {
		return fmt.Errorf("%w: the vaults file would be too large", secretstore.ErrConfig)
	}
	return checkSnapshots(parsed.defined)
}

// editError is the error of an edit that makes the file invalid. It has no line number if
// the mistake is in the named object, since its author doesn't see the file.
func editError(b []byte, name string, err error) error {
	var in *lineError
	entries, errEntries := entriesOf(b)
	if errEntries != nil || !errors.As(err, &in) {
		return configError("", "VAULT_AUTH_VAULTS_FILE", err)
	}
	for i, n := range entries {
		ends := i+1 == len(entries) || in.line < entries[i+1].Line
		if n.Kind == yaml.MappingNode && text(member(n, "prefix")) == name && n.Line <= in.line && ends {
			return fmt.Errorf("%w: %s", secretstore.ErrConfig, in.text)
		}
	}
	return configError("", "VAULT_AUTH_VAULTS_FILE", err)
}

// withoutLogin is the environment without the operator's login, which the plugin server
// doesn't have.
func withoutLogin(getenv func(string) string) func(string) string {
	return func(name string) string {
		if name == "VAULT_TOKEN" {
			return ""
		}
		return getenv(name)
	}
}

// objectDocument is a vaults file as YAML.
type objectDocument struct {
	root   yaml.Node
	vaults *yaml.Node // the list
}

// find is the index of the object with that name or id, or negative.
func (d *objectDocument) find(nameOrID string) int {
	return slices.IndexFunc(d.vaults.Content, func(n *yaml.Node) bool {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		name := text(member(n, "prefix"))
		return nameOrID != "" && (name == nameOrID || cmp.Or(text(member(n, "id")), idOf(name)) == nameOrID)
	})
}

const emptyVaultsFile = "_format_version: \"3.0\"\nvaults: []\n"

// load reads the file, or an empty one if it doesn't exist yet.
func (f *ObjectFile) load() (*objectDocument, error) {
	b, err := securefile.Read(f.path, securefile.Anybody, maxVaultsFile)
	if errors.Is(err, fs.ErrNotExist) {
		b, err = []byte(emptyVaultsFile), nil
	}
	if err == nil {
		// The file must be a vaults file, or its contents would be lost.
		var entries []*yaml.Node
		if entries, err = entriesOf(b); err == nil {
			err = f.checkEntries(entries)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFile, f.path, err)
	}
	d := &objectDocument{}
	if err := yaml.Unmarshal(b, &d.root); err != nil {
		return nil, err
	}
	d.vaults = member(d.root.Content[0], "vaults")
	d.vaults.Style = 0
	return d, nil
}

func (f *ObjectFile) checkEntries(entries []*yaml.Node) error {
	for _, n := range entries {
		if _, err := mapping(n, "a vault", vaultFields); err != nil {
			return err
		}
	}
	return nil
}

// storedOf is the object of an entry of the file.
func (f *ObjectFile) storedOf(n *yaml.Node) Stored {
	entry, _ := mapping(n, "a vault", vaultFields) // load has checked it
	s := Stored{Name: text(entry["prefix"]), Kind: text(entry["name"]), Description: text(entry["description"]), Config: map[string]any{}}
	s.ID = cmp.Or(text(entry["id"]), idOf(s.Name))
	s.CreatedAt, s.UpdatedAt = unixTime(entry["created_at"]), unixTime(entry["updated_at"])
	kind, known := f.kinds.named(s.Kind)
	if !known {
		return s
	}
	for _, field := range fieldsOf(kind.New()) {
		value := text(member(entry["config"], field.Name))
		if value == "" || field.Encrypted && !secretstore.IsReference(value) {
			continue
		}
		if v, err := valueOf(field, value); err == nil {
			s.Config[field.Name] = v
		}
	}
	return s
}

// objectNames is the UUID namespace of the ids of objects that have no id in the file.
var objectNames = uuid.MustParse("6a3d5bb0-52ae-4b8f-9d6c-4b1f0f3f2f57")

func idOf(name string) string { return uuid.NewSHA1(objectNames, []byte(name)).String() }

func unixTime(n *yaml.Node) time.Time {
	seconds, err := strconv.ParseInt(text(n), 10, 64)
	if err != nil || seconds <= 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// member is the value of a mapping's key, or nil.
func member(n *yaml.Node, key string) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func set(n *yaml.Node, key string, value *yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			n.Content[i+1] = value
			return
		}
	}
	n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, value)
}

func unset(n *yaml.Node, key string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			n.Content = slices.Delete(n.Content, i, i+2)
			return
		}
	}
}

func setText(n *yaml.Node, key, value string) {
	v := &yaml.Node{}
	v.SetString(value)
	set(n, key, v)
}

func setNumber(n *yaml.Node, key string, t time.Time) {
	set(n, key, &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.FormatInt(t.Unix(), 10)})
}
