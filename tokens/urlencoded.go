package tokens

import (
	"slices"
	"strings"
)

// FindQuery looks for the argument name in a raw query string, given without
// its question mark. It reads the string as Kong does (ngx.req.get_uri_args):
// arguments end at & only, names and values have percent escapes and + decoded,
// an invalid escape stands for itself, and an argument without = has no value.
// Unlike Kong it reads all of them, so a token can't hide behind a thousand
// other arguments.
//
// Time grows linearly with the query; nothing is allocated unless the name is
// there. The value is a copy: keeping it doesn't keep the query in memory.
func FindQuery(raw, name string) Found {
	var found Found
	for argument := range strings.SplitSeq(raw, "&") {
		key, value, _ := strings.Cut(argument, "=")
		if decodesTo(key, name) {
			found.Add(unescape(value))
		}
	}
	found.Value = strings.Clone(found.Value)
	return found
}

// StripQuery returns raw without the arguments of the given names, however
// they are escaped and whether or not they have a value. The others keep their
// order and every byte. The result is shorter than raw exactly when something
// was stripped; otherwise it is raw, and nothing is allocated.
func StripQuery(raw string, names ...string) string {
	if !holdsArgument(raw, names) {
		return raw
	}
	var kept strings.Builder
	kept.Grow(len(raw))
	separator := ""
	for argument := range strings.SplitSeq(raw, "&") {
		if isArgument(argument, names) {
			continue
		}
		kept.WriteString(separator)
		kept.WriteString(argument)
		separator = "&"
	}
	return kept.String()
}

func holdsArgument(raw string, names []string) bool {
	for argument := range strings.SplitSeq(raw, "&") {
		if isArgument(argument, names) {
			return true
		}
	}
	return false
}

func isArgument(argument string, names []string) bool {
	key, _, _ := strings.Cut(argument, "=")
	return slices.ContainsFunc(names, func(name string) bool { return decodesTo(key, name) })
}

// formFields reads application/x-www-form-urlencoded. Like Kong, it counts empty
// arguments.
//
// For some programs (Rack 2, Python before 3.9.2) a bare ; separates arguments, and for
// net/url it is an error; for PHP and nginx an invalid escape stands for itself, and for
// net/url and Rack it is an error. Browsers and HTTP libraries encode both.
func formFields(body string) ([]field, error) {
	if strings.Count(body, "&") >= MaxFields {
		return nil, ReasonFields
	}
	if strings.Contains(body, ";") || !validEscapes(body) {
		return nil, ReasonMalformed
	}
	var fields []field
	start := 0
	for argument := range strings.SplitSeq(body, "&") {
		key, value, _ := strings.Cut(argument, "=")
		end := start + len(argument)
		fields = append(fields, field{name: unescape(key), value: unescape(value), start: start, end: end})
		start = end + len("&")
	}
	return fields, nil
}

func validEscapes(s string) bool {
	for s != "" {
		_, size := unescapeByte(s)
		if s[0] == '%' && size == 1 {
			return false
		}
		s = s[size:]
	}
	return true
}

// decodesTo reports whether an escaped key is name, without building the
// decoded key. Kong drops arguments whose name is empty, so none has that name.
func decodesTo(key, name string) bool {
	if name == "" {
		return false
	}
	for key != "" {
		c, size := unescapeByte(key)
		if name == "" || name[0] != c {
			return false
		}
		key, name = key[size:], name[1:]
	}
	return name == ""
}

func unescape(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	decoded := make([]byte, 0, len(s))
	for s != "" {
		c, size := unescapeByte(s)
		decoded = append(decoded, c)
		s = s[size:]
	}
	return string(decoded)
}

// unescapeByte decodes the first byte of s, which isn't empty, and says how
// many bytes stood for it.
func unescapeByte(s string) (c byte, size int) {
	if s[0] == '+' {
		return ' ', 1
	}
	if s[0] == '%' && len(s) >= 3 {
		high, ok1 := fromHex(s[1])
		low, ok2 := fromHex(s[2])
		if ok1 && ok2 {
			return high<<4 | low, 3
		}
	}
	return s[0], 1
}

func fromHex(c byte) (digit byte, ok bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
