package vault

import "net/netip"

// Client is who a lookup is made for.
type Client interface {
	// Address is the client's IP address as text; what is none is not known. It is
	// called only where memory has no answer, or for a credential with allowed_ips, on
	// the goroutine that called Lookup, and more than once.
	Address() string
}

// ipv6Site is how much of an IPv6 address tells clients apart: everyone has a
// /64 to choose addresses from.
const ipv6Site = 64

// source is the client as one who shares the budget of lookups with others;
// empty if it isn't known.
func source(c Client) string {
	a := address(c)
	switch {
	case !a.IsValid():
		return ""
	case a.Is4():
		return a.String()
	}
	return netip.PrefixFrom(a, ipv6Site).Masked().String()
}

// shown is the client as an audit line names it.
func shown(c Client) string {
	if a := address(c); a.IsValid() {
		return a.String()
	}
	return "unknown"
}

// address is the zero Addr where it isn't known.
func address(c Client) netip.Addr {
	if c == nil {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(c.Address())
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}
