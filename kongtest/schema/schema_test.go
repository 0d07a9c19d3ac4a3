package schema

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

func TestSchemasThatKongRefuses(t *testing.T) {
	field := func(attributes string) string {
		return `{"name":"p","fields":[{"config":{"type":"record","fields":[{"f":{` + attributes + `}}]}}]}`
	}
	for text, want := range map[string]string{
		field(`"type":"string","description":"short"`):                               "description: length must be at least 10",
		field(`"type":"string","description":"` + strings.Repeat("long", 126) + `"`): "description: length must be at most 500",
		field(`"type":"string","pattern":"x"`):                                       "pattern: unknown field",
		field(`"type":"duration"`):                                                   "invalid type: duration",
		field(`"default":1`):                                                         "type: required field missing",
		field(`"type":"array"`):                                                      "missing attribute elements",
		field(`"type":"boolean","between":[0,1]`):                                    "between: not valid for type 'boolean'",
		field(`"type":"string","match":"[a"`):                                        "malformed pattern",
		`{"name":"p","fields":[{"other":{"type":"string"}}]}`:                        "a record named config is missing",
		`{"fields":[{"config":{"type":"record","fields":[]}}]}`:                      "name: required field missing",
		`{"name":"p"}`: "no 'fields' table",
		`{"name":"p","fields":[{"config":{"type":"record","fields":[],"entity_checks":[{"every_one_of":[]}]}}]}`: "every_one_of: unknown field",
	} {
		if _, err := ParsePlugin([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// Whatever a schema and a configuration hold, they are refused or accepted.
func FuzzConfig(f *testing.F) {
	f.Add(`{"name":"p","fields":[{"config":{"type":"record","fields":[{"hcv":{"type":"record","fields":[{"token":{"type":"string","referenceable":true,"match":"^[%w{]"}}]}}],"entity_checks":[{"only_one_of":["hcv"]}]}}]}`, `{"hcv":{"token":"{vault://env/x}"}}`)
	f.Add(`{"name":"p","fields":[{"config":{"type":"record","fields":[{"a":{"type":"map","keys":{"type":"string"},"values":{"type":"any"}}}]}}]}`, `{"a":{"b":null}}`)
	f.Fuzz(func(t *testing.T, schema, config string) {
		s, err := ParsePlugin([]byte(schema))
		if err != nil || len(schema) > 1<<12 {
			return
		}
		var c map[string]any
		if json.Unmarshal([]byte(config), &c) != nil {
			return
		}
		record := s.Record("config")
		filled := record.Fill(c)
		if record.Validate(filled) == nil {
			record.Resolve(filled, func(string) (string, error) { return "", os.ErrNotExist }, func(string) {})
		}
	})
}
