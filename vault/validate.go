package vault

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"kong-vault-auth/kongschema"
	"kong-vault-auth/secretstore"
)

// Validate checks a definition as far as that goes without asking anybody. The
// error matches ErrConfig and says of everything that is wrong what to change;
// warnings are about what works and had better be different. Neither holds a
// secret.
//
// Kong has checked an inline object against the schema, but nobody has checked
// one that the node defines, so the schema's rules are checked too.
func Validate(d Definition) (warnings []string, err error) {
	p := &problems{Definition: d}
	switch {
	case (d.HCV == nil) == (d.Azure == nil):
		p.add("config", "exactly one of hcv and azure must be set")
	case d.HCV != nil:
		p.checkFields(d.HCV)
		p.checkHCV(d.HCV)
		p.checkSnapshot(&d.HCV.Limits)
	default:
		p.checkFields(d.Azure)
		p.checkAzure(d.Azure)
		p.checkSnapshot(&d.Azure.Limits)
	}
	if len(p.errors) > 0 {
		return p.warnings, fmt.Errorf("%w of %q: %s", secretstore.ErrConfig, d.Name, strings.Join(p.errors, "; "))
	}
	return p.warnings, nil
}

// problems collects what is wrong with a definition, so that an operator need
// not find out one by one.
type problems struct {
	Definition
	errors   []string
	warnings []string
}

func (p *problems) add(field, format string, args ...any) {
	p.errors = append(p.errors, field+": "+fmt.Sprintf(format, args...))
}

func (p *problems) warn(field, format string, args ...any) {
	p.warnings = append(p.warnings, field+": "+fmt.Sprintf(format, args...))
}

// checkFields checks each field by itself: what the schema says of it (patterns
// are left to what checks the field otherwise, they are Lua's), and references
// that nobody has resolved.
func (p *problems) checkFields(config any) {
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
				p.add(f.Name, "Kong could not resolve the reference %s: its log says why", ref)
			case v == "" && (f.Required || f.LenMin != nil && *f.LenMin > 0):
				p.add(f.Name, "it is empty")
			case isReference(v):
				p.add(f.Name, "Kong resolves references only in %s", strings.Join(referenceable, ", "))
			case v != "" && f.OneOf != nil && !slices.Contains(f.OneOf, v):
				p.add(f.Name, "it must be %s", strings.Join(f.OneOf, " or "))
			case strings.ContainsFunc(v, unicode.IsControl) && !isPEM(v):
				p.add(f.Name, "it holds line breaks or other control characters")
			}
		case float64:
			if b := f.Between; b != nil && (v < b[0] || v > b[1]) {
				p.add(f.Name, "it must be between %.0f and %.0f", b[0], b[1])
			}
		}
	}
}

// fieldsOf describes a configuration, and has its values as JSON does.
func fieldsOf(config any) ([]kongschema.Field, map[string]any) {
	// None of these can fail for the types of this package; their tests see to it.
	fields, _ := kongschema.Fields(reflect.TypeOf(config))
	b, _ := json.Marshal(config)
	values := map[string]any{}
	_ = json.Unmarshal(b, &values)
	return fields, values
}

// checkSnapshot sees to it that who gets hold of the snapshot's folder, in a
// backup say, has not got its key too.
func (p *problems) checkSnapshot(l *secretstore.Limits) {
	p.nodeFile("snapshot_file", l.SnapshotFile)
	p.nodeFile("snapshot_key_file", l.SnapshotKeyFile)
	switch {
	case l.SnapshotFile == "" && l.SnapshotKeyFile != "":
		p.add("snapshot_key_file", "it is of no use without snapshot_file")
	case l.SnapshotFile != "" && l.SnapshotKeyFile == "":
		p.add("snapshot_file", "it needs snapshot_key_file: openssl rand -base64 32 makes a key")
	case l.SnapshotFile != "" && filepath.Dir(l.SnapshotFile) == filepath.Dir(l.SnapshotKeyFile):
		p.add("snapshot_key_file", "it must lie in another folder than snapshot_file")
	}
}

// required checks a field that, given the auth method, can't be empty.
func (p *problems) required(field, value, authMethod string) {
	if _, told := p.Refs[field]; value != "" || told {
		return
	}
	hint := ""
	if !p.Node {
		hint = ". If it is a reference, Kong could not resolve it: its log says why"
	}
	p.add(field, "it is empty, and auth_method %s needs it%s", authMethod, hint)
}

// insteadOfFile is what to do when an inline object may not name a file.
const insteadOfFile = "a plugin's configuration may use nothing of the node's. " +
	"Define the vault object in VAULT_AUTH_VAULTS_FILE and name it in config.vault"

// nodeFile checks a field that names a file.
func (p *problems) nodeFile(field, value string) {
	if value != "" && !p.Node {
		p.add(field, "it names a file, and %s", insteadOfFile)
	}
}

// pem checks a field that holds PEM or names a file that does.
func (p *problems) pem(field, value string) {
	if value != "" && !p.Node && !isPEM(value) {
		p.add(field, "it is not PEM but may name a file, and %s, or give the PEM itself", insteadOfFile)
	}
}

func isPEM(s string) bool {
	_, ok := secretstore.PEM(s)
	return ok
}
