// Package lua has as much of Lua as Kong's behaviour depends on: its values,
// how it prints them, and its patterns.
//
// A Lua value is nil, a bool, a float64, a string (of any bytes), an array
// ([]any) or a table (map[string]any).
package lua

import "strconv"

// Type is Lua's type().
func Type(v any) string {
	switch v.(type) {
	case nil:
		return "nil"
	case bool:
		return "boolean"
	case float64:
		return "number"
	case string:
		return "string"
	}
	return "table"
}

// ToString is Lua's tostring().
func ToString(v any) string {
	switch v := v.(type) {
	case nil:
		return "nil"
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'g', 14, 64)
	case string:
		return v
	}
	return "table: 0x7f0000000000"
}

// Text returns a string value, and "" for a value of another type.
func Text(v any) string {
	s, _ := v.(string)
	return s
}

// Array turns strings into an array.
func Array(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}
