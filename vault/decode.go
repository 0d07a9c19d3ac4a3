package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"kong-vault-auth/kongschema"
)

// The kinds of vault object, as Kong names them.
const (
	kindHCV   = "hcv"
	kindAzure = "azure"
)

// schemaOf is the fields of a kind of vault object.
func schemaOf(kind string) []kongschema.Field {
	t := reflect.TypeFor[HCV]()
	if kind == kindAzure {
		t = reflect.TypeFor[Azure]()
	}
	fields, _ := kongschema.Fields(t) // can't fail for these types: their tests see to it
	return fields
}

// decode makes a definition of a node's vault object of what its fields are set
// to, as text. What isn't set has its default, after the environment that the
// vault's own tools use. The fields are known to be the kind's.
func decode(kind, name string, texts map[string]string, getenv func(string) string) (Definition, error) {
	values := map[string]any{}
	for _, f := range schemaOf(kind) {
		text, set := texts[f.Name]
		if !set {
			continue
		}
		v, err := valueOf(f, text)
		if err != nil {
			return Definition{}, fmt.Errorf("%s: %w", f.Name, err)
		}
		values[f.Name] = v
	}
	d := Definition{Name: name, Node: true}
	if kind == kindAzure {
		d.Azure = &Azure{}
		if err := fill(d.Azure, values); err != nil {
			return Definition{}, err
		}
		d.Azure.fallBack(getenv)
		return d, nil
	}
	if err := addressFromVaultAddr(values, getenv("VAULT_ADDR")); err != nil {
		return Definition{}, err
	}
	d.HCV = &HCV{}
	if err := fill(d.HCV, values); err != nil {
		return Definition{}, err
	}
	d.HCV.fallBack(getenv)
	return d, nil
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
