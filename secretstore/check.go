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

// Origin says who defined a vault object, and so what its settings may use.
type Origin struct {
	// Node is true if the operator of the node defined the object, or somebody who is
	// trusted as much: it may name files and use what belongs to the node.
	Node bool
	// Reach is where the object may connect.
	Reach Reach
	// KeepIdentities is true if it may not log in as an identity of the node.
	KeepIdentities bool
	// Kong is true if Kong itself describes the object, as one of its vaults. It then has
	// only the fields that Kong documents, so none of the others may be required.
	Kong bool
	// Refs are the references in the configuration, by field. Kong passes the
	// resolved value to the plugin, or an empty string if it couldn't resolve it.
	Refs map[string]string
}

// Check checks the settings of the named object, as far as possible without network
// I/O. The error matches ErrConfig and says for each problem what to change; warnings
// are about settings that work but should be different. Neither contains a secret.
//
// It checks the schema's rules too, since Kong has checked only inline objects.
func Check(name string, c Config, o Origin) (warnings []string, err error) {
	p := &Problems{Origin: o}
	p.checkFields(c)
	c.Check(p)
	p.checkSnapshot(c.Common())
	return p.warnings, p.Err(name)
}

// Problems collects the problems of settings, so that an operator sees all at once.
type Problems struct {
	Origin
	errors   []string
	warnings []string
}

// Err is the error about the named object, nil if there are no problems. It matches
// ErrConfig.
func (p *Problems) Err(name string) error {
	if len(p.errors) == 0 {
		return nil
	}
	return fmt.Errorf("%w of %q: %s", ErrConfig, name, strings.Join(p.errors, "; "))
}

// Add adds a problem of a field. Only the first one of a field is kept: later ones
// mostly repeat it.
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

// Warn adds a warning about a field.
func (p *Problems) Warn(field, format string, args ...any) {
	p.warnings = append(p.warnings, field+": "+fmt.Sprintf(format, args...))
}

// checkFields checks each field by itself: the schema's rules, except patterns, which
// are Lua's and are checked by the store, and references that were not resolved.
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

// fieldsOf returns the fields of a configuration and their values as in JSON.
func fieldsOf(config any) ([]kongschema.Field, map[string]any) {
	// None of these can fail for the settings of a store, as the stores' tests show.
	fields, _ := kongschema.Fields(reflect.TypeOf(config))
	b, _ := json.Marshal(config)
	values := map[string]any{}
	_ = json.Unmarshal(b, &values)
	return fields, values
}

// checkSnapshot checks that the snapshot and its key are in different folders, so
// that a backup of one folder doesn't contain both.
func (p *Problems) checkSnapshot(l *Limits) {
	p.NodeFile("snapshot_file", l.SnapshotFile)
	p.NodeFile("snapshot_key_file", l.SnapshotKeyFile)
	switch {
	case l.SnapshotFile == "" && l.SnapshotKeyFile != "":
		p.Add("snapshot_key_file", "it has no effect without snapshot_file")
	case l.SnapshotFile != "" && l.SnapshotKeyFile == "":
		p.Add("snapshot_file", "it needs snapshot_key_file: openssl rand -base64 32 makes a key")
	case l.SnapshotFile != "" && filepath.Dir(l.SnapshotFile) == filepath.Dir(l.SnapshotKeyFile):
		p.Add("snapshot_key_file", "it must be in another folder than snapshot_file")
	}
}

// Required checks a field that must not be empty with this auth method.
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

// InsteadOfFile is the remedy if an inline object names a file.
const InsteadOfFile = "a plugin's configuration may not use what belongs to the node. " +
	"Define the vault object in VAULT_AUTH_VAULTS_FILE and name it in config.vault"

// NodeFile checks a field that names a file.
func (p *Problems) NodeFile(field, value string) {
	if value != "" && !p.Node {
		p.Add(field, "it names a file, and %s", InsteadOfFile)
	}
}

// PEM checks a field that holds PEM or, on objects that the node defines, names a
// file with PEM.
func (p *Problems) PEM(field, value string) {
	if value != "" && !p.Node && !isPEM(value) {
		p.Add(field, "it is not PEM but seems to name a file, and %s, or use the PEM itself", InsteadOfFile)
	}
}

// Host checks that the object may connect to the host of a field.
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

// PEM returns a setting's value as PEM. ok is false if it is not PEM but names a file.
// Line ends may be written as \n, since many tools can't put real ones into environment
// variables, and PEM itself has no backslashes.
func PEM(value string) (pem string, ok bool) {
	if !strings.Contains(value, "-----BEGIN ") {
		return "", false
	}
	return strings.NewReplacer(`\r\n`, "\n", `\n`, "\n").Replace(value), true
}
