package kongschema

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
)

// ApplyDefaults sets the fields of the configuration struct that ptr points to
// to their defaults, whatever they held, and leaves the others alone. Call it
// before decoding into the struct, so that what is set explicitly, a zero or
// false too, overrides. Records stay as they are: they are optional.
func ApplyDefaults(ptr any) error {
	_, err := applyDefaults(ptr)
	return err
}

// Unmarshal decodes a JSON object into the configuration struct that ptr points
// to, over its defaults and those of the records that the object holds, as Kong
// fills them in before a plugin sees its configuration. Unknown members are
// passed over, for Kong adds some of its own.
func Unmarshal(data []byte, ptr any) error {
	if err := prefill(data, ptr); err != nil {
		return err
	}
	return json.Unmarshal(data, ptr)
}

// prefill applies the defaults and makes the records that data holds, with
// theirs: json.Unmarshal decodes into what a pointer already points to.
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
