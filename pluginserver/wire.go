package pluginserver

import (
	"errors"
	"iter"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/structpb"
)

// Kong puts bytes from the client into protobuf strings. Go's decoder rejects a whole
// message for one byte that isn't UTF-8, and its encoder refuses to send such a byte back: a
// single odd header would make every request of a client unreadable. So fields that a
// client can fill are read and written here, one by one, as bytes.

var errUndecodable = errors.New("reply can't be decoded")

// appendFields appends the strings in a Struct, such as the headers in a reply to
// kong.request.get_headers, one Field a value. Values that aren't strings are left
// out.
func appendFields(fields []Field, message []byte) ([]Field, error) {
	for entry, err := range parts(message, 1) { // Struct.fields
		if err != nil {
			return nil, err
		}
		name, err := lastPart(entry, 1)
		if err != nil {
			return nil, err
		}
		for value, err := range parts(entry, 2) {
			if err != nil {
				return nil, err
			}
			if fields, err = appendValues(fields, name, value); err != nil {
				return nil, err
			}
		}
	}
	return fields, nil
}

// appendValues appends the strings in a Value: itself, or the elements of a list.
func appendValues(fields []Field, name, value []byte) ([]Field, error) {
	fields, err := appendString(fields, name, value)
	if err != nil {
		return nil, err
	}
	for list, err := range parts(value, 6) { // Value.list_value
		if err != nil {
			return nil, err
		}
		for element, err := range parts(list, 1) { // ListValue.values
			if err != nil {
				return nil, err
			}
			if fields, err = appendString(fields, name, element); err != nil {
				return nil, err
			}
		}
	}
	return fields, nil
}

func appendString(fields []Field, name, value []byte) ([]Field, error) {
	for text, err := range parts(value, 3) { // Value.string_value
		if err != nil {
			return nil, err
		}
		fields = append(fields, Field{name, text})
	}
	return fields, nil
}

// parts goes through the length-delimited fields of a number in a message.
func parts(b []byte, number protowire.Number) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for len(b) > 0 {
			n, t, size := protowire.ConsumeTag(b)
			if size < 0 {
				yield(nil, errUndecodable)
				return
			}
			b = b[size:]
			if n != number || t != protowire.BytesType {
				if size = protowire.ConsumeFieldValue(n, t, b); size < 0 {
					yield(nil, errUndecodable)
					return
				}
				b = b[size:]
				continue
			}
			v, size := protowire.ConsumeBytes(b)
			if size < 0 {
				yield(nil, errUndecodable)
				return
			}
			b = b[size:]
			if !yield(v, nil) {
				return
			}
		}
	}
}

// lastPart returns the last length-delimited field of a number in a message, nil
// if there is none: a string or a message inside it.
func lastPart(message []byte, number protowire.Number) ([]byte, error) {
	var last []byte
	for p, err := range parts(message, number) {
		if err != nil {
			return nil, err
		}
		last = p
	}
	return last, nil
}

// valueStrings returns the strings in a Value: itself, the elements of a list, or
// the fields of a table.
func valueStrings(value []byte) ([]string, error) {
	fields, err := appendValues(nil, nil, value)
	if err != nil {
		return nil, err
	}
	table, err := lastPart(value, 5) // Value.struct_value
	if err != nil {
		return nil, err
	}
	if fields, err = appendFields(fields, table); err != nil {
		return nil, err
	}
	var all []string
	for _, f := range fields {
		all = append(all, string(f.Value))
	}
	return all, nil
}

// appendPart appends a length-delimited field to a message: a string or a
// message inside it. An empty one is sent too, as inside a oneof it must be.
func appendPart[T string | []byte](buf []byte, number protowire.Number, part T) []byte {
	buf = protowire.AppendTag(buf, number, protowire.BytesType)
	buf = protowire.AppendVarint(buf, uint64(len(part)))
	return append(buf, part...)
}

// appendText appends an argument of type String or ByteString.
func appendText[T string | []byte](buf []byte, text T) []byte { return appendPart(buf, 1, text) }

// appendHeader appends one header to the argument of
// kong.service.request.set_headers. An empty value becomes an empty list, which
// removes the header: Kong makes a space of an empty string.
func appendHeader(buf []byte, name, value string) []byte {
	number, size := protowire.Number(6), sizeOf(0) // Value.list_value
	if value != "" {
		number, size = 3, sizeOf(len(value)) // Value.string_value
	}
	buf = protowire.AppendTag(buf, 1, protowire.BytesType) // Struct.fields
	buf = protowire.AppendVarint(buf, uint64(sizeOf(len(name))+sizeOf(size)))
	buf = appendPart(buf, 1, name)                         // key
	buf = protowire.AppendTag(buf, 2, protowire.BytesType) // value
	buf = protowire.AppendVarint(buf, uint64(size))
	return appendPart(buf, number, value)
}

// sizeOf is the size of a length-delimited field of n bytes, with a tag of one
// byte.
func sizeOf(n int) int { return 1 + protowire.SizeBytes(n) }

// structOf makes a Struct of strings.
func structOf(m map[string]string) *structpb.Struct {
	s := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(m))}
	for k, v := range m {
		s.Fields[k] = structpb.NewStringValue(v)
	}
	return s
}
