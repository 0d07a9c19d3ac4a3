package schema

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/google/uuid"

	"kong-vault-auth/kongtest/internal/lua"
)

// Fill returns the table with the defaults of what is missing. A field without
// one becomes nil, Kong's null, unless it is required.
func (s *Schema) Fill(in map[string]any) map[string]any {
	out := make(map[string]any, len(s.fields))
	for k, v := range in {
		out[k] = v
	}
	for _, f := range s.fields {
		v, ok := out[f.name]
		if f.Type == "record" && f.record != nil {
			if list, isList := v.([]any); isList && len(list) == 0 {
				v = map[string]any{} // Lua knows no difference
			}
			t, isTable := v.(map[string]any)
			if !ok && f.Default != nil {
				t, isTable = f.Default.(map[string]any)
			}
			if isTable || !ok && f.Required {
				out[f.name] = f.record.Fill(t)
				continue
			}
		}
		switch {
		case ok:
		case f.Default != nil:
			out[f.name] = f.Default
		case !f.Required:
			out[f.name] = nil
		}
	}
	return out
}

// Validate returns the errors of a table that Fill has completed, nil if it
// has none.
func (s *Schema) Validate(t map[string]any) Errors {
	errs := Errors{}
	for name, v := range t {
		if f := s.field(name); f == nil {
			errs[name] = "unknown field"
		} else if err := f.validate(v); err != nil {
			errs[name] = err
		}
	}
	for _, f := range s.fields {
		if v, ok := t[f.name]; f.Required && (!ok || v == nil) {
			errs[f.name] = "required field missing"
		}
	}
	var entity []any
	for _, check := range s.checks {
		for name, raw := range check {
			if msg := s.entityCheck(name, raw, t, errs); msg != "" {
				entity = append(entity, msg)
			}
		}
	}
	if entity != nil {
		list := map[int]any{}
		for i, msg := range entity {
			list[i+1] = msg
		}
		errs["@entity"] = list
	}
	if len(errs) == 0 {
		return nil
	}
	return errs
}

// validate returns a message, nested errors, or nil.
func (f *field) validate(v any) any {
	if v == nil {
		if f.Required {
			return "required field missing"
		}
		return nil
	}
	if s, ok := v.(string); ok && f.Referenceable && isReference(s) {
		return nil
	}
	if err := f.validateType(v); err != nil {
		return err
	}
	if msg := f.validateValue(v); msg != "" {
		return msg
	}
	return nil
}

func (f *field) validateType(v any) any {
	switch f.Type {
	case "array", "set":
		list, ok := v.([]any)
		if t, isTable := v.(map[string]any); isTable && len(t) == 0 {
			ok = true // Lua knows no difference
		}
		if !ok {
			return map[string]string{"array": "expected an array", "set": "expected a set"}[f.Type]
		}
		errs := map[int]any{}
		for i, e := range list {
			if err := f.elements.validate(e); err != nil {
				errs[i+1] = err
			}
		}
		if len(errs) > 0 {
			return errs
		}
	case "map":
		if list, isList := v.([]any); isList { // whose entries have the keys 1, 2, ...
			if len(list) == 0 {
				break
			}
			return f.keys.validate(1.0)
		}
		t, ok := v.(map[string]any)
		if !ok {
			return "expected a map"
		}
		for key, value := range t {
			if err := f.keys.validate(key); err != nil {
				return err
			}
			if err := f.values.validate(value); err != nil {
				return err
			}
		}
	case "record":
		if list, isList := v.([]any); isList && len(list) > 0 {
			errs := map[int]any{}
			for i := range list {
				errs[i+1] = "unknown field" // a list's entries are fields named 1, 2, ...
			}
			return errs
		}
		t, ok := v.(map[string]any)
		if !ok {
			return "expected a record"
		}
		if errs := f.record.Validate(t); errs != nil {
			return errs
		}
	case "integer":
		if n, ok := v.(float64); !ok || n != math.Trunc(n) || math.IsInf(n, 0) {
			return "expected an integer"
		}
	case "string", "number", "boolean":
		if lua.Type(v) != f.Type {
			return "expected a " + f.Type
		}
	}
	return nil
}

// validateValue runs the validators in Kong's order.
func (f *field) validateValue(v any) string {
	s, _ := v.(string)
	n, _ := v.(float64)
	switch {
	case f.Eq != nil && v != f.Eq:
		return "value must be " + lua.ToString(f.Eq)
	case f.Ne != nil && v == f.Ne:
		return "value must not be " + lua.ToString(v)
	case f.NotOneOf != nil && slices.Contains(f.NotOneOf, v):
		return "must not be one of: " + joinValues(f.NotOneOf)
	case f.OneOf != nil && !slices.Contains(f.OneOf, v):
		return "expected one of: " + joinValues(f.OneOf)
	case f.Gt != nil && n <= *f.Gt:
		return "value must be greater than " + lua.ToString(*f.Gt)
	case f.UUID && (len(s) != 36 || uuid.Validate(s) != nil):
		return "expected a valid UUID"
	case f.Between != nil && (n < f.Between[0] || n > f.Between[1]):
		return fmt.Sprintf("value should be between %d and %d", int64(f.Between[0]), int64(f.Between[1]))
	}
	if msg := f.validateLength(v); msg != "" {
		return msg
	}
	switch {
	case !strings.HasPrefix(s, f.StartsWith):
		return "should start with: " + f.StartsWith
	case f.NotMatch != "" && f.pattern[f.NotMatch].Match(s):
		return "invalid value: " + s
	}
	for _, c := range f.MatchNone {
		if f.pattern[c.Pattern].Match(s) {
			return c.Err
		}
	}
	if f.Match != "" && !f.pattern[f.Match].Match(s) {
		return "invalid value: " + s
	}
	for _, c := range f.MatchAll {
		if !f.pattern[c.Pattern].Match(s) {
			return c.Err
		}
	}
	if f.MatchAny != nil && !slices.ContainsFunc(f.MatchAny.Patterns, func(p string) bool { return f.pattern[p].Match(s) }) {
		return f.MatchAny.Err
	}
	if list, ok := v.([]any); ok && f.Contains != nil && !slices.Contains(list, f.Contains) {
		return "expected to contain: " + lua.ToString(f.Contains)
	}
	return ""
}

func (f *field) validateLength(v any) string {
	var length int
	switch v := v.(type) {
	case string:
		length = len(v)
	case []any:
		length = len(v)
	case map[string]any:
		length = len(v)
	default:
		return ""
	}
	least := f.LenMin
	if one := 1; least == nil && f.Type == "string" {
		least = &one // no empty strings unless len_min says so
	}
	switch {
	case f.LenEq != nil && length != *f.LenEq:
		return fmt.Sprintf("length must be %d", *f.LenEq)
	case least != nil && length < *least:
		return fmt.Sprintf("length must be at least %d", *least)
	case f.LenMax != nil && length > *f.LenMax:
		return fmt.Sprintf("length must be at most %d", *f.LenMax)
	}
	return ""
}

func joinValues(list []any) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = lua.ToString(v)
	}
	return strings.Join(words, ", ")
}

var entityCheckNames = []string{
	"only_one_of", "at_least_one_of", "distinct", "mutually_required", "mutually_exclusive", "conditional",
	"conditional_at_least_one_of",
}

// entityCheck returns the message of a check across fields that failed.
func (s *Schema) entityCheck(name string, raw json.RawMessage, t map[string]any, errs Errors) string {
	switch name {
	case "conditional":
		return s.conditional(raw, t, errs)
	case "conditional_at_least_one_of":
		return s.conditionalAtLeastOneOf(raw, t, errs)
	}
	var names []string
	if err := json.Unmarshal(raw, &names); err != nil {
		return fmt.Sprintf("failed entity check: %s(%s)", name, raw)
	}
	var given []any
	for _, n := range names {
		if v := at(t, n); !empty(v) {
			given = append(given, v)
		}
	}
	list := "'" + strings.Join(names, "', '") + "'"
	switch name {
	case "only_one_of":
		if len(given) != 1 {
			return "exactly one of these fields must be non-empty: " + list
		}
	case "at_least_one_of":
		if len(given) == 0 {
			return "at least one of these fields must be non-empty: " + list
		}
	case "mutually_required":
		if len(given) != 0 && len(given) != len(names) {
			return "all or none of these fields must be set: " + list
		}
	case "mutually_exclusive":
		if len(given) > 1 {
			return "only one or none of these fields must be set: " + list
		}
	case "distinct":
		for i, v := range given {
			if slices.ContainsFunc(given[:i], func(other any) bool { return lua.ToString(other) == lua.ToString(v) }) {
				return "values of these fields must be distinct: " + list
			}
		}
	}
	return ""
}

// conditional demands something of one field when another matches.
func (s *Schema) conditional(raw json.RawMessage, t map[string]any, errs Errors) string {
	var c struct {
		IfField   string          `json:"if_field"`
		IfMatch   json.RawMessage `json:"if_match"`
		ThenField string          `json:"then_field"`
		ThenMatch json.RawMessage `json:"then_match"`
		ThenErr   string          `json:"then_err"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return fmt.Sprintf("failed entity check: conditional(%s)", raw)
	}
	condition, err := s.refine(c.IfField, c.IfMatch)
	if err != nil {
		return err.Error()
	}
	demand, err := s.refine(c.ThenField, c.ThenMatch)
	if err != nil {
		return err.Error()
	}
	if condition.validate(at(t, c.IfField)) != nil {
		return ""
	}
	failed := demand.validate(at(t, c.ThenField))
	if failed == nil {
		return ""
	}
	errs[c.ThenField] = failed
	if c.ThenErr != "" {
		return strings.ReplaceAll(c.ThenErr, "%s", c.IfField)
	}
	return fmt.Sprintf("failed conditional validation given value of field '%s'", c.IfField)
}

// conditionalAtLeastOneOf demands one of several fields when another matches.
func (s *Schema) conditionalAtLeastOneOf(raw json.RawMessage, t map[string]any, errs Errors) string {
	var c struct {
		IfField string          `json:"if_field"`
		IfMatch json.RawMessage `json:"if_match"`
		Then    json.RawMessage `json:"then_at_least_one_of"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return fmt.Sprintf("failed entity check: conditional_at_least_one_of(%s)", raw)
	}
	condition, err := s.refine(c.IfField, c.IfMatch)
	if err != nil {
		return err.Error()
	}
	if condition.validate(at(t, c.IfField)) != nil {
		return ""
	}
	return s.entityCheck("at_least_one_of", c.Then, t, errs)
}

// refine is a field with further attributes.
func (s *Schema) refine(name string, raw json.RawMessage) (*field, error) {
	base := s.field(name)
	if base == nil {
		return nil, fmt.Errorf("entity check of unknown field '%s'", name)
	}
	f := *base
	f.pattern = map[string]*lua.Pattern{}
	for p, compiled := range base.pattern {
		f.pattern[p] = compiled
	}
	if err := json.Unmarshal(raw, &f.attributes); err != nil {
		return nil, err
	}
	return &f, f.compilePatterns()
}

// at is the value below a dotted name.
func at(t map[string]any, name string) any {
	head, tail, nested := strings.Cut(name, ".")
	if !nested {
		return t[name]
	}
	sub, _ := t[head].(map[string]any)
	return at(sub, tail)
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}
