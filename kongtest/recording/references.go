package recording

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
)

// ReferenceEnv is what Kong's environment must hold for [References].
const ReferenceEnv = "RECORDED_SECRET=s3cret"

// Handed is a configuration with references, and what a plugin's instance is
// started with.
type Handed struct {
	Case   string          `json:"case"`
	Config json.RawMessage `json:"config"` // as it is written
	Handed json.RawMessage `json:"handed"` // without what Kong adds to any configuration
}

// referenceFields are fields of the probe's schema for references.
const referenceFields = `,
	{"secret":{"type":"string","referenceable":true}},
	{"plain":{"type":"string"}},
	{"list":{"type":"array","elements":{"type":"string","referenceable":true}}},
	{"map":{"type":"map","keys":{"type":"string"},"values":{"type":"string","referenceable":true}}},
	{"record":{"type":"record","required":false,"fields":[
		{"secret":{"type":"string","referenceable":true}},
		{"inner":{"type":"record","required":false,"fields":[{"secret":{"type":"string","referenceable":true}}]}}]}}`

var referenceCases = []struct{ name, config string }{
	{"a string", `{"secret": "{vault://env/recorded-secret}"}`},
	{"an entity's prefix", `{"secret": "{vault://recorded-vault/secret}"}`},
	{"what can't be resolved", `{"secret": "{vault://env/recorded-nothing}"}`},
	{"a vault that Kong doesn't have", `{"secret": "{vault://azure/a/b}"}`},
	{"a literal value", `{"secret": "literal"}`},
	{"a reference inside a value", `{"secret": "Bearer {vault://env/recorded-secret}"}`},
	{"a field that isn't referenceable", `{"plain": "{vault://env/recorded-secret}"}`},
	{"a list", `{"list": ["{vault://env/recorded-secret}", "{vault://recorded-vault/secret}"]}`},
	{"a list with a literal value first", `{"list": ["literal", "{vault://env/recorded-secret}"]}`},
	{"a list with what can't be resolved", `{"list": ["{vault://env/recorded-nothing}", "literal", "{vault://env/recorded-secret}"]}`},
	{"a map", `{"map": {"a": "{vault://env/recorded-secret}", "b": "literal", "c": "{vault://env/recorded-nothing}"}}`},
	{"a record", `{"record": {"secret": "{vault://env/recorded-secret}"}}`},
	{"records in records", `{"secret": "{vault://env/recorded-secret}", "record": {"secret": "{vault://env/recorded-nothing}", "inner": {"secret": "{vault://recorded-vault/secret}"}}}`},
}

// References has a plugin's instance started with each kind of reference. Kong's
// environment must hold [ReferenceEnv]. It leaves another configuration behind than
// [Config].
func References(k Kong, p *Probe, u *Upstream) ([]Handed, error) {
	var all []Handed
	for _, c := range referenceCases {
		h := Handed{Case: c.name, Config: json.RawMessage(c.config)}
		p.setScript(script{})
		err := k.SetConfig(fmt.Sprintf(`_format_version: "3.0"
vaults: [{name: env, prefix: recorded-vault, config: {prefix: RECORDED_}}]
services:
- name: echo
  url: http://%s
  routes: [{name: r, paths: [/r], plugins: [{name: probe, config: %s}]}]
`, u.plain.Addr(), c.config))
		if err == nil {
			_, err = sendHTTP1(k.Addr(), strings.ReplaceAll(request("GET", "/r", "Connection: close\r\n", ""), "$HOST", k.Addr()), false)
		}
		if err == nil {
			h.Handed, err = p.handed()
		}
		if err != nil {
			return nil, fmt.Errorf("case %q: %w", c.name, err)
		}
		all = append(all, h)
	}
	return all, nil
}

// handed is the configuration that the last instance was started with.
func (p *Probe) handed() (json.RawMessage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var config map[string]any
	if err := json.Unmarshal(p.config, &config); err != nil {
		return nil, err
	}
	maps.DeleteFunc(config, func(name string, _ any) bool { return strings.HasPrefix(name, "__") || name == "route_id" })
	return json.Marshal(config)
}
