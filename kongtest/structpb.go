package kongtest

// The functions below turn protobuf's Value, ListValue and Struct into Lua values and
// back, as Kong does. Both directions lose something: false and an empty list become nothing or an
// empty table, null becomes the string NULL_VALUE.

func luaValue(m any) any {
	v, ok := m.(map[string]any)
	if !ok {
		return m
	}
	if l, ok := v["list_value"].(map[string]any); ok {
		return luaList(l)
	}
	if s, ok := v["struct_value"].(map[string]any); ok {
		return luaStruct(s)
	}
	if v["bool_value"] == true {
		return true
	}
	for _, kind := range []string{"string_value", "number_value", "null_value"} {
		if v[kind] != nil {
			return v[kind]
		}
	}
	return nil
}

func luaList(m map[string]any) []any {
	values, _ := m["values"].([]any)
	out := make([]any, len(values))
	for i, v := range values {
		out[i] = luaValue(v)
	}
	return out
}

func luaStruct(m map[string]any) map[string]any {
	fields, _ := m["fields"].(map[string]any)
	out := make(map[string]any, len(fields))
	for k, v := range fields {
		if lv := luaValue(v); lv != nil {
			out[k] = lv
		}
	}
	return out
}

func pbValue(v any) map[string]any {
	switch v := v.(type) {
	case nil:
		return map[string]any{"null_value": 1.0}
	case bool:
		return map[string]any{"bool_value": v}
	case float64:
		return map[string]any{"number_value": v}
	case string:
		return map[string]any{"string_value": v}
	case []any:
		if len(v) > 0 {
			return map[string]any{"list_value": pbList(v)}
		}
	case map[string]any:
		return map[string]any{"struct_value": pbStruct(v)}
	}
	return map[string]any{"struct_value": pbStruct(nil)}
}

func pbList(l []any) map[string]any {
	values := make([]any, len(l))
	for i, v := range l {
		values[i] = pbValue(v)
	}
	return map[string]any{"values": values}
}

func pbStruct(t map[string]any) map[string]any {
	fields := make(map[string]any, len(t))
	for k, v := range t {
		fields[k] = pbValue(v)
	}
	return map[string]any{"fields": fields}
}
