package vault

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"kong-vault-auth/kongschema"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/securefile"
)

// vaultsFile is a vaults file while it is parsed, and its contents afterwards.
type vaultsFile struct {
	kinds   kinds
	getenv  func(string) string
	defined map[string]Definition
	secrets bool // it contains a secret itself, and not only references

	// unresolved, if not nil, collects the errors about references of logins that can't
	// be resolved, by object, instead of parse failing; see Defined.
	unresolved map[string]error
	// assumed, if not empty, is used as the value of such a reference.
	assumed string

	// Of the object that is being parsed.
	problem   error             // for unresolved
	loginRefs map[string]string // the references of its login to other vaults, by field; nil: none are allowed
}

// The fields that a vaults file may have. Some are only allowed because Kong's
// declarative form has them.
var (
	fileFields  = []string{"_format_version", "_transform", "vaults"}
	vaultFields = []string{
		"name", "prefix", "config", allowedServices, allowedRoutes, allowedWorkspaces,
		"id", "description", "tags", "created_at", "updated_at",
	}
)

func newVaultsFile(kinds kinds, getenv func(string) string) *vaultsFile {
	return &vaultsFile{kinds: kinds, getenv: getenv, defined: map[string]Definition{}}
}

// parse parses a vaults file: vault objects in Kong's declarative form,
//
//	_format_version: "3.0"
//	vaults:
//	- name: hcv            # or azure
//	  prefix: kong-auth    # the object's name
//	  config: {host: vault.example.com, token: "{vault://env/MY_TOKEN}"}
//	  allowed_services: [0dc6f45b-8f8d-40d2-a504-473544ee190b] # see allowed; Kong has no such field
//
// in YAML, and so in JSON too. Anything unknown is an error, with its line.
func (f *vaultsFile) parse(data []byte) error {
	entries, err := entriesOf(data)
	if err != nil {
		return err
	}
	for _, n := range entries {
		if err := f.add(n); err != nil {
			return err
		}
	}
	return f.checkLoginRefs()
}

// entriesOf are the entries of the list named vaults in such a file.
func entriesOf(data []byte) ([]*yaml.Node, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		// A quoted part of the error may be a value of the file, and so a secret.
		return nil, fmt.Errorf("it is not valid YAML: %s", quoted.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "), "…"))
	}
	if len(document.Content) == 0 {
		return nil, errors.New("it is empty; it should hold vaults: [{name: hcv, prefix: kong-auth, config: {…}}]")
	}
	top, err := mapping(document.Content[0], "the file", fileFields)
	if err != nil {
		return nil, err
	}
	vaults := top["vaults"]
	if vaults == nil || vaults.Kind != yaml.SequenceNode {
		return nil, errors.New("it must hold a list named vaults")
	}
	return vaults.Content, nil
}

var quoted = regexp.MustCompile("'[^']*'|\"[^\"]*\"|`[^`]*`")

// kongPrefix is what Kong allows as a vault's prefix.
var kongPrefix = regexp.MustCompile(`^[a-z][a-z0-9-]*[a-z0-9]$`)

// reservedName is why an object of a file can't have the name of a kind, or env.
const reservedName = "objects of that name are those of the environment"

// add parses one vault object.
func (f *vaultsFile) add(n *yaml.Node) error {
	entry, err := mapping(n, "a vault", vaultFields)
	if err != nil {
		return err
	}
	kind, known := f.kinds.named(text(entry["name"]))
	prefix := text(entry["prefix"])
	_, reserved := f.kinds.named(prefix)
	switch {
	case !known:
		return at(n, "name must be %s, the kind of vault", f.kinds.list("", " or "))
	case !kongPrefix.MatchString(prefix):
		return at(n, "prefix must be the object's name: letters in lower case, digits and -, as in kong-auth")
	case reserved || prefix == "env":
		return at(n, "prefix must not be %s: %s", prefix, reservedName)
	case f.defined[prefix].Name != "":
		return at(n, "prefix %s is taken by another vault", prefix)
	}
	f.loginRefs = map[string]string{}
	texts, err := f.config(entry["config"], kind)
	if err != nil {
		return err
	}
	d, err := decode(kind, prefix, texts, f.getenv)
	if err != nil {
		return at(n, "config of %s: %v", prefix, err)
	}
	if d.allowed, err = readAllowed(entry); err != nil {
		return err
	}
	if len(f.loginRefs) > 0 {
		d.loginRefs = f.loginRefs
	}
	f.defined[prefix] = d
	if f.problem != nil {
		f.unresolved[prefix], f.problem = f.problem, nil
	}
	return nil
}

// config returns the fields of a vault as text, with references to the environment
// resolved.
func (f *vaultsFile) config(n *yaml.Node, kind secretstore.Kind) (map[string]string, error) {
	texts := map[string]string{}
	if n == nil || n.Tag == "!!null" {
		return texts, nil
	}
	fields := fieldsOf(kind.New())
	names := make([]string, len(fields))
	for i := range fields {
		names[i] = fields[i].Name
	}
	config, err := mapping(n, "config", names)
	if err != nil {
		return nil, err
	}
	for _, field := range fields {
		n, set := config[field.Name]
		if !set || n.Tag == "!!null" {
			continue
		}
		if n.Kind != yaml.ScalarNode {
			return nil, at(n, "%s must be a single value", field.Name)
		}
		value := n.Value
		switch {
		case value == "" && !mayBeEmpty(field):
			continue
		case strings.Contains(value, "${{"):
			return nil, at(n, "%s is a reference of decK's, which is not resolved here; write {vault://env/NAME}", field.Name)
		case f.isLoginRef(kind, field, value):
			f.loginRefs[field.Name], value = value, f.assumed
		case secretstore.IsReference(value):
			if value, err = resolveEnv(value, f.getenv); err != nil {
				err = at(n, "%s: %v", field.Name, err)
				if f.unresolved == nil || !slices.Contains(kind.Login, field.Name) {
					return nil, err
				}
				f.problem = err
				if f.assumed == "" {
					continue
				}
				value = f.assumed
			}
		case field.Encrypted:
			f.secrets = true
		}
		texts[field.Name] = value
	}
	return texts, nil
}

// mayBeEmpty reports whether an empty string is a valid value of a field, as for a
// prefix. For other fields it means that the field isn't set.
func mayBeEmpty(f kongschema.Field) bool { return f.LenMin != nil && *f.LenMin == 0 }

// mapping returns the members of a YAML mapping. Members that aren't known are an error.
func mapping(n *yaml.Node, what string, known []string) (map[string]*yaml.Node, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		return nil, at(n, "%s must be a mapping of names to values", what)
	}
	members := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		switch {
		case !slices.Contains(known, key.Value):
			if meant := nearest(key.Value, known); meant != "" {
				return nil, at(key, "%s has no field %q. Did you mean %s?", what, key.Value, meant)
			}
			return nil, at(key, "%s has no field %q. Its fields are %s", what, key.Value, strings.Join(known, ", "))
		case members[key.Value] != nil:
			return nil, at(key, "%s is given twice", key.Value)
		}
		members[key.Value] = value
	}
	return members, nil
}

func text(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

func at(n *yaml.Node, format string, args ...any) error {
	return &lineError{n.Line, fmt.Sprintf(format, args...)}
}

// lineError is a mistake in a line of a file.
type lineError struct {
	line int
	text string
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.text) }

// maxVaultsFile is the maximum size of a vaults file.
const maxVaultsFile = 1 << 20

// read reads and parses the file at path. If it contains secrets, only its owner and
// group may be able to read it.
func (f *vaultsFile) read(path string) error {
	b, err := securefile.Read(path, securefile.Anybody, maxVaultsFile)
	if err != nil {
		return err
	}
	if err := f.parse(b); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if f.secrets {
		_, err = securefile.Read(path, securefile.Group, maxVaultsFile)
	}
	return err
}

// readVaultsFile reads a vaults file and checks its objects. Its errors match ErrConfig
// and say what to change. warnings are by object.
func readVaultsFile(path string, kinds kinds, getenv func(string) string) (f *vaultsFile, warnings map[string][]string, err error) {
	f, warnings = newVaultsFile(kinds, getenv), map[string][]string{}
	if err := f.read(path); err != nil {
		return nil, nil, configError("", "VAULT_AUTH_VAULTS_FILE", err)
	}
	for _, name := range slices.Sorted(maps.Keys(f.defined)) {
		if f.defined[name].loginRefs != nil {
			continue // Secrets.resolveLogin checks it
		}
		w, err := secretstore.Check(name, f.defined[name].Config, secretstore.Origin{Node: true})
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		warnings[name] = w
	}
	return f, warnings, nil
}

// nearest is the most similar of names, which the author of name may have meant. It is
// empty if none is similar.
func nearest(name string, names []string) string {
	best, bestDistance := "", len(name)/3+2
	for _, n := range names {
		if d := distance(name, n); d < bestDistance {
			best, bestDistance = n, d
		}
	}
	return best
}

// distance is how many letters must be added, removed or changed to turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
