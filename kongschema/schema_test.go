package kongschema

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSchema(t *testing.T) {
	const serverSchema = `"type": "record", "fields": [
		{"host": {"type": "string", "required": true, "default": "127.0.0.1", "len_min": 1, "description": "Where the server is."}},
		{"port": {"type": "integer", "default": 8200, "between": [1, 65535], "description": "Port of the server."}},
		{"token": {"type": "string", "referenceable": true, "encrypted": true, "description": "Token for the server."}},
		{"ttl": {"type": "number", "default": 60, "between": [0, 100000000], "description": "Seconds a credential is kept."}}
	], "entity_checks": [{"only_one_of": ["host", "token"]}]`
	const want = `{"type": "record", "fields": [
		{"name": {"type": "string", "match": "^[%w_-]+$", "description": "Name of the thing."}},
		{"mode": {"type": "string", "default": "a", "one_of": ["a", "b"], "description": "Mode of the thing."}},
		{"verify": {"type": "boolean", "default": true, "description": "Whether to verify."}},
		{"quiet": {"type": "boolean", "description": "Whether to be quiet."}},
		{"methods": {"type": "array", "elements": {"type": "string", "one_of": ["GET", "PUT", "POST"]}, "len_min": 1,
			"default": ["GET", "PUT"], "description": "Methods that pass."}},
		{"server": {` + serverSchema + `, "required": false, "description": "The server, if any."}},
		{"other": {` + serverSchema + `, "required": true, "description": "The other server."}}
	]}`
	schema, err := Schema(reflect.TypeFor[*config]())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(decode(t, []byte(want)), decode(t, encode(t, schema))); diff != "" {
		t.Error(diff)
	}
}

// An array that is a set of references is told so for its elements.
func TestSchemaOfReferenceableArray(t *testing.T) {
	schema, err := Schema(reflect.TypeFor[struct {
		Keys []string `json:"keys" kong:"referenceable;encrypted;match=^%w+$" doc:"Keys that pass."`
	}]())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"type": "record", "fields": [{"keys": {"type": "array", "description": "Keys that pass.",
		"elements": {"type": "string", "match": "^%w+$", "referenceable": true, "encrypted": true}}}]}`
	if diff := cmp.Diff(decode(t, []byte(want)), decode(t, encode(t, schema))); diff != "" {
		t.Error(diff)
	}
}

func TestSchemaOfNoStruct(t *testing.T) {
	for _, typ := range []reflect.Type{nil, reflect.TypeFor[int](), reflect.TypeFor[loop]()} {
		if schema, err := Schema(typ); err == nil {
			t.Errorf("Schema(%v) = %v", typ, schema)
		}
	}
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode(t *testing.T, b []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestMaps(t *testing.T) {
	type config struct {
		Headers map[string]string `json:"headers" doc:"Values of headers, by name."`
	}
	schema, err := Schema(reflect.TypeFor[config]())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"type": "record", "fields": [{"headers": {"type": "map", "description": "Values of headers, by name.",
		"keys": {"type": "string"}, "values": {"type": "string"}}}]}`
	if diff := cmp.Diff(decode(t, []byte(want)), decode(t, encode(t, schema))); diff != "" {
		t.Error(diff)
	}
	var c config
	if err := Unmarshal([]byte(`{"headers": {"A": "b"}}`), &c); err != nil || c.Headers["A"] != "b" {
		t.Errorf("%v, %v", c, err)
	}
}
