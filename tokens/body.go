package tokens

import (
	"slices"
	"strings"
)

// Limits that keep a client from making the search for a token expensive. A body that
// exceeds one of them isn't searched.
const (
	MaxFields = 100 // arguments of a form, members of a JSON object, parts of a multipart body
	MaxDepth  = 32  // nesting of JSON; the outermost object is the first level
)

// Body is a parsed request body. It refers to the bytes it was parsed from,
// which must not change while it is in use.
type Body struct {
	raw    []byte
	fields []field // in the order of the body
	json   bool
}

// field is one argument, member or part of a body. The bytes between the end of a field
// and the start of the next one separate them.
type field struct {
	name       string // empty if it can't be a token, such as a file
	value      string // empty if it has none, or none that can be read
	start, end int
}

// Parse reads a body in this format. maxBytes is the plugin's max_body_bytes.
//
// A form is read like a query string (see [FindQuery]). In JSON, only the
// members of the outermost object are fields, and only strings are values; a
// byte order mark before it is skipped. In a multipart body, a part with a
// filename is a file and no field, and a part with a Content-Transfer-Encoding
// that would have to be decoded has no value.
//
// A body that programs read differently is malformed. The comments of multipartFields,
// formFields and jsonFields say which programs were compared.
//
// The error is a [Reason]: [ReasonSize], [ReasonFields], [ReasonDepth] or
// [ReasonMalformed].
func (f Format) Parse(body []byte, maxBytes int) (*Body, error) {
	if len(body) > maxBytes {
		return nil, ReasonSize
	}
	var fields []field
	var err error
	switch f.kind {
	case kindForm:
		fields, err = formFields(string(body))
	case kindJSON:
		fields, err = jsonFields(body)
	case kindMultipart:
		fields, err = multipartFields(body, f.boundary)
	default:
		err = ReasonContentType
	}
	if err != nil {
		return nil, err
	}
	return &Body{raw: body, fields: fields, json: f.kind == kindJSON}, nil
}

// Find looks for the field name. The value is a copy: keeping it doesn't keep
// the body in memory.
//
// Names match exactly. But encoding/json and ASP.NET Core ignore the case of JSON names
// and take the last of several members. So a member whose name differs only in case makes
// a token that was found a duplicate.
func (b *Body) Find(name string) Found {
	var found, folded Found
	for _, f := range b.fields {
		switch {
		case f.isNamed(name):
			found.Add(f.value)
		case b.json && strings.EqualFold(f.name, name):
			folded.Add(f.value)
		}
	}
	if found.Count > 0 {
		found.Count += folded.Count
	}
	found.Value = strings.Clone(found.Value)
	return found
}

// Strip returns the body without the fields of the given names, whether or not
// their values are tokens. All other bytes stay as they are, except one separator for
// each field. The result is shorter than the body exactly when
// something was stripped; otherwise it is the body itself.
//
// A multipart body that loses its only part becomes its closing delimiter
// alone, which is what browsers send for a form without fields.
func (b *Body) Strip(names ...string) []byte {
	named := func(f field) bool { return slices.ContainsFunc(names, f.isNamed) }
	if !slices.ContainsFunc(b.fields, named) {
		return b.raw
	}
	first, last := b.fields[0], b.fields[len(b.fields)-1]
	stripped := make([]byte, 0, len(b.raw))
	stripped = append(stripped, b.raw[:first.start]...)
	var separator []byte
	for i, f := range b.fields {
		if named(f) {
			continue
		}
		stripped = append(stripped, separator...)
		stripped = append(stripped, b.raw[f.start:f.end]...)
		if i+1 < len(b.fields) {
			separator = b.raw[f.end:b.fields[i+1].start]
		}
	}
	return append(stripped, b.raw[last.end:]...)
}

func (f field) isNamed(name string) bool { return f.name != "" && f.name == name }
