package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"kong-vault-auth/kongschema"
	"kong-vault-auth/secretstore"
)

// kinds are the kinds of secret store that this program has.
type kinds []secretstore.Kind

// named returns the kind of that name, and whether there is one.
func (k kinds) named(name string) (kind secretstore.Kind, ok bool) {
	i := slices.IndexFunc(k, func(kind secretstore.Kind) bool { return kind.Name == name })
	if i < 0 {
		return secretstore.Kind{}, false
	}
	return k[i], true
}

// list is a list of the kinds' names for messages, each with prefix before it.
func (k kinds) list(prefix, separator string) string {
	names := make([]string, len(k))
	for i := range k {
		names[i] = prefix + k[i].Name
	}
	return strings.Join(names, separator)
}

// decode makes the definition of a node's vault object from the texts that its fields
// are set to; all of them are fields of the kind. A field that isn't set gets its value
// from the environment of the store's own tools, or else its default.
func decode(kind secretstore.Kind, name string, texts map[string]string, getenv func(string) string) (Definition, error) {
	c := kind.New()
	values, err := valuesOfTexts(c, texts)
	if err != nil {
		return Definition{}, err
	}
	if err := fill(c, values); err != nil {
		return Definition{}, err
	}
	set := func(field string) bool { _, set := values[field]; return set }
	if err := c.FromEnvironment(set, getenv); err != nil {
		return Definition{}, err
	}
	return Definition{Name: name, Config: c, Node: true, explicit: slices.Sorted(maps.Keys(values))}, nil
}

// valuesOfTexts are the values of the fields of config that texts has.
func valuesOfTexts(config any, texts map[string]string) (map[string]any, error) {
	values := map[string]any{}
	for _, f := range fieldsOf(config) {
		text, set := texts[f.Name]
		if !set {
			continue
		}
		v, err := valueOf(f, text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		values[f.Name] = v
	}
	return values, nil
}

// fill sets the fields of config to values, and the others to their defaults.
func fill(config any, values map[string]any) error {
	b, err := json.Marshal(values)
	if err != nil {
		return err
	}
	return kongschema.Unmarshal(b, config)
}

// valueOf reads a field's value from text, as Kong reads its own configuration.
func valueOf(f kongschema.Field, text string) (any, error) {
	switch f.Kind {
	case kongschema.Integer:
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, errors.New("it must be a whole number")
		}
		return n, nil
	case kongschema.Number:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return nil, errors.New("it must be a number")
		}
		return n, nil
	case kongschema.Boolean:
		switch strings.ToLower(text) {
		case "true", "on":
			return true, nil
		case "false", "off":
			return false, nil
		}
		return nil, errors.New("it must be true or false")
	}
	return text, nil
}
