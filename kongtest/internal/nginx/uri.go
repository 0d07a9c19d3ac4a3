package nginx

import (
	"fmt"
	"slices"
	"strings"

	"kong-vault-auth/kongtest/internal/lua"
)

// ParseArgs is ngx.req.get_uri_args(limit): an argument without a value is
// true, repeated ones are an array, and silently nothing beyond the limit.
func ParseArgs(query string, limit int) map[string]any {
	t := map[string]any{}
	count := 0
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		if count++; count > limit {
			break
		}
		key, value, ok := strings.Cut(part, "=")
		if key = unescape(key); key == "" {
			continue
		}
		if ok {
			AddValue(t, key, unescape(value))
		} else {
			AddValue(t, key, true)
		}
	}
	return t
}

// AddValue adds a value under a key: the second one makes an array of them.
func AddValue(t map[string]any, key string, value any) {
	switch old := t[key].(type) {
	case nil:
		t[key] = value
	case []any:
		t[key] = append(old, value)
	default:
		t[key] = []any{old, value}
	}
}

// unescape is ngx.unescape_uri: a "+" is a space, and what isn't an escape
// stays as it is.
func unescape(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			b.WriteByte(' ')
		case s[i] == '%' && i+2 < len(s) && lua.IsHex(s[i+1]) && lua.IsHex(s[i+2]):
			b.WriteByte(unhex(s[i+1])<<4 | unhex(s[i+2]))
			i += 2
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// EncodeArgs is the ordered query string that set_query makes of a table.
func EncodeArgs(t map[string]any) (string, error) {
	var out []string
	for key, v := range t {
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		var parts []string
		for _, e := range list {
			switch e := e.(type) {
			case bool:
				if e {
					parts = append(parts, escapeArg(key))
				}
			case string, float64:
				parts = append(parts, escapeArg(key)+"="+escapeArg(lua.ToString(e)))
			default:
				return "", fmt.Errorf("attempt to use %s as query arg value", lua.Type(e))
			}
		}
		out = append(out, strings.Join(parts, "&"))
	}
	slices.Sort(out)
	return strings.Join(out, "&"), nil
}

// EscapeArgs is what ngx.req.set_uri_args does to a whole query string: it
// escapes what would end the request line.
func EscapeArgs(s string) string {
	return escapeBytes(s, func(c byte) bool { return c > ' ' && c != 0x7f })
}

func escapeArg(s string) string {
	return escapeBytes(s, func(c byte) bool { return lua.IsAlnum(c) || strings.IndexByte("-._~", c) >= 0 })
}

// EscapePath is kong.tools.uri's escape.
func EscapePath(s string) string {
	return escapeBytes(s, func(c byte) bool { return lua.IsAlnum(c) || strings.IndexByte(`!#$&'()*+,/:;=?@[\]-_.~%`, c) >= 0 })
}

func escapeBytes(s string, plain func(byte) bool) string {
	var b strings.Builder
	for i := range len(s) {
		if plain(s[i]) {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}

// NormalizePath is kong.tools.uri's normalize with merged slashes: escapes of
// anything but reserved characters decoded, dot segments resolved.
func NormalizePath(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' || i+2 >= len(s) || !lua.IsHex(s[i+1]) || !lua.IsHex(s[i+2]) {
			b.WriteByte(s[i])
			continue
		}
		if c := unhex(s[i+1])<<4 | unhex(s[i+2]); strings.IndexByte("!*'();:@&=+$,/?%#[]", c) < 0 {
			b.WriteByte(c)
		} else {
			b.WriteString(strings.ToUpper(s[i : i+3]))
		}
		i += 2
	}
	var out []string
	segments := strings.Split(b.String(), "/")
	for i, seg := range segments {
		last := i == len(segments)-1
		switch {
		case seg == "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
		case seg != "." && (seg != "" || last):
			out = append(out, seg)
			continue
		}
		if last {
			out = append(out, "")
		}
	}
	return "/" + strings.Join(out, "/")
}

// HostOnly is a Host header's value without port, in lower case.
func HostOnly(host string) string {
	host = strings.ToLower(host)
	if end := strings.LastIndexByte(host, ']'); end >= 0 {
		return host[:end+1]
	}
	host, _, _ = strings.Cut(host, ":")
	return host
}

func unhex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}
