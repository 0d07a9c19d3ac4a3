// Package kongschema derives from a plugin's configuration struct what would otherwise be
// written three times: the schema by which Kong validates configurations, the defaults,
// and the tables of docs/configuration.md.
//
// A field of the struct is described by its tags:
//
//	TTL float64 `json:"ttl" kong:"default=60;between=0,1e8" doc:"Seconds a credential is kept."`
//
// json is the field's name in Kong, and doc its description: 10 to 500 characters, or Kong
// doesn't start. kong contains items separated by semicolons:
//
//	required             the field must be set, or have a default
//	default=VALUE        for an array: VALUE|VALUE
//	one_of=A|B           string, array: the values allowed
//	between=LOW,HIGH     integer, number: bounds, both included
//	match=LUA-PATTERN    string, array: a Lua pattern, not a regular expression
//	len_min=N            string, array: the least length
//	referenceable        string, array: may be a {vault://...} reference, which Kong resolves
//	encrypted            string, array: kept encrypted by Kong's keyring
//
// A struct type may add checks across its fields with a method
// EntityChecks() []any, which returns them in Kong's schema language.
package kongschema

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Kind is a type of Kong's schema language.
type Kind string

// The kinds, and the Go types for them.
const (
	String  Kind = "string"  // string
	Boolean Kind = "boolean" // bool
	Integer Kind = "integer" // int
	Number  Kind = "number"  // float64
	Array   Kind = "array"   // []string
	Map     Kind = "map"     // map[string]string
	Record  Kind = "record"  // pointer to struct
)

// Field is one field of a configuration.
type Field struct {
	Name          string
	Kind          Kind
	Doc           string
	Required      bool
	Default       any         // string, bool, int, float64 or []string, by Kind; nil: none
	OneOf         []string    // nil: any
	Between       *[2]float64 // lowest and highest value; nil: any
	Match         string      // a Lua pattern; empty: none
	LenMin        *int        // nil: Kong's own rule
	Referenceable bool
	Encrypted     bool
	Nested        []Field // of a record

	index  []int        // of the field in the struct, for reflect.Value.FieldByIndex
	record reflect.Type // of a record: the struct
}

// Fields describes the fields of the configuration struct t, or of the struct that t
// points to, in their order; those of an embedded struct come where it is embedded.
// Whatever Kong's schema can't express (a type without a
// counterpart, an unknown tag item, a description of the wrong length) is an
// error that names the field. Only unexported fields and those tagged json:"-" are
// left out.
func Fields(t reflect.Type) ([]Field, error) {
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("kongschema: %v is not a struct", t)
	}
	fields, err := structFields(t, nil)
	if err != nil {
		return nil, fmt.Errorf("kongschema: %w", err)
	}
	return fields, nil
}

// structFields describes a struct; within holds the structs it is nested in.
func structFields(t reflect.Type, within []reflect.Type) ([]Field, error) {
	if slices.Contains(within, t) {
		return nil, fmt.Errorf("%v contains itself", t)
	}
	within = append(within[:len(within):len(within)], t)

	var fields []Field
	names := map[string]bool{}
	for i := range t.NumField() {
		described, err := structField(t.Field(i), within)
		if err != nil {
			return nil, fmt.Errorf("field %s of %v: %w", t.Field(i).Name, t, err)
		}
		for _, f := range described {
			if names[f.Name] {
				return nil, fmt.Errorf("%v has two fields named %s", t, f.Name)
			}
			names[f.Name] = true
			fields = append(fields, f)
		}
	}
	return fields, nil
}

// structField describes one field of a struct. That is one Field, or those of an embedded
// struct, or none.
func structField(sf reflect.StructField, within []reflect.Type) ([]Field, error) {
	name, options, _ := strings.Cut(sf.Tag.Get("json"), ",")
	switch {
	case name == "-" && options == "":
		return nil, nil
	case sf.Anonymous:
		return embeddedFields(sf, within)
	case !sf.IsExported():
		return nil, nil
	}
	f := Field{Name: name, Doc: sf.Tag.Get("doc"), index: sf.Index}
	if err := checkName(name, options); err != nil {
		return nil, err
	}
	if n := utf8.RuneCountInString(f.Doc); n < 10 || n > 500 {
		return nil, fmt.Errorf("the doc tag has %d characters; Kong takes descriptions of 10 to 500", n)
	}
	if err := f.setKind(sf.Type, within); err != nil {
		return nil, err
	}
	if err := f.parseTag(sf.Tag.Get("kong")); err != nil {
		return nil, err
	}
	return []Field{f}, nil
}

func embeddedFields(sf reflect.StructField, within []reflect.Type) ([]Field, error) {
	if sf.Type.Kind() != reflect.Struct {
		return nil, fmt.Errorf("%v can't be embedded, only a struct can", sf.Type)
	}
	if sf.Tag != "" {
		return nil, fmt.Errorf("an embedded struct is flattened and takes no tags")
	}
	fields, err := structFields(sf.Type, within)
	if err != nil {
		return nil, err
	}
	for i := range fields {
		fields[i].index = append(sf.Index[:len(sf.Index):len(sf.Index)], fields[i].index...)
	}
	return fields, nil
}

var validName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func checkName(name, options string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("its json name %q is not valid in Kong: use letters in lower case, digits and underscores", name)
	}
	if options != "" && options != "omitempty" && options != "omitzero" {
		return fmt.Errorf("the option %q of its json tag changes how it is written", options)
	}
	return nil
}

func (f *Field) setKind(t reflect.Type, within []reflect.Type) (err error) {
	switch {
	case t.Kind() == reflect.String:
		f.Kind = String
	case t.Kind() == reflect.Bool:
		f.Kind = Boolean
	case t.Kind() == reflect.Int:
		f.Kind = Integer
	case t.Kind() == reflect.Float64:
		f.Kind = Number
	case t == reflect.TypeFor[[]string]():
		f.Kind = Array
	case t == reflect.TypeFor[map[string]string]():
		f.Kind = Map
	case t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct:
		f.Kind, f.record = Record, t.Elem()
		f.Nested, err = structFields(f.record, within)
	default:
		err = fmt.Errorf("%v has no type in Kong's schema; use string, bool, int, float64, []string, map[string]string or a pointer to a struct", t)
	}
	return err
}
