package secretstore

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"kong-vault-auth/kongschema"
)

// Origin says where settings come from, and so what they may ask for.
type Origin struct {
	// Node says that whoever runs the node has defined the object, or is trusted
	// as much: it may name files, and have what is the node's.
	Node bool
	// Reach is where the object may connect.
	Reach Reach
	// KeepIdentities says that it may not log in as an identity of the node.
	KeepIdentities bool
	// Refs are the references that fields were configured with, by field. Kong
	// hands over what it resolved them to, and an empty string where it couldn't.
	Refs map[string]string
}

// Check checks the settings of the object of that name as far as that goes
// without asking anybody. The error matches ErrConfig and says of everything that
// is wrong what to change; warnings are about what works and had better be
// different. Neither holds a secret.
//
// Kong has checked an inline object against the schema, but nobody has checked
// one that the node defines, so the schema's rules are checked too.
func Check(name string, c Config, o Origin) (warnings []string, err error) {
	p := &Problems{Origin: o}
	p.checkFields(c)
	c.Check(p)
	p.checkSnapshot(c.Common())
	return p.warnings, p.Err(name)
}

// Problems collects what is wrong with settings, so that an operator need not
// find out one by one.
type Problems struct {
	Origin
	errors   []string
	warnings []string
}

// Err is nil if nothing is wrong with the object of that name. It matches
// ErrConfig.
func (p *Problems) Err(name string) error {
	if len(p.errors) == 0 {
		return nil
	}
	return fmt.Errorf("%w of %q: %s", ErrConfig, name, strings.Join(p.errors, "; "))
}

// Add adds what is wrong with a field. The first problem of a field stands for
// all: others mostly repeat it.
func (p *Problems) Add(field, format string, args ...any) {
	if !slices.ContainsFunc(p.errors, func(e string) bool { return strings.HasPrefix(e, field+": ") }) {
		p.errors = append(p.errors, field+": "+fmt.Sprintf(format, args...))
	}
}

// AddError adds an error about a field, unless it is nil.
func (p *Problems) AddError(field string, err error) {
	if err != nil {
		p.Add(field, "%v", err)
	}
}

// Warn adds what had better be different in a field.
func (p *Problems) Warn(field, format string, args ...any) {
	p.warnings = append(p.warnings, field+": "+fmt.Sprintf(format, args...))
}

// checkFields checks each field by itself: what the schema says of it (patterns
// are left to what checks the field otherwise, they are Lua's), and references
// that nobody has resolved.
func (p *Problems) checkFields(config any) {
	fields, values := fieldsOf(config)
	var referenceable []string
	for _, f := range fields {
		if f.Referenceable {
			referenceable = append(referenceable, f.Name)
		}
	}
	for _, f := range fields {
		switch v := values[f.Name].(type) {
		case string:
			ref, wasReference := p.Refs[f.Name]
			switch {
			case v == "" && wasReference:
				p.Add(f.Name, "Kong could not resolve the reference %s: its log says why", ref)
			case v == "" && (f.Required || f.LenMin != nil && *f.LenMin > 0 || f.OneOf != nil && f.Default != nil):
				p.Add(f.Name, "it is empty")
			case IsReference(v):
				p.Add(f.Name, "Kong resolves references only in %s", strings.Join(referenceable, ", "))
			case v != "" && f.OneOf != nil && !slices.Contains(f.OneOf, v):
				p.Add(f.Name, "it must be %s", strings.Join(f.OneOf, " or "))
			case strings.ContainsFunc(v, unicode.IsControl) && !isPEM(v):
				p.Add(f.Name, "it holds line breaks or other control characters")
			}
		case float64:
			if b := f.Between; b != nil && (v < b[0] || v > b[1]) {
				p.Add(f.Name, "it must be between %.0f and %.0f", b[0], b[1])
			}
		}
	}
}

// fieldsOf describes a configuration, and has its values as JSON does.
func fieldsOf(config any) ([]kongschema.Field, map[string]any) {
	// None of these can fail for the settings of a store; their tests see to it.
	fields, _ := kongschema.Fields(reflect.TypeOf(config))
	b, _ := json.Marshal(config)
	values := map[string]any{}
	_ = json.Unmarshal(b, &values)
	return fields, values
}

// checkSnapshot sees to it that who gets hold of the snapshot's folder, in a
// backup say, has not got its key too.
func (p *Problems) checkSnapshot(l *Limits) {
	p.NodeFile("snapshot_file", l.SnapshotFile)
	p.NodeFile("snapshot_key_file", l.SnapshotKeyFile)
	switch {
	case l.SnapshotFile == "" && l.SnapshotKeyFile != "":
		p.Add("snapshot_key_file", "it is of no use without snapshot_file")
	case l.SnapshotFile != "" && l.SnapshotKeyFile == "":
		p.Add("snapshot_file", "it needs snapshot_key_file: openssl rand -base64 32 makes a key")
	case l.SnapshotFile != "" && filepath.Dir(l.SnapshotFile) == filepath.Dir(l.SnapshotKeyFile):
		p.Add("snapshot_key_file", "it must lie in another folder than snapshot_file")
	}
}

// Required checks a field that, given the auth method, can't be empty.
func (p *Problems) Required(field, value, authMethod string) {
	if value != "" {
		return
	}
	hint := ""
	if !p.Node {
		hint = ". If it is a reference, Kong could not resolve it: its log says why"
	}
	p.Add(field, "it is empty, and auth_method %s needs it%s", authMethod, hint)
}

// InsteadOfFile is what to do when an inline object may not name a file.
const InsteadOfFile = "a plugin's configuration may use nothing of the node's. " +
	"Define the vault object in VAULT_AUTH_VAULTS_FILE and name it in config.vault"

// NodeFile checks a field that names a file.
func (p *Problems) NodeFile(field, value string) {
	if value != "" && !p.Node {
		p.Add(field, "it names a file, and %s", InsteadOfFile)
	}
}

// PEM checks a field that holds PEM or, on objects of the node's, names a file that
// does.
func (p *Problems) PEM(field, value string) {
	if value != "" && !p.Node && !isPEM(value) {
		p.Add(field, "it is not PEM but may name a file, and %s, or give the PEM itself", InsteadOfFile)
	}
}

// Host checks that the object may connect to the host that a field leads to.
func (p *Problems) Host(field, host string) {
	p.AddError(field, p.Reach.Host(host))
}

// IsReference reports whether a value is a reference to a secret, in Kong's
// notation.
func IsReference(value string) bool {
	return strings.HasPrefix(value, "{vault://") && strings.HasSuffix(value, "}")
}

func isPEM(s string) bool {
	_, ok := PEM(s)
	return ok
}

// PEM returns a setting's value as PEM, and reports whether it is: else it names
// a file. Line ends may be written as \n, since many tools that fill environment
// variables can't put real ones there; PEM itself has no backslashes.
func PEM(value string) (pem string, ok bool) {
	if !strings.Contains(value, "-----BEGIN ") {
		return "", false
	}
	return strings.NewReplacer(`\r\n`, "\n", `\n`, "\n").Replace(value), true
}
