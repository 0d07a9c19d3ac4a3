package kongschema

import (
	"fmt"
	"reflect"
)

// Schema returns Kong's schema of the configuration struct t, or of the struct that t
// points to: a record, ready for encoding/json.
func Schema(t reflect.Type) (map[string]any, error) {
	fields, err := Fields(t)
	if err != nil {
		return nil, err
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return recordSchema(t, fields)
}

func recordSchema(t reflect.Type, fields []Field) (map[string]any, error) {
	list := make([]any, 0, len(fields))
	for _, f := range fields {
		s, err := f.schema()
		if err != nil {
			return nil, err
		}
		list = append(list, map[string]any{f.Name: s})
	}
	s := map[string]any{"type": Record, "fields": list}
	if checks := entityChecks(t); len(checks) > 0 {
		s["entity_checks"] = checks
	}
	return s, nil
}

func entityChecks(t reflect.Type) []any {
	if c, ok := reflect.New(t).Interface().(interface{ EntityChecks() []any }); ok {
		return c.EntityChecks()
	}
	return nil
}

func (f *Field) schema() (map[string]any, error) {
	if f.Kind == Record {
		s, err := recordSchema(f.record, f.Nested)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		return f.common(s), nil
	}
	s := f.common(map[string]any{"type": f.Kind})
	value := s
	if f.Kind == Array {
		// The rules for strings apply to the elements.
		value = map[string]any{"type": String}
		s["elements"] = value
	}
	if f.Kind == Map {
		s["keys"], s["values"] = map[string]any{"type": String}, map[string]any{"type": String}
	}
	if f.OneOf != nil {
		value["one_of"] = f.OneOf
	}
	if f.Match != "" {
		value["match"] = f.Match
	}
	if f.Referenceable {
		value["referenceable"] = true
	}
	if f.Encrypted {
		value["encrypted"] = true
	}
	return s, nil
}

// common adds the properties to s that a field of any type can have.
func (f *Field) common(s map[string]any) map[string]any {
	s["description"] = f.Doc
	// Kong requires every record of a plugin that leaves this out
	// (kong/db/schema/entity.lua, make_records_required), and fills it in.
	if f.Required || f.Kind == Record {
		s["required"] = f.Required
	}
	if f.Default != nil {
		s["default"] = f.Default
	}
	if f.Between != nil {
		s["between"] = f.Between
	}
	if f.LenMin != nil {
		s["len_min"] = *f.LenMin
	}
	return s
}
