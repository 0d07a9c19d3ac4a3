package gateway

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/kongtest"
	"kong-vault-auth/kongtest/internal/nginx"
	"kong-vault-auth/kongtest/schema"
)

// sample is a schema with what an external plugin's can hold.
const sample = `{"name":"sample","fields":[
	{"protocols":{"type":"set","default":["http","https"],"elements":{"type":"string","one_of":["http","https"]}}},
	{"config":{"type":"record","fields":[
		{"name":{"type":"string","match":"^[%w_-]+$","default":"token","description":"A name of ten characters."}},
		{"bytes":{"type":"integer","between":[0,100],"default":10}},
		{"rate":{"type":"number","gt":0}},
		{"on":{"type":"boolean","default":true}},
		{"list":{"type":"array","elements":{"type":"string","referenceable":true}}},
		{"vault":{"type":"string"}},
		{"plain":{"type":"string"}},
		{"labels":{"type":"map","keys":{"type":"string"},"values":{"type":"integer"}}},
		{"hcv":{"type":"record","required":false,"fields":[
			{"kv":{"type":"string","one_of":["v1","v2"],"default":"v2"}},
			{"token":{"type":"string","referenceable":true,"encrypted":true}},
			{"method":{"type":"string","default":"token"}},
			{"role":{"type":"string"}}],
			"entity_checks":[{"conditional":{"if_field":"method","if_match":{"eq":"approle"},"then_field":"role","then_match":{"required":true}}}]}},
		{"azure":{"type":"record","required":false,"fields":[{"uri":{"type":"string","required":true,"starts_with":"https://"}}]}}],
		"entity_checks":[{"only_one_of":["vault","hcv","azure"]}]}}]}`

func samplePlugin(t *testing.T) map[string]*plugin {
	t.Helper()
	s, err := schema.ParsePlugin([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*plugin{"sample": {name: "sample", schema: s}}
}

func loadText(t *testing.T, text string) (*configuration, []string, error) {
	t.Helper()
	return loadWith(text, samplePlugin(t))
}

func loadWith(text string, plugins map[string]*plugin) (*configuration, []string, error) {
	var notices []string
	env := map[string]string{"MY_TOKEN": "s3cret", "P_X": "prefixed", "OBJECT": `{"key":"inner"}`}
	c, err := load([]byte(text), plugins, func(k string) (string, bool) {
		v, ok := env[k]
		return v, ok
	}, func(s string) { notices = append(notices, s) })
	return c, notices, err
}

func TestBadConfigurationsAreRefusedAsKongWould(t *testing.T) {
	tests := map[string]struct{ config, want string }{
		"unknown field":       {`{vault: v, bogus: 1}`, "in 'bogus': unknown field"},
		"unknown nested":      {`{hcv: {bogus: 1}}`, "in 'hcv':\n        in 'bogus': unknown field"},
		"not a string":        {`{vault: 5}`, "in 'vault': expected a string"},
		"not an integer":      {`{vault: v, bytes: 1.5}`, "in 'bytes': expected an integer"},
		"not a boolean":       {`{vault: v, on: "yes"}`, "in 'on': expected a boolean"},
		"not a number":        {`{vault: v, rate: fast}`, "in 'rate': expected a number"},
		"not a record":        {`{hcv: v}`, "in 'hcv': expected a record"},
		"not an array":        {`{vault: v, list: a}`, "in 'list': expected an array"},
		"not a map of ints":   {`{vault: v, labels: {a: b}}`, "in 'labels': expected an integer"},
		"one of":              {`{hcv: {kv: v3}}`, "in 'kv': expected one of: v1, v2"},
		"between":             {`{vault: v, bytes: 101}`, "in 'bytes': value should be between 0 and 100"},
		"gt":                  {`{vault: v, rate: 0}`, "in 'rate': value must be greater than 0"},
		"match":               {`{vault: v, name: a b}`, "in 'name': invalid value: a b"},
		"empty string":        {`{hcv: {token: ""}}`, "in 'token': length must be at least 1"},
		"required":            {`{azure: {}}`, "in 'uri': required field missing"},
		"starts with":         {`{azure: {uri: http://x}}`, "in 'uri': should start with: https://"},
		"none of three":       {`{name: a}`, "in '@entity':\n        - in entry 1 of '@entity': exactly one of these fields must be non-empty: 'vault', 'hcv', 'azure'"},
		"two of three":        {`{vault: v, hcv: {}}`, "exactly one of these fields must be non-empty: 'vault', 'hcv', 'azure'"},
		"conditional":         {`{hcv: {method: approle}}`, "failed conditional validation given value of field 'method'"},
		"literal in an array": {`{vault: v, list: [1]}`, "in 'list':\n        - in entry 1 of 'list': expected a string"},
	}
	for name, test := range tests {
		_, _, err := loadText(t, "_format_version: '3.0'\nplugins: [{name: sample, config: "+test.config+"}]")
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got\n%v\nwant\n%s", name, err, test.want)
		}
	}
}

// The dump of 2026-11-25 left required out: no configuration was valid then.
func TestARecordThatLeavesRequiredOutIsRequired(t *testing.T) {
	s, err := schema.ParsePlugin([]byte(strings.ReplaceAll(sample, `"required":false,`, "")))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = loadWith("_format_version: '3.0'\nplugins: [{name: sample, config: {vault: v}}]", map[string]*plugin{"sample": {name: "sample", schema: s}})
	for _, want := range []string{"in 'uri': required field missing", "exactly one of these fields must be non-empty: 'vault', 'hcv', 'azure'"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got\n%v\nwant\n%s", err, want)
		}
	}
}

func TestBadFilesAreRefused(t *testing.T) {
	tests := map[string]string{
		"plugins: []":                                   "in '_format_version': required field missing",
		"_format_version: '3.0'\nbogus: []":             "in 'bogus': unknown field",
		"_format_version: '3.0'\nservices: [{name: a}]": "in 'host': required field missing",
		"_format_version: '3.0'\nservices: [{url: 'http://x'}, {url: 'http://x', port: a}]":                         "",
		"_format_version: '3.0'\nservices: [{name: a, url: 'http://x', routes: [{name: r}]}]":                       "at least one of these fields must be non-empty: 'methods', 'hosts', 'headers', 'paths'",
		"_format_version: '3.0'\nservices: [{name: a, url: 'http://x', routes: [{paths: [x]}]}]":                    "should start with: /",
		"_format_version: '3.0'\nplugins: [{name: nope}]":                                                           "plugin 'nope' not enabled",
		"_format_version: '3.0'\nplugins: [{name: sample, service: no, config: {vault: v}}]":                        "invalid reference 'service: no' (no such entity in 'services')",
		"_format_version: '3.0'\nconsumers: [{username: a}, {username: a}]":                                         "uniqueness violation",
		"_format_version: '3.0'\nplugins: [{name: sample, config: {vault: v}}, {name: sample, config: {vault: v}}]": "uniqueness violation",
		"_format_version: '3.0'\nvaults: [{name: hcv, prefix: my-hcv}]":                                             "vault 'hcv' is not installed",
		"{": "failed parsing declarative configuration",
	}
	for text, want := range tests {
		if _, _, err := loadText(t, text); want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestConfigIsHandedOverWithDefaultsAndReferencesAndWithoutNulls(t *testing.T) {
	c, notices, err := loadText(t, `
_format_version: "3.0"
vaults: [{name: env, prefix: pre, config: {prefix: P_}}]
plugins:
- name: sample
  config:
    hcv: {token: "{vault://env/my-token}", role: ~}
    plain: "{vault://env/my-token}"
    list: ["{vault://env/object/key}", literal, "{vault://pre/x}"]
`)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"name": "token", "bytes": 10.0, "on": true,
		"plain": "{vault://env/my-token}",
		"hcv":   map[string]any{"kv": "v2", "method": "token", "token": "s3cret", "$refs": map[string]any{"token": "{vault://env/my-token}"}},
		"list":  []any{"inner", "literal", "prefixed"},
		"$refs": map[string]any{"list": []any{"{vault://env/object/key}", nil, "{vault://pre/x}"}},
	}
	if diff := cmp.Diff(want, c.plugins[0].config); diff != "" {
		t.Error(diff)
	}
	if notices != nil {
		t.Errorf("notices %q", notices)
	}
}

func TestUnresolvableReferenceIsAnEmptyStringAndANotice(t *testing.T) {
	c, notices, err := loadText(t, `{_format_version: "3.0", plugins: [{name: sample, config: {hcv: {token: "{vault://env/gone}"}}}]}`)
	if err != nil {
		t.Fatal(err)
	}
	hcv := c.plugins[0].config["hcv"].(map[string]any)
	if hcv["token"] != "" || len(notices) != 1 || !strings.Contains(notices[0], "unable to resolve reference {vault://env/gone}") {
		t.Errorf("token %q, notices %q", hcv["token"], notices)
	}
}

func TestRouting(t *testing.T) {
	c, _, err := loadText(t, `
_format_version: "3.0"
services:
- {name: s, url: "http://up:81/base/"}
routes:
- {name: short, paths: [/a], service: s}
- {name: long, paths: [/a/b], service: s}
- {name: host, hosts: [x.example], service: s}
- {name: wildcard, hosts: ["*.example"], service: s}
- {name: host-and-path, hosts: [x.example], paths: [/a], service: s, strip_path: false}
- {name: post, methods: [POST], paths: [/a], service: s}
- {name: regex, paths: ['~/r/\d+'], service: s}
- {name: header, headers: {x-v: ["2"]}, paths: [/a], service: s}
`)
	if err != nil {
		t.Fatal(err)
	}
	for request, want := range map[string]string{
		"GET h /a/c":             "short /base/c",
		"GET h /a":               "short /base",
		"GET h /a/":              "short /base/",
		"GET h /a/b?q":           "long /base",
		"GET h /%61/x":           "short /base/x",
		"GET x.example /":        "host /base/",
		"GET y.example /":        "wildcard /base/",
		"GET x.example /a/b":     "host-and-path /base/a/b",
		"POST h /a/b":            "post /base/b",
		"GET h /r/12/x":          "regex /base/x",
		"GET h /none":            "",
		"GET h /a/b x-v:2":       "header /base/b",
		"OPTIONS y.example /a/b": "long /base",
	} {
		words := strings.Fields(request)
		req := &kongtest.Request{Method: words[0], Host: words[1], URI: words[2]}
		if len(words) > 3 {
			name, value, _ := strings.Cut(words[3], ":")
			req.Header = []kongtest.Header{line(name, value)}
		}
		got := ""
		if m := c.route(kongtest.NewExchange(req).Request); m != nil {
			got = m.Name + " " + m.upstreamPath(nginx.NormalizePath(req.Path()))
		}
		if got != want {
			t.Errorf("%s: %q, want %q", request, got, want)
		}
	}
}
