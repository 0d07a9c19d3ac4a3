package credential

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
)

// restrictions reads the fields that say when and from where a pair is refused, and what
// it may do. A field that can't be read makes the record unusable: it must not count as
// missing.
func (o object) restrictions(r *Record) (p *Problem) {
	if r.Disabled, p = o.disabled(); p != nil {
		return p
	}
	if r.NotBefore, p = o.time("not_before"); p != nil {
		return p
	}
	if r.ExpiresAt, p = o.time("expires_at"); p != nil {
		return p
	}
	if r.AllowedIPs, p = o.allowedIPs(); p != nil {
		return p
	}
	r.Groups, p = o.groups()
	return p
}

func (o object) disabled() (bool, *Problem) {
	raw, found := o["enabled"]
	text, _ := o.line("enabled")
	switch {
	case !found, string(raw) == "true", text == "true":
		return false, nil
	case string(raw) == "false", text == "false":
		return true, nil
	}
	return false, &Problem{"enabled", "it is neither true nor false", "write true or false, or leave it out"}
}

const rangesRemedy = `write addresses and ranges, as ["192.0.2.7", "2001:db8::/32"] or "192.0.2.7, 2001:db8::/32", or leave it out to allow all`

func (o object) allowedIPs() ([]netip.Prefix, *Problem) {
	entries, found, ok := o.list("allowed_ips")
	p := Problem{Field: "allowed_ips", Remedy: rangesRemedy}
	switch {
	case !found:
		return nil, nil
	case !ok:
		p.Detail = "it is neither a list of strings nor a string"
		return nil, &p
	case len(entries) == 0:
		p.Detail = "it is empty"
		return nil, &p
	}
	ranges := make([]netip.Prefix, len(entries))
	for i, entry := range entries {
		if ranges[i], ok = parseRange(entry); !ok {
			p.Detail = "an entry is neither an address nor a range in CIDR notation"
			return nil, &p
		}
	}
	return ranges, nil
}

// parseRange reads an address or a range. IPv4 addresses that are written as IPv6
// (::ffff:192.0.2.0/120) become IPv4, as the clients' addresses do.
func parseRange(s string) (netip.Prefix, bool) {
	const mapped = 96 // bits before the IPv4 address
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, false
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	if p.Addr().Is4In6() {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p.Masked(), p.IsValid()
}

const groupsRemedy = `write names without commas, as ["gold", "reports"] or "gold, reports"`

// groups returns nil if there is no such field. An empty list stays one: if an operator
// removes the last group, the consumer's own groups must not apply.
func (o object) groups() ([]string, *Problem) {
	names, found, ok := o.list("groups")
	p := Problem{Field: "groups", Remedy: groupsRemedy}
	switch {
	case !found:
		return nil, nil
	case !ok:
		p.Detail = "it is neither a list of strings nor a string"
	case slices.ContainsFunc(names, func(name string) bool { return !isGroup(name) }):
		p.Detail = "a name is empty, or has a comma or a control character in it"
	default:
		return names, nil
	}
	return nil, &p
}

// isGroup reports whether name can be one entry of the header X-Authenticated-Groups, a
// list with commas.
func isGroup(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return r == ',' || r < ' ' || r == 0x7f || r == '\ufffd' })
}

// list reads a list of strings, or a string of them with commas in between or with a JSON
// list, as vault kv put writes it. White space around each of them is removed. An empty
// string is an empty list.
func (o object) list(name string) (entries []string, found, ok bool) {
	raw, found := o[name]
	if !found {
		return nil, false, true
	}
	text, isText := asText(raw)
	text = strings.TrimSpace(text)
	switch {
	case !isText:
		entries, ok = listOf(raw)
	case strings.HasPrefix(text, "["):
		entries, ok = listOf(json.RawMessage(text))
	case text == "":
		entries, ok = []string{}, true
	default:
		entries, ok = strings.Split(text, ","), true
	}
	for i := range entries {
		entries[i] = strings.TrimSpace(entries[i])
	}
	return entries, true, ok
}

// listOf reads a JSON list of strings. It refuses null, which encoding/json alone would
// read as an empty string.
func listOf(raw json.RawMessage) ([]string, bool) {
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil || items == nil {
		return nil, false
	}
	entries := make([]string, len(items))
	for i, item := range items {
		var ok bool
		if entries[i], ok = asText(item); !ok {
			return nil, false
		}
	}
	return entries, true
}
