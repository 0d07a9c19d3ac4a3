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

// kinds are the kinds of secret store that there are.
type kinds []secretstore.Kind

// named is the kind of that name; ok is false if there is none.
func (k kinds) named(name string) (kind secretstore.Kind, ok bool) {
	i := slices.IndexFunc(k, func(kind secretstore.Kind) bool { return kind.Name == name })
	if i < 0 {
		return secretstore.Kind{}, false
	}
	return k[i], true
}

// list is the names, each with prefix before it, for messages.
func (k kinds) list(prefix, separator string) string {
	names := make([]string, len(k))
	for i := range k {
		names[i] = prefix + k[i].Name
	}
	return strings.Join(names, separator)
}

// decode makes a definition of a node's vault object of what its fields are set
// to, as text. What isn't set has its default, after the environment that the
// store's own tools use. The fields are known to be the kind's.
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
	return Definition{Name: name, Config: c, Node: true, given: slices.Sorted(maps.Keys(values))}, nil
}

// valuesOfTexts is the values of the fields that are set.
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
