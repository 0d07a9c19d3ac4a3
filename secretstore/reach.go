package secretstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"unicode"
)

// Reach says where a vault object may connect. The zero value permits everything
// except addresses that are never a Vault: link-local ones, and the metadata services
// from which a cloud's machines get their own secrets.
type Reach struct {
	hosts *hostList // nil: all
}

// ParseReach parses VAULT_AUTH_INLINE_HOSTS: host names, domains as in *.example.com,
// addresses and ranges of addresses, separated by commas or blanks. A permitted
// address is permitted under any name, and a permitted name at any address.
func ParseReach(hosts string) (Reach, error) {
	l := &hostList{}
	items := strings.FieldsFunc(hosts, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
	for _, item := range items {
		if err := l.add(item); err != nil {
			return Reach{}, err
		}
	}
	if len(items) == 0 {
		return Reach{}, errors.New("it is empty; leave it out to permit all hosts, or set VAULT_AUTH_INLINE=off to permit none")
	}
	return Reach{l}, nil
}

// neverVault are addresses that are never a Vault: at many of them clouds serve a
// machine's metadata, with its credentials.
var neverVault = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"),     // link-local: AWS, Azure, Google, Oracle, IBM and most others
	netip.MustParsePrefix("fe80::/10"),          // link-local
	netip.MustParsePrefix("fd00:ec2::/32"),      // AWS
	netip.MustParsePrefix("fd20:ce::254/128"),   // Google
	netip.MustParsePrefix("fd00:42::42/128"),    // Scaleway
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure, WireServer
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba
	netip.MustParsePrefix("192.0.0.192/32"),     // Oracle
}

// metadataNames are the names of metadata services, for when a proxy resolves them.
var metadataNames = []string{
	"metadata.google.internal", "metadata.goog", "metadata.azure.internal",
	"metadata.tencentyun.com", "instance-data.ec2.internal",
}

// nat64 are the IPv6 addresses that are translated to the IPv4 address in their last
// four bytes.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// ReachError is a connection that a vault object is not allowed to make.
type ReachError struct {
	Err    error  // which connection, and why it is not allowed
	Remedy string // what an operator should do, a sentence without a final stop
}

// Error returns the cause and the remedy.
func (e *ReachError) Error() string { return e.Err.Error() + " (" + e.Remedy + ")" }

// Unwrap returns the cause.
func (e *ReachError) Unwrap() error { return e.Err }

func reachError(host, why, remedy string) error {
	return &ReachError{errors.New(host + " " + why), remedy}
}

func neverError(host string) error {
	return reachError(host, "is link-local or a cloud's metadata service, and the plugin never connects to those", "point the vault object at the secret store itself")
}

func unlistedError(host string) error {
	return reachError(host, "is not among VAULT_AUTH_INLINE_HOSTS, which says where objects inside a plugin's configuration may connect", "add it there, or have the node define the object")
}

// Host checks whether the object may connect to a host, given as a name or an
// address, as far as possible before the name is resolved. Its error is a
// *ReachError.
func (r Reach) Host(host string) error {
	host = canonicalHost(host)
	if a, err := netip.ParseAddr(host); err == nil {
		return r.address(host, a)
	}
	switch {
	case slices.Contains(metadataNames, host):
		return neverError(host)
	case r.hosts == nil, r.hosts.named(host), len(r.hosts.ranges) > 0:
		return nil
	}
	return unlistedError(host)
}

// proxied is Host for a request through a proxy, which resolves the host name.
func (r Reach) proxied(host string) error {
	if err := r.Host(host); err != nil {
		return err
	}
	host = canonicalHost(host)
	_, err := netip.ParseAddr(host)
	switch {
	case endsInNumber(host) && err != nil:
		return reachError(host, "is an address written in an unusual way", "write it as four numbers from 0 to 255")
	case r.hosts == nil, err == nil, r.hosts.named(host):
		return nil
	}
	return reachError(host, "is not among VAULT_AUTH_INLINE_HOSTS by name, and its address is known only to the proxy that leads there", "add the name there, or to NO_PROXY")
}

// address checks whether the object may connect to an address of host.
func (r Reach) address(host string, a netip.Addr) error {
	what := host
	if literal, err := netip.ParseAddr(host); err != nil || literal != a {
		what = host + " leads to " + a.String() + ", which"
	}
	a = a.Unmap().WithZone("")
	switch {
	case holds(neverVault, a), nat64.Contains(a) && holds(neverVault, lastFour(a)):
		return neverError(what)
	case r.hosts == nil, r.hosts.named(host), holds(r.hosts.ranges, a):
		return nil
	}
	return unlistedError(what)
}

// Guard makes a transport connect, with dialer, only where r permits. It checks each
// address at the moment of the connection, since the addresses of a name can change.
//
// Connections to the transport's proxy are always allowed: the proxy is the node's own
// choice. Since the proxy resolves names itself, only a request's host name is
// checked, and a name that only a range of addresses could permit is refused.
//
// concerns reports whether r applies to a host; nil means all hosts.
func (r Reach) Guard(t *http.Transport, dialer *net.Dialer, concerns func(host string) bool) {
	if concerns == nil {
		concerns = func(string) bool { return true }
	}
	var proxies sync.Map // the addresses of proxies in use; the values have no meaning
	if proxy := t.Proxy; proxy != nil {
		t.Proxy = func(req *http.Request) (*url.URL, error) {
			u, err := proxy(req)
			if u == nil || err != nil {
				return u, err
			}
			if host := req.URL.Hostname(); concerns(host) {
				if err := r.proxied(host); err != nil {
					return nil, err
				}
			}
			proxies.Store(dialledAt(u), nil)
			return u, nil
		}
	}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if _, isProxy := proxies.Load(address); isProxy || !concerns(host) {
			return dialer.DialContext(ctx, network, address)
		}
		if err := r.Host(host); err != nil {
			return nil, err
		}
		checked := *dialer
		checked.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			a, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			return r.address(canonicalHost(host), a.Addr())
		}
		return checked.DialContext(ctx, network, address)
	}
}

// dialledAt returns the address at which net/http dials a proxy.
func dialledAt(proxy *url.URL) string {
	port := proxy.Port()
	if port == "" {
		port = map[string]string{"https": "443", "socks5": "1080", "socks5h": "1080"}[proxy.Scheme]
	}
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(proxy.Hostname(), port)
}

// canonicalHost returns a host in the form for comparisons.
func canonicalHost(host string) string {
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// endsInNumber recognizes addresses such as 2852039166 and 0xa9.0xfea9fe, which Go
// doesn't parse but other programs do. A domain name never ends in a number.
func endsInNumber(host string) bool {
	last := host[strings.LastIndex(host, ".")+1:]
	hex, isHex := strings.CutPrefix(last, "0x")
	return last != "" && strings.Trim(last, "0123456789") == "" || isHex && strings.Trim(hex, "0123456789abcdef") == ""
}

func holds(ranges []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Contains(a) })
}

// lastFour returns the IPv4 address in the last four bytes of an IPv6 address.
func lastFour(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom4([4]byte(b[12:]))
}

// hostList is a list of hosts: names, domains and ranges of addresses.
type hostList struct {
	names   []string
	domains []string // with a leading dot: all names below them
	ranges  []netip.Prefix
}

func (l *hostList) add(item string) error {
	host := canonicalHost(item)
	name, isDomain := strings.CutPrefix(host, "*.")
	a, err := netip.ParseAddr(host)
	p, errPrefix := netip.ParsePrefix(host)
	switch {
	case err == nil && a.Zone() == "":
		l.ranges = append(l.ranges, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
	case errPrefix == nil && !p.Addr().Is4In6():
		l.ranges = append(l.ranges, p.Masked())
	case !isHostName(name):
		return fmt.Errorf("%.80q is not a host name, a domain as in *.example.com, an address or a range as in 10.0.0.0/8 (without protocol and port)", item)
	case isDomain:
		l.domains = append(l.domains, "."+name)
	default:
		l.names = append(l.names, name)
	}
	return nil
}

// isHostName reports whether name is a valid DNS name in lower case.
func isHostName(name string) bool {
	if len(name) > 253 || endsInNumber(name) {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// named reports whether the list contains a host by name. host is canonical.
func (l *hostList) named(host string) bool {
	return slices.Contains(l.names, host) ||
		slices.ContainsFunc(l.domains, func(domain string) bool { return strings.HasSuffix(host, domain) && len(host) > len(domain) })
}
