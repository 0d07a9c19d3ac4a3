package tokens

import (
	"bytes"
	"encoding/json"
	"io"
	"unicode/utf8"
)

// byteOrderMark is what some editors and libraries put before a JSON text.
var byteOrderMark = []byte("\ufeff")

// jsonFields reads the members of a JSON object. It goes from token to token,
// because decoding into a map would hide repeated members and where they lie.
//
// Bytes that aren't UTF-8 are refused, as by Python and Jackson. Go and JavaScript replace
// them, so that different names and values become equal.
func jsonFields(body []byte) ([]field, error) {
	text := bytes.TrimPrefix(body, byteOrderMark)
	fields, err := jsonMembers(text)
	mark := len(body) - len(text)
	for i := range fields {
		fields[i].start += mark
		fields[i].end += mark
	}
	return fields, err
}

func jsonMembers(body []byte) ([]field, error) {
	switch {
	case !utf8.Valid(body):
		return nil, ReasonMalformed
	case jsonDepth(body) > MaxDepth:
		return nil, ReasonDepth
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if opening, err := decoder.Token(); err != nil || opening != json.Delim('{') {
		return nil, ReasonMalformed
	}
	var fields []field
	for decoder.More() {
		if len(fields) == MaxFields {
			return nil, ReasonFields
		}
		member, err := nextMember(decoder, body)
		if err != nil {
			return nil, ReasonMalformed
		}
		fields = append(fields, member)
	}
	if _, err := decoder.Token(); err != nil { // the closing brace
		return nil, ReasonMalformed
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, ReasonMalformed
	}
	return fields, nil
}

func nextMember(decoder *json.Decoder, body []byte) (field, error) {
	before := int(decoder.InputOffset())
	key, err := decoder.Token()
	if err != nil {
		return field{}, err
	}
	var value json.RawMessage
	if err := decoder.Decode(&value); err != nil {
		return field{}, err
	}
	member := field{
		name: key.(string),
		// Between two members there are only white space and a comma.
		start: before + bytes.IndexByte(body[before:], '"'),
		end:   int(decoder.InputOffset()),
	}
	if value[0] == '"' {
		err = json.Unmarshal(value, &member.value)
	}
	return member, err
}

// jsonDepth is how deeply objects and arrays are nested. Its result for malformed JSON
// doesn't matter, since that isn't searched anyway.
func jsonDepth(body []byte) int {
	depth, deepest := 0, 0
	quoted := false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}
