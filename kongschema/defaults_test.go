package kongschema

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func diffConfigs(want, got config) string {
	return cmp.Diff(want, got, cmp.AllowUnexported(config{}, server{}))
}

func TestUnmarshalFillsInDefaultsAsKongDoes(t *testing.T) {
	defaults := config{Mode: "a", Verify: true, Methods: []string{"GET", "PUT"}}
	with := func(change func(*config)) config {
		c := defaults
		change(&c)
		return c
	}
	tests := []struct {
		name, json string
		want       config
	}{
		{"nothing set", `{}`, defaults},
		{"nulls", `{"mode": null, "verify": null, "server": null}`, defaults},
		{"set to zero", `{"mode": "", "verify": false, "methods": []}`, config{Methods: []string{}}},
		{"an empty record", `{"server": {}}`, with(func(c *config) {
			c.Server = &server{Host: "127.0.0.1", Port: 8200, limits: limits{TTL: 60}}
		})},
		{"a record set to zero", `{"server": {"host": "", "port": 0, "ttl": 0}}`, with(func(c *config) { c.Server = &server{} })},
		{"what Kong adds", `{"__plugin_id": "x", "route_id": "y", "server": {"$refs": {"token": "{vault://env/t}"}, "token": ""}}`,
			with(func(c *config) { c.Server = &server{Host: "127.0.0.1", Port: 8200, limits: limits{TTL: 60}} })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got config
			if err := Unmarshal([]byte(tt.json), &got); err != nil {
				t.Fatal(err)
			}
			if diff := diffConfigs(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	for _, json := range []string{``, `[]`, `"a"`, `{"mode": 7}`, `{"server": []}`, `{"server": {"port": "80"}}`, `{"mode": "a"} x`} {
		var c config
		if err := Unmarshal([]byte(json), &c); err == nil {
			t.Errorf("Unmarshal(%s) = %+v", json, c)
		}
	}
	var c config
	for _, target := range []any{nil, c, (*config)(nil), ptr(7), &loop{}} {
		if err := Unmarshal([]byte(`{}`), target); err == nil {
			t.Errorf("Unmarshal into %T went well", target)
		}
	}
}

func TestApplyDefaultsOverwritesOnlyFieldsWithADefault(t *testing.T) {
	existing := &server{Port: 1}
	got := config{Name: "kept", Mode: "lost", Quiet: true, Server: existing, private: 1}
	if err := ApplyDefaults(&got); err != nil {
		t.Fatal(err)
	}
	want := config{Name: "kept", Mode: "a", Verify: true, Quiet: true, Methods: []string{"GET", "PUT"}, Server: &server{Port: 1}, private: 1}
	if diff := diffConfigs(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDefaultsAreNotShared(t *testing.T) {
	var a, b config
	if err := ApplyDefaults(&a); err != nil {
		t.Fatal(err)
	}
	a.Methods[0] = "changed"
	if err := ApplyDefaults(&b); err != nil {
		t.Fatal(err)
	}
	if b.Methods[0] != "GET" {
		t.Error("changing one configuration changed the default of the next")
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`{"server": {"ttl": 1e9, "other": {}}, "methods": ["a"]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c config
		_ = Unmarshal(b, &c) // must not panic
	})
}
