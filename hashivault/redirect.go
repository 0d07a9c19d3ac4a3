package hashivault

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"
)

var (
	// errRedirect is a redirect that no Vault server sends.
	errRedirect = errors.New("redirected to something that isn't the same path on Vault's active node")
	// errForeignRedirect doesn't repeat the target, which may contain anything.
	errForeignRedirect = errors.New("redirected to a host that isn't in the domain of the configured one")
)

// redirects follows one redirect, from a standby to the same path on the active
// node. Any other could send the Vault token to a stranger. A standby behind a
// proxy doesn't know the base path, so its redirect may lack it.
func redirects(basePath string) func(req *http.Request, via []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		from := via[0]
		downgrade := from.URL.Scheme == "https" && req.URL.Scheme != "https"
		samePath := req.URL.Path == from.URL.Path || req.URL.Path == strings.TrimPrefix(from.URL.Path, basePath)
		switch {
		case len(via) > 1, downgrade, !samePath, req.Method != from.Method:
			return errRedirect
		case !sameDomain(from.URL.Hostname(), req.URL.Hostname()):
			return errForeignRedirect
		}
		return nil
	}
}

// sameDomain reports whether other is the configured host or in the configured
// host's own domain. An address has no domain.
func sameDomain(configured, other string) bool {
	configured, other = normalHost(configured), normalHost(other)
	if configured == other {
		return true
	}
	domain := ownDomain(configured)
	return domain != "" && (other == domain || strings.HasSuffix(other, "."+domain))
}

func normalHost(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String()
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// ownDomain is the domain that a host's owner controls. Below a public suffix (com,
// co.uk, elb.amazonaws.com) it is the registered name, and in a private zone
// (vault.kong.svc.cluster.local, vault.internal) everything but the first label. It
// is empty if the host has no such domain.
func ownDomain(host string) string {
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	if suffix, icann := publicsuffix.PublicSuffix(host); icann || strings.Contains(suffix, ".") {
		domain, _ := publicsuffix.EffectiveTLDPlusOne(host) // fails for a suffix itself
		return domain
	}
	_, zone, _ := strings.Cut(host, ".")
	return zone
}
