package hashivault

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"kong-vault-auth/secretstore"
)

// Versions of the KV secrets engine, as configuration and Vault's docs name
// them.
const (
	kv1 = "v1"
	kv2 = "v2"
)

// settings are a vault object's configuration after the checks.
type settings struct {
	dialing
	namespace      string // of the secrets
	loginNamespace string // the namespace of the login
	mount          string // without slashes at its ends
	path           string // the same; may be empty
	kv             string // empty: ask Vault
	method         method
	base64         bool
}

// dialing holds the settings of a connection to the server.
type dialing struct {
	base       url.URL
	socket     string // of a Vault Agent or Proxy, dialled instead of base's host
	ca         pemSource
	clientCert pemSource
	clientKey  pemSource
	serverName string
	skipVerify bool
	reach      secretstore.Reach
}

// folder is the path below which records are read.
func (s *settings) folder(kv string) string { return s.below("data", kv) }

// secret is the path below which all of the mount's secrets are read.
func (s *settings) secret(kv string) string {
	if kv == kv2 {
		return s.mount + "/data"
	}
	return s.mount
}

// listFolder is the path at which records are listed.
func (s *settings) listFolder(kv string) string { return s.below("metadata", kv) }

// below is the store's path. KV v2 has a part, data or metadata, before it.
func (s *settings) below(part, kv string) string {
	folder := s.mount
	if kv == kv2 {
		folder += "/" + part
	}
	if s.path != "" {
		folder += "/" + s.path
	}
	return folder
}

// dataTwice says what to change if the configuration contains the "data" of KV v2's
// API paths. The store adds it as well, so it would look for records below
// data/data, where there are none. It is empty if the configuration is right.
func (s *settings) dataTwice(kv string) string {
	if kv != kv2 {
		return ""
	}
	if rest, ok := strings.CutPrefix(s.path+"/", "data/"); ok {
		return fmt.Sprintf("set path to %q", strings.Trim(rest, "/"))
	}
	if mount, ok := strings.CutSuffix(s.mount, "/data"); ok {
		return fmt.Sprintf("set mount to %q", mount)
	}
	return ""
}

// Check implements secretstore.Config.
func (c *Config) Check(p *secretstore.Problems) { newSettings(c, p) }

// newSettings checks and completes a configuration. The settings are usable if p
// has no problems and the values obey the fields' tags.
func newSettings(cfg *Config, p *secretstore.Problems) settings {
	return (&checker{cfg, p, newCloudClient()}).settings()
}

func (c *checker) settings() settings {
	cfg, p := c.cfg, c.p
	s := settings{
		namespace: strings.Trim(cfg.Namespace, "/ "), // empty for the root namespace
		mount:     c.cleanPath("mount", cfg.Mount),
		path:      c.cleanPath("path", cfg.Path),
		kv:        cfg.KV,
		base64:    cfg.Base64Decode,
	}
	if s.mount == "" {
		p.Add("mount", "it is empty")
	}
	s.loginNamespace = s.namespace
	if cfg.AuthNamespace != "" {
		s.loginNamespace = strings.Trim(cfg.AuthNamespace, "/ ")
	}
	s.dialing = c.dialing()
	s.method = c.method(s.dialing)
	return s
}

// checker checks a configuration while it turns it into settings.
type checker struct {
	cfg   *Config
	p     *secretstore.Problems
	cloud *http.Client // for the services of a cloud that logins need
}

// cleanPath trims a path's slashes. It refuses paths that Vault can't have, and
// those that a server would resolve to another path.
func (c *checker) cleanPath(field, p string) string {
	p = strings.Trim(p, "/")
	if p == "" {
		return ""
	}
	for segment := range strings.SplitSeq(p, "/") {
		if segment == "" || segment == "." || segment == ".." {
			c.p.Add(field, "it has an empty segment, or one that is . or ..")
		}
	}
	if !utf8.ValidString(p) {
		c.p.Add(field, "it is not valid UTF-8")
	}
	return p
}

func (c *checker) dialing() dialing {
	d := dialing{
		socket:     c.cfg.UnixSocket,
		serverName: c.cfg.TLSServerName,
		skipVerify: !c.cfg.SSLVerify,
		reach:      c.p.Reach,
		ca:         c.pem("ca_cert", c.cfg.CACert),
		clientCert: c.pem("cert_auth_cert", c.cfg.CertAuthCert),
		clientKey:  c.pem("cert_auth_cert_key", c.cfg.CertAuthCertKey),
	}
	base := c.cleanPath("base_path", c.cfg.BasePath)
	if base == "v1" || strings.HasSuffix(base, "/v1") {
		c.p.Add("base_path", "it ends in v1, which the plugin adds; leave that out")
	}
	c.p.NodeFile("unix_socket", c.cfg.UnixSocket)
	switch {
	case d.socket == "":
		d.base = url.URL{Scheme: c.cfg.Protocol, Host: net.JoinHostPort(strings.Trim(c.cfg.Host, "[]"), strconv.Itoa(c.cfg.Port))}
		if base != "" {
			d.base.Path = "/" + base
		}
		c.checkHost()
		c.checkProtocol()
	case strings.HasPrefix(d.socket, "/"):
		d.base = url.URL{Scheme: "http", Host: "localhost"}
	default:
		c.p.Add("unix_socket", "it must be an absolute path")
	}
	c.checkPEM(d)
	return d
}

// checkHost recognizes frequent mistakes, and says what was probably meant.
func (c *checker) checkHost() {
	given := c.cfg.Host
	scheme, rest, isURL := strings.Cut(given, "://")
	if !isURL {
		rest = given
	}
	name, path, _ := strings.Cut(strings.TrimRight(rest, "/"), "/")
	host, port, errPort := net.SplitHostPort(given)
	switch {
	case strings.Contains(given, "@"): // don't repeat the part before it, which may be a password
		c.p.Add("host", "it must be a host name or an address, and nothing else")
	case isURL && path != "":
		c.p.Add("host", "it is a URL. Did you mean host %s, protocol %s and base_path /%s?", name, scheme, path)
	case isURL:
		c.p.Add("host", "it is a URL. Did you mean host %s and protocol %s?", name, scheme)
	case errPort == nil:
		c.p.Add("host", "it holds a port. Did you mean host %s and port %s?", host, port)
	case path != "":
		c.p.Add("host", "it holds a path. Did you mean host %s and base_path /%s?", name, path)
	case !isHost(given):
		c.p.Add("host", "it must be a host name or an address, and nothing else")
	}
	c.p.Host("host", given)
}

// isHost reports whether host is a name or an address, without a port, in brackets
// or not.
func isHost(host string) bool {
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	u, err := url.Parse("http://" + host)
	return err == nil && u.Host == host && !strings.ContainsAny(host, "%:[]")
}

func (c *checker) checkProtocol() {
	ip, err := netip.ParseAddr(strings.Trim(c.cfg.Host, "[]"))
	loopback := strings.EqualFold(c.cfg.Host, "localhost") || err == nil && ip.Unmap().IsLoopback()
	switch {
	case c.cfg.Protocol == "http" && !loopback:
		c.p.Warn("protocol", "without TLS, anybody who can read the traffic learns the Vault token and every secret token; use https")
	case c.cfg.Protocol == "https" && !c.cfg.SSLVerify:
		c.p.Warn("ssl_verify", "it is off, so anybody who can redirect connections to Vault can let anybody in; set ca_cert instead")
	}
}

// pem is literal PEM, or the file that holds it.
func (c *checker) pem(field, value string) pemSource {
	c.p.PEM(field, value)
	if pem, ok := secretstore.PEM(value); ok {
		return pemSource{field: field, literal: []byte(pem)}
	}
	return pemSource{field: field, file: value}
}

// checkPEM parses literal PEM. Files may appear and change later.
func (c *checker) checkPEM(d dialing) {
	if len(d.ca.literal) > 0 && !x509.NewCertPool().AppendCertsFromPEM(d.ca.literal) {
		c.p.Add("ca_cert", "it holds no certificate")
	}
	switch {
	case d.clientKey.empty() && !d.clientCert.empty():
		c.p.Add("cert_auth_cert_key", "it is empty, and cert_auth_cert needs it")
	case d.clientCert.empty() && !d.clientKey.empty():
		c.p.Add("cert_auth_cert", "it is empty, and cert_auth_cert_key needs it")
	case len(d.clientCert.literal) > 0 && len(d.clientKey.literal) > 0:
		if _, err := tls.X509KeyPair(d.clientCert.literal, d.clientKey.literal); err != nil {
			c.p.Add("cert_auth_cert", "it and cert_auth_cert_key are not a pair: %v", err)
		}
	}
}
