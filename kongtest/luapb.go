package kongtest

import (
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"kong-vault-auth/kongtest/internal/lua"
)

// decodeMessage decodes as Kong's lua-protobuf does: strings are bytes, absent
// fields without presence get their zero value, members of a oneof and
// messages stay absent, unknown fields are skipped.
func decodeMessage(md protoreflect.MessageDescriptor, b []byte) (map[string]any, error) {
	out := map[string]any{}
	fields := md.Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		switch {
		case fd.IsMap():
			out[string(fd.Name())] = map[string]any{}
		case fd.IsList():
			out[string(fd.Name())] = []any(nil)
		case !fd.HasPresence():
			out[string(fd.Name())] = zero(fd)
		}
	}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, raise("invalid protobuf in %s: %v", md.FullName(), protowire.ParseError(n))
		}
		b = b[n:]
		fd := fields.ByNumber(num)
		if fd == nil {
			n = protowire.ConsumeFieldValue(num, typ, b)
			if n < 0 {
				return nil, raise("invalid protobuf in %s: %v", md.FullName(), protowire.ParseError(n))
			}
			b = b[n:]
			continue
		}
		v, n, err := decodeField(fd, typ, b)
		if err != nil {
			return nil, err
		}
		b = b[n:]
		name := string(fd.Name())
		switch {
		case fd.IsMap():
			entry := v.(map[string]any)
			key, _ := entry["key"].(string)
			out[name].(map[string]any)[key] = entry["value"]
		case fd.IsList():
			list, _ := out[name].([]any)
			if packed, ok := v.([]any); ok {
				out[name] = append(list, packed...)
			} else {
				out[name] = append(list, v)
			}
		default:
			if one := fd.ContainingOneof(); one != nil {
				for i := range one.Fields().Len() {
					delete(out, string(one.Fields().Get(i).Name()))
				}
			}
			out[name] = v
		}
	}
	return out, nil
}

func zero(fd protoreflect.FieldDescriptor) any {
	switch fd.Kind() {
	case protoreflect.StringKind, protoreflect.BytesKind:
		return ""
	case protoreflect.BoolKind:
		return false
	case protoreflect.EnumKind:
		return string(fd.DefaultEnumValue().Name())
	}
	return 0.0
}

func decodeField(fd protoreflect.FieldDescriptor, typ protowire.Type, b []byte) (any, int, error) {
	want := wireType(fd.Kind())
	if typ == protowire.BytesType && fd.IsList() && want != protowire.BytesType {
		return decodePacked(fd, b)
	}
	if typ != want {
		return nil, 0, raise("type mismatch for field '%s' at offset 0, %d expected for type %s, got %d", fd.Name(), want, fd.Kind(), typ)
	}
	switch typ {
	case protowire.BytesType:
		v, n := protowire.ConsumeBytes(b)
		if n < 0 {
			break
		}
		if fd.Kind() == protoreflect.MessageKind {
			m, err := decodeMessage(fd.Message(), v)
			return m, n, err
		}
		return string(v), n, nil
	case protowire.VarintType:
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			break
		}
		switch fd.Kind() {
		case protoreflect.BoolKind:
			return v != 0, n, nil
		case protoreflect.Int32Kind:
			return float64(int32(v)), n, nil
		case protoreflect.EnumKind:
			if e := fd.Enum().Values().ByNumber(protoreflect.EnumNumber(v)); e != nil {
				return string(e.Name()), n, nil
			}
		}
		return float64(int64(v)), n, nil
	case protowire.Fixed64Type:
		v, n := protowire.ConsumeFixed64(b)
		if n < 0 {
			break
		}
		return math.Float64frombits(v), n, nil
	}
	return nil, 0, raise("unfinished bytes for field '%s'", fd.Name())
}

func decodePacked(fd protoreflect.FieldDescriptor, b []byte) (any, int, error) {
	packed, n := protowire.ConsumeBytes(b)
	if n < 0 {
		return nil, 0, raise("unfinished bytes for field '%s'", fd.Name())
	}
	list := []any{}
	for len(packed) > 0 {
		v, m, err := decodeField(fd, wireType(fd.Kind()), packed)
		if err != nil {
			return nil, 0, err
		}
		list, packed = append(list, v), packed[m:]
	}
	return list, n, nil
}

func wireType(k protoreflect.Kind) protowire.Type {
	switch k {
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	case protoreflect.DoubleKind:
		return protowire.Fixed64Type
	}
	return protowire.VarintType
}

// encodeMessage encodes a table, without a check for UTF-8. A value that the
// field can't hold raises a Lua error, as in a reply of boolean true to a
// method that returns a String.
func encodeMessage(md protoreflect.MessageDescriptor, table map[string]any) ([]byte, error) {
	var b []byte
	fields := md.Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		v, ok := table[string(fd.Name())]
		if !ok || v == nil || !fd.HasPresence() && (v == "" || v == 0.0 || v == false) {
			continue
		}
		var err error
		switch {
		case fd.IsMap():
			entries, ok := v.(map[string]any)
			if !ok {
				return nil, mismatch(fd, v)
			}
			for key, value := range entries {
				entry, err := encodeMessage(fd.Message(), map[string]any{"key": key, "value": value})
				if err != nil {
					return nil, err
				}
				b = protowire.AppendTag(b, fd.Number(), protowire.BytesType)
				b = protowire.AppendBytes(b, entry)
			}
		case fd.IsList():
			list, ok := v.([]any)
			if !ok {
				return nil, mismatch(fd, v)
			}
			for _, e := range list {
				if b, err = appendField(b, fd, e); err != nil {
					return nil, err
				}
			}
		default:
			if b, err = appendField(b, fd, v); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

func appendField(b []byte, fd protoreflect.FieldDescriptor, v any) ([]byte, error) {
	b = protowire.AppendTag(b, fd.Number(), wireType(fd.Kind()))
	switch fd.Kind() {
	case protoreflect.MessageKind:
		if table, ok := v.(map[string]any); ok {
			m, err := encodeMessage(fd.Message(), table)
			return protowire.AppendBytes(b, m), err
		}
	case protoreflect.StringKind, protoreflect.BytesKind:
		if s, ok := v.(string); ok {
			return protowire.AppendString(b, s), nil
		}
	case protoreflect.DoubleKind:
		if f, ok := number(v); ok {
			return protowire.AppendFixed64(b, math.Float64bits(f)), nil
		}
	case protoreflect.BoolKind: // anything but false is true in Lua
		return protowire.AppendVarint(b, protowire.EncodeBool(v != false)), nil
	default:
		if f, ok := number(v); ok && f == math.Trunc(f) {
			return protowire.AppendVarint(b, uint64(int64(f))), nil
		}
	}
	return nil, mismatch(fd, v)
}

func mismatch(fd protoreflect.FieldDescriptor, v any) error {
	want := "number"
	switch {
	case fd.IsMap(), fd.IsList(), fd.Kind() == protoreflect.MessageKind:
		want = "table"
	case fd.Kind() == protoreflect.StringKind, fd.Kind() == protoreflect.BytesKind:
		want = "string"
	}
	return raise("bad argument #2 to 'encode' (%s expected for field '%s', got %s)", want, fd.Name(), lua.Type(v))
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case string:
		f, err := strconv.ParseFloat(v, 64)
		return f, err == nil
	}
	return 0, false
}
