// Package schema is Kong's schema language: it reads the schema that a plugin
// dumps, or one of Kong's own, and fills in, validates and resolves a
// configuration as Kong does, with Kong's messages.
package schema

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"kong-vault-auth/kongtest/internal/lua"
)

// Schema describes a record: its fields, and checks across them.
type Schema struct {
	Name   string
	fields []*field
	checks []map[string]json.RawMessage
}

// field is one field of a schema.
type field struct {
	name string
	attributes
	requiredGiven          bool                    // the schema says required, true or false
	pattern                map[string]*lua.Pattern // compiled match and not_match
	elements, keys, values *field
	record                 *Schema // of a record
}

// attributes are those of a field that hold plain values.
type attributes struct {
	Type          string
	Description   *string
	Required      bool
	Default       any
	Referenceable bool
	Auto          bool
	UUID          bool
	Eq            any
	Ne            any
	OneOf         []any `json:"one_of"`
	NotOneOf      []any `json:"not_one_of"`
	Gt            *float64
	Between       []float64
	LenEq         *int     `json:"len_eq"`
	LenMin        *int     `json:"len_min"`
	LenMax        *int     `json:"len_max"`
	StartsWith    string   `json:"starts_with"`
	Match         string   `json:"match"`
	NotMatch      string   `json:"not_match"`
	MatchAll      []choice `json:"match_all"`
	MatchNone     []choice `json:"match_none"`
	MatchAny      *anyOf   `json:"match_any"`
	Contains      any
}

type choice struct{ Pattern, Err string }

type anyOf struct {
	Patterns []string
	Err      string
}

// knownAttributes are those that Kong's own schema of schemas admits. Those that the
// type attributes lacks have no effect on an external plugin.
var knownAttributes = []string{
	"type", "description", "required", "default", "referenceable", "encrypted", "auto", "uuid", "eq", "ne",
	"one_of", "not_one_of", "gt", "between", "len_eq", "len_min", "len_max", "starts_with", "match", "not_match",
	"match_all", "match_none", "match_any", "contains", "is_regex", "timestamp", "unique", "unique_across_ws",
	"elements", "keys", "values", "fields", "entity_checks", "nilable", "abstract", "legacy", "immutable",
	"indexed", "err", "reference", "on_delete", "deprecation", "shorthand_fields", "hostname", "examples",
}

// attributeTypes are the types for which an attribute makes sense.
var attributeTypes = map[string][]string{
	"between": {"integer", "number"}, "gt": {"integer", "number"}, "timestamp": {"integer", "number"},
	"match": {"string"}, "not_match": {"string"}, "match_all": {"string"}, "match_none": {"string"},
	"match_any": {"string"}, "starts_with": {"string"}, "uuid": {"string"}, "is_regex": {"string"},
	"one_of": {"string", "number", "integer", "boolean"}, "not_one_of": {"string", "number", "integer"},
	"len_eq": {"string", "array", "set", "map"}, "len_min": {"string", "array", "set", "map"},
	"len_max":       {"string", "array", "set", "map"},
	"referenceable": {"string", "array", "map"}, "encrypted": {"string", "array", "map", "record"},
	"elements": {"array", "set"}, "keys": {"map"}, "values": {"map"}, "contains": {"array", "set"},
	"fields": {"record"}, "entity_checks": {"record"},
}

// ParsePlugin parses a schema that a plugin has dumped. It refuses what Kong
// refuses when it loads the plugin.
func ParsePlugin(raw []byte) (*Schema, error) {
	s, err := Parse(raw)
	if err != nil {
		return nil, err
	}
	if s.Name == "" {
		return nil, fmt.Errorf("name: required field missing")
	}
	config := s.field("config")
	if config == nil || config.Type != "record" {
		return nil, fmt.Errorf("fields: a record named config is missing")
	}
	config.Required = true
	config.record.requireRecords()
	return s, nil
}

// requireRecords makes the records in s required unless they set it themselves,
// as make_records_required does in Kong's kong/db/schema/entity.lua. Records
// in lists and maps are left alone there too.
func (s *Schema) requireRecords() {
	for _, f := range s.fields {
		if f.Type != "record" {
			continue
		}
		f.Required = f.Required || !f.requiredGiven
		f.record.requireRecords()
	}
}

// Parse parses a schema in JSON.
func Parse(raw []byte) (*Schema, error) {
	var d struct {
		Name   string
		Fields []map[string]json.RawMessage
		Checks []map[string]json.RawMessage `json:"entity_checks"`
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, err
	}
	if d.Fields == nil {
		return nil, fmt.Errorf("error in schema definition: no 'fields' table")
	}
	s := &Schema{Name: d.Name, checks: d.Checks}
	for i, entry := range d.Fields {
		if len(entry) != 1 {
			return nil, fmt.Errorf("fields: entry %d: expected a table with one key, the field's name", i+1)
		}
		for name, raw := range entry {
			f, err := parseField(name, raw)
			if err != nil {
				return nil, fmt.Errorf("fields: %s: %w", name, err)
			}
			s.fields = append(s.fields, f)
		}
	}
	for _, check := range s.checks {
		for name := range check {
			if !slices.Contains(entityCheckNames, name) {
				return nil, fmt.Errorf("entity_checks: %s: unknown field", name)
			}
		}
	}
	return s, nil
}

func parseField(name string, raw json.RawMessage) (*field, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("expected a record: %w", err)
	}
	f := &field{name: name, requiredGiven: all["required"] != nil, pattern: map[string]*lua.Pattern{}}
	if err := json.Unmarshal(raw, &f.attributes); err != nil {
		return nil, err
	}
	if err := f.checkAttributes(all); err != nil {
		return nil, err
	}
	for attribute, sub := range map[string]**field{"elements": &f.elements, "keys": &f.keys, "values": &f.values} {
		if all[attribute] == nil {
			continue
		}
		var err error
		if *sub, err = parseField("", all[attribute]); err != nil {
			return nil, fmt.Errorf("%s: %w", attribute, err)
		}
		(*sub).Required = true
	}
	if f.Type == "record" {
		record, err := Parse(raw)
		if err != nil {
			return nil, err
		}
		f.record = record
	}
	return f, f.compilePatterns()
}

// checkAttributes is what Kong's schema of schemas checks.
func (f *field) checkAttributes(all map[string]json.RawMessage) error {
	if !slices.Contains([]string{"string", "number", "integer", "boolean", "array", "set", "map", "record", "foreign", "any"}, f.Type) {
		if f.Type == "" {
			return fmt.Errorf("type: required field missing")
		}
		return fmt.Errorf("invalid type: %s", f.Type)
	}
	for attribute := range all {
		if !slices.Contains(knownAttributes, attribute) {
			return fmt.Errorf("%s: unknown field", attribute)
		}
		if types := attributeTypes[attribute]; types != nil && !slices.Contains(types, f.Type) {
			return fmt.Errorf("%s: not valid for type '%s'", attribute, f.Type)
		}
	}
	if d := f.Description; d != nil {
		if len(*d) < 10 {
			return fmt.Errorf("description: length must be at least 10")
		}
		if len(*d) > 500 {
			return fmt.Errorf("description: length must be at most 500")
		}
	}
	needed := map[string][]string{"array": {"elements"}, "set": {"elements"}, "map": {"keys", "values"}, "record": {"fields"}}
	for _, attribute := range needed[f.Type] {
		if all[attribute] == nil {
			return fmt.Errorf("error in schema definition: missing attribute %s", attribute)
		}
	}
	if f.Between != nil && len(f.Between) != 2 {
		return fmt.Errorf("between: length must be 2")
	}
	return nil
}

func (f *field) compilePatterns() error {
	patterns := []string{f.Match, f.NotMatch}
	for _, c := range slices.Concat(f.MatchAll, f.MatchNone) {
		patterns = append(patterns, c.Pattern)
	}
	if f.MatchAny != nil {
		patterns = append(patterns, f.MatchAny.Patterns...)
	}
	for _, p := range patterns {
		if p == "" {
			continue
		}
		compiled, err := lua.CompilePattern(p)
		if err != nil {
			return fmt.Errorf("match: %q: %w", p, err)
		}
		f.pattern[p] = compiled
	}
	return nil
}

// Record returns the schema of a field that is a record, nil if there is no
// such field.
func (s *Schema) Record(name string) *Schema {
	if f := s.field(name); f != nil {
		return f.record
	}
	return nil
}

// With joins Kong's schema of plugin entities with a plugin's own: its fields, in
// plugin's version where plugin has one, and plugin's checks.
func (s *Schema) With(plugin *Schema) *Schema {
	joined := &Schema{Name: plugin.Name, checks: plugin.checks}
	for _, f := range s.fields {
		if own := plugin.field(f.name); own != nil {
			f = own
		}
		joined.fields = append(joined.fields, f)
	}
	return joined
}

func (s *Schema) field(name string) *field {
	for _, f := range s.fields {
		if f.name == name {
			return f
		}
	}
	return nil
}

// Errors are the messages about a record by field: a string, the Errors of a
// record, or messages by entry of a list (map[int]any, from 1). The failed
// checks across fields are a list under "@entity".
type Errors map[string]any

// String lays the messages out as Kong prints them for a declarative file.
func (e Errors) String() string {
	var b strings.Builder
	e.print(&b, "")
	return strings.TrimSuffix(b.String(), "\n")
}

func (e Errors) print(b *strings.Builder, indent string) {
	for _, key := range slices.Sorted(maps.Keys(e)) {
		fmt.Fprintf(b, "%sin '%s':", indent, key)
		printErrors(b, key, e[key], indent)
	}
}

func printErrors(b *strings.Builder, key string, v any, indent string) {
	switch v := v.(type) {
	case Errors:
		b.WriteString("\n")
		v.print(b, indent+"  ")
	case map[int]any: // by entry of a list, from 1
		b.WriteString("\n")
		for _, i := range sortedInts(v) {
			fmt.Fprintf(b, "%s  - in entry %d of '%s':", indent, i, key)
			printErrors(b, key, v[i], indent+"  ")
		}
	default:
		fmt.Fprintf(b, " %v\n", v)
	}
}

func sortedInts(m map[int]any) []int {
	keys := make([]int, 0, len(m))
	for i := range m {
		keys = append(keys, i)
	}
	slices.Sort(keys)
	return keys
}
