package schema

import (
	"encoding/json"
	"fmt"
	"strings"
)

// isReference reports whether Kong would take a value for a reference to a secret.
func isReference(s string) bool {
	return strings.HasPrefix(s, "{vault://") && strings.HasSuffix(s, "}")
}

// Resolve returns a record without nulls, in which references in
// referenceable fields are replaced by what they refer to. The references
// themselves are kept in "$refs". One that can't be resolved becomes an empty
// string, and notice is called with a message.
func (s *Schema) Resolve(t map[string]any, get func(string) (string, error), notice func(string)) map[string]any {
	out := map[string]any{}
	refs := map[string]any{}
	resolve := func(ref string) string {
		v, err := get(ref)
		if err != nil {
			notice(fmt.Sprintf("unable to resolve reference %s (%v)", ref, err))
		}
		return v
	}
	for name, v := range t {
		f := s.field(name)
		switch value := v.(type) {
		case nil:
			continue
		case string:
			if f.Referenceable && isReference(value) {
				refs[name] = value
				v = resolve(value)
			}
		case map[string]any:
			if f.record != nil {
				v = f.record.Resolve(value, get, notice)
			} else {
				v = f.resolveMap(value, resolve, refs)
			}
		case []any:
			v = f.resolveList(value, resolve, refs)
		}
		out[name] = v
	}
	if len(refs) > 0 {
		out["$refs"] = refs
	}
	return out
}

// resolveList resolves the references of a list. Its entry of refs has null for
// other values, and ends with the last reference, as Lua's JSON writes such a table.
func (f *field) resolveList(list []any, resolve func(string) string, refs map[string]any) []any {
	if f.elements == nil || !(f.Referenceable || f.elements.Referenceable) {
		return list
	}
	out := make([]any, len(list))
	var found []any
	for i, e := range list {
		out[i] = e
		if ref, ok := e.(string); ok && isReference(ref) {
			found = append(append(found, make([]any, i-len(found))...), ref)
			out[i] = resolve(ref)
		}
	}
	if found != nil {
		refs[f.name] = found
	}
	return out
}

func (f *field) resolveMap(m map[string]any, resolve func(string) string, refs map[string]any) map[string]any {
	if f.values == nil || !f.values.Referenceable {
		return m
	}
	out, found := map[string]any{}, map[string]any{}
	for key, v := range m {
		out[key] = v
		if ref, ok := v.(string); ok && isReference(ref) {
			found[key], out[key] = ref, resolve(ref)
		}
	}
	if len(found) > 0 {
		refs[f.name] = found
	}
	return out
}

// EnvVaults are Kong's vaults of the kind env, the only one in open-source
// Kong. The key is the vault's prefix in references, the value the prefix of
// its variables.
type EnvVaults map[string]string

// Get resolves a reference: {vault://env/my-secret} is the variable MY_SECRET,
// {vault://env/my-secret/key} the key of the JSON object that it holds.
func (v EnvVaults) Get(ref string, getenv func(string) (string, bool)) (string, error) {
	parts := strings.Split(strings.TrimSuffix(strings.TrimPrefix(ref, "{vault://"), "}"), "/")
	prefix, ok := v[parts[0]]
	if !ok {
		return "", fmt.Errorf("vault not found (%s)", parts[0])
	}
	if len(parts) < 2 || len(parts) > 3 || parts[1] == "" {
		return "", fmt.Errorf("reference url is missing a secret")
	}
	name := strings.ReplaceAll(strings.ToUpper(prefix+parts[1]), "-", "_")
	value, ok := getenv(name)
	if !ok {
		return "", fmt.Errorf("unable to load value (%s) from vault (%s): not found", parts[1], parts[0])
	}
	if len(parts) == 2 {
		return value, nil
	}
	var object map[string]any
	if err := json.Unmarshal([]byte(value), &object); err != nil {
		return "", fmt.Errorf("unable to json decode value (%s) received from vault (%s)", parts[1], parts[0])
	}
	key, ok := object[parts[2]].(string)
	if !ok {
		return "", fmt.Errorf("subfield %s not found in value (%s)", parts[2], parts[1])
	}
	return key, nil
}
