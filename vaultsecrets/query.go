package vaultsecrets

import (
	"net/url"
	"slices"
	"strings"

	"kong-vault-auth/pluginserver"
)

// setQuery puts arguments into the query string for the upstream, in place of those that the
// client has sent. Log plugins see only the path of the upstream's URI. It waits for Kong
// once.
func (h *handler) setQuery(e *pluginserver.Event, arguments []pluginserver.HeaderChange) error {
	asked, path := e.GetRawQuery(), e.GetVar("upstream_uri") // without the query string, which Kong adds when the plugins have run
	raw, err := asked.Wait()
	if err != nil {
		return err
	}
	uri, err := path.Wait()
	if err != nil {
		return err
	}
	query := without(raw, h.names)
	if query != "" {
		query += "&"
	}
	for i, a := range arguments {
		if i > 0 {
			query += "&"
		}
		query += a.Name + "=" + url.QueryEscape(a.Value)
	}
	e.SetRawQuery(query)
	e.SetSerializeValue("upstream_uri", uri)
	return nil
}

// without removes the arguments of some names from a raw query string, in every form that some
// upstream may read: escaped, in another case, as a list or a map (name[]), after a
// semicolon. All others keep their order and every byte.
func without(raw string, names []string) string {
	var kept []string
	for argument := range strings.SplitSeq(raw, "&") {
		if named(argument, names) {
			continue
		}
		pieces := strings.Split(argument, ";")
		if len(pieces) > 1 {
			pieces = slices.DeleteFunc(pieces, func(piece string) bool { return named(piece, names) })
		}
		if argument = strings.Join(pieces, ";"); argument != "" {
			kept = append(kept, argument)
		}
	}
	return strings.Join(kept, "&")
}

func named(argument string, names []string) bool {
	key, _, _ := strings.Cut(argument, "=")
	key = keyOf(key)
	return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(key, keyOf(name)) })
}

// keyOf returns the name as an upstream may read it: unescaped, and as in PHP up to a
// bracket, with _ for dots and spaces, and without leading spaces.
func keyOf(escaped string) string {
	key := strings.TrimLeft(unescaped(escaped), " \x00")
	if i := strings.IndexAny(key, "[\x00"); i > 0 {
		key = key[:i]
	}
	return strings.NewReplacer(".", "_", " ", "_").Replace(key)
}

// unescaped decodes what can be, and leaves an invalid escape as it is.
func unescaped(s string) string {
	if text, err := url.QueryUnescape(s); err == nil {
		return text
	}
	s = strings.ReplaceAll(s, "+", " ")
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if text, err := url.QueryUnescape(s[i : i+3]); err == nil {
				b.WriteString(text)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
