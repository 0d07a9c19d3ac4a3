package kongschema

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
)

// ApplyDefaults sets those fields of the configuration struct that ptr points to that have
// a default, whatever their values were. Call it before decoding into the struct, so that
// explicit values, even zero or false, override the defaults. It doesn't change records,
// which are optional.
func ApplyDefaults(ptr any) error {
	_, err := applyDefaults(ptr)
	return err
}

// Unmarshal decodes a JSON object into the configuration struct that ptr points to, after
// applying its defaults and those of the records in the object, as Kong does before a
// plugin sees its configuration. Unknown members are ignored, because Kong adds some of
// its own.
func Unmarshal(data []byte, ptr any) error {
	if err := prefill(data, ptr); err != nil {
		return err
	}
	return json.Unmarshal(data, ptr)
}

// prefill applies the defaults, and makes the records in data with their defaults:
// json.Unmarshal decodes into the struct that a pointer already points to.
func prefill(data []byte, ptr any) error {
	fields, err := applyDefaults(ptr)
	if err != nil {
		return err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return err
	}
	for _, f := range fields {
		value, ok := members[f.Name]
		if f.Kind != Record || !ok || string(value) == "null" {
			continue
		}
		record := reflect.New(f.record)
		if err := prefill(value, record.Interface()); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		reflect.ValueOf(ptr).Elem().FieldByIndex(f.index).Set(record)
	}
	return nil
}

func applyDefaults(ptr any) ([]Field, error) {
	v := reflect.ValueOf(ptr)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return nil, fmt.Errorf("kongschema: %T is not a pointer to a struct", ptr)
	}
	fields, err := Fields(v.Type())
	if err != nil {
		return nil, err
	}
	for _, f := range fields {
		if f.Default == nil {
			continue
		}
		value := reflect.ValueOf(f.Default)
		if elements, ok := f.Default.([]string); ok {
			value = reflect.ValueOf(slices.Clone(elements))
		}
		field := v.Elem().FieldByIndex(f.index)
		field.Set(value.Convert(field.Type()))
	}
	return fields, nil
}
