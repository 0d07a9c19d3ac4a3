package hashivault

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"kong-vault-auth/secretstore"
)

// Versions of the KV secrets engine, as configuration and Vault's docs name
// them.
const (
	kv1 = "v1"
	kv2 = "v2"
)

// settings are a vault object's configuration, checked and complete.
type settings struct {
	dialing
	namespace string // of the secrets
	loginIn   string // the namespace of the login
	mount     string // without slashes at its ends
	path      string // the same; may be empty
	kv        string // empty: Vault is asked
	method    method
	base64    bool
}

// dialing is what a connection to the server takes.
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

// listFolder is the path at which they are listed.
func (s *settings) listFolder(kv string) string { return s.below("metadata", kv) }

// below is the store's path; in KV v2 what is kept of secrets comes first.
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

// dataTwice says what to change where the configuration has the "data" of KV v2's
// API paths in it, which is added here: records are then looked for below
// data/data, where there are none. It is empty where nothing points to that.
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

// checker collects everything that is wrong with a configuration, so that an
// operator doesn't learn of it one by one.
type checker struct {
	cfg      Config
	trusted  bool
	problems []string
}

func (c *checker) refuse(field, format string, args ...any) {
	c.problems = append(c.problems, field+": "+fmt.Sprintf(format, args...))
}

// nodeOnly refuses a field that reaches for something of the node's.
func (c *checker) nodeOnly(field, value string) {
	if value != "" && !c.trusted {
		c.refuse(field, "only a vault object that the node defines may use this")
	}
}

func newSettings(cfg Config, o secretstore.OpenOptions) (settings, error) {
	c := &checker{cfg: cfg, trusted: o.TrustNode}
	s := settings{
		namespace: c.namespace("namespace", cfg.Namespace),
		mount:     c.cleanPath("mount", cmp.Or(cfg.Mount, "secret")),
		path:      c.cleanPath("path", cfg.Path),
		kv:        cfg.KV,
		base64:    cfg.Base64Decode,
	}
	if s.mount == "" {
		c.refuse("mount", "it is empty")
	}
	s.loginIn = s.namespace
	if cfg.AuthNamespace != "" {
		s.loginIn = c.namespace("auth_namespace", cfg.AuthNamespace)
	}
	if !slices.Contains([]string{"", kv1, kv2}, s.kv) {
		c.refuse("kv", "it must be v1 or v2")
	}
	s.dialing = c.dialing()
	s.reach = o.Reach
	s.method = c.method(s.dialing)
	if len(c.problems) > 0 {
		return settings{}, fmt.Errorf("%w: %s", secretstore.ErrConfig, strings.Join(c.problems, "; "))
	}
	return s, nil
}

// namespace takes the slashes off a namespace's ends; what is left of the root
// namespace's is nothing.
func (c *checker) namespace(field, value string) string {
	value = strings.Trim(value, "/ ")
	if strings.ContainsFunc(value, unicode.IsControl) {
		c.refuse(field, "it holds control characters")
	}
	return value
}

// cleanPath takes the slashes off a path's ends and refuses what a path of
// Vault's can't hold or a server would resolve to another path.
func (c *checker) cleanPath(field, p string) string {
	p = strings.Trim(p, "/")
	if p == "" {
		return ""
	}
	for segment := range strings.SplitSeq(p, "/") {
		switch {
		case segment == "":
			c.refuse(field, "it holds two slashes in a row")
		case segment == "." || segment == "..":
			c.refuse(field, "it holds a segment %q", segment)
		case strings.ContainsFunc(segment, unicode.IsControl) || !utf8.ValidString(segment):
			c.refuse(field, "it holds control characters or is not valid UTF-8")
		}
	}
	return p
}

func (c *checker) dialing() dialing {
	d := dialing{
		socket:     c.cfg.UnixSocket,
		serverName: c.cfg.TLSServerName,
		skipVerify: !c.cfg.SSLVerify,
		ca:         c.pem("ca_cert", c.cfg.CACert),
		clientCert: c.pem("cert_auth_cert", c.cfg.CertAuthCert),
		clientKey:  c.pem("cert_auth_cert_key", c.cfg.CertAuthCertKey),
	}
	c.nodeOnly("unix_socket", c.cfg.UnixSocket)
	if d.socket != "" {
		d.base = url.URL{Scheme: "http", Host: "localhost"}
	} else {
		protocol, host, port := cmp.Or(c.cfg.Protocol, "http"), cmp.Or(c.cfg.Host, "127.0.0.1"), cmp.Or(c.cfg.Port, 8200)
		d.base = url.URL{Scheme: protocol, Host: net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port))}
		if base := c.cleanPath("base_path", c.cfg.BasePath); base != "" {
			d.base.Path = "/" + base
		}
		if protocol != "http" && protocol != "https" {
			c.refuse("protocol", "it must be http or https")
		}
		if !isHost(host) {
			c.refuse("host", "it must be a bare host name or address; protocol, port and path have fields of their own")
		}
		if port < 1 || port > 65535 {
			c.refuse("port", "it must be between 1 and 65535")
		}
	}
	c.checkPEM(d)
	return d
}

// isHost reports a name or an address without port, in brackets or not.
func isHost(host string) bool {
	bare := strings.Trim(host, "[]")
	_, err := netip.ParseAddr(bare)
	return err == nil || !strings.ContainsAny(host, "/?#@%:[] ") && !strings.ContainsFunc(host, unicode.IsControl)
}

// pem is PEM as it stands, or the file that holds it.
func (c *checker) pem(field, value string) pemSource {
	if pem, ok := secretstore.PEM(value); ok {
		return pemSource{field: field, literal: []byte(pem)}
	}
	if value != "" && !c.trusted {
		c.refuse(field, "it must be PEM: only a vault object that the node defines may name a file")
	}
	return pemSource{field: field, file: value}
}

// checkPEM parses what is given literally. Files may appear and change later.
func (c *checker) checkPEM(d dialing) {
	if len(d.ca.literal) > 0 && !x509.NewCertPool().AppendCertsFromPEM(d.ca.literal) {
		c.refuse("ca_cert", "it holds no certificate")
	}
	if d.clientCert.empty() != d.clientKey.empty() {
		c.refuse("cert_auth_cert", "cert_auth_cert and cert_auth_cert_key need each other")
	}
	if len(d.clientCert.literal) > 0 && len(d.clientKey.literal) > 0 {
		if _, err := tls.X509KeyPair(d.clientCert.literal, d.clientKey.literal); err != nil {
			c.refuse("cert_auth_cert", "it and cert_auth_cert_key are not a pair: %v", err)
		}
	}
}
