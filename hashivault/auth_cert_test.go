package hashivault

import (
	"strings"
	"testing"
	"time"
)

// startTLSVault starts a Vault whose certificate the returned CA has signed.
func startTLSVault(t *testing.T) (*realVault, *authority) {
	t.Helper()
	ca := newAuthority(t)
	cert, key := ca.pair("vault.test", nil)
	certFile, keyFile := writePair(t, t.TempDir(), cert, key)
	return startVault(t, "-tls-addr", "127.0.0.1:0", "-tls-cert", certFile, "-tls-key", keyFile), ca
}

func TestCertLoginFollowsARotatedCertificate(t *testing.T) {
	v, ca := startTLSVault(t)
	v.put("alice")
	v.do("POST", "sys/auth/cert", fields{"type": "cert"})
	v.do("POST", "auth/cert/certs/kong", fields{
		"certificate": ca.pem(), "allowed_common_names": "kong",
		"token_policies": v.policy("secret/data/kong-auth/*"), "token_ttl": "1h",
	})
	cfg := at(t, config(nil), v.TLSAddr)
	cfg.Token, cfg.AuthMethod, cfg.CACert, cfg.CertAuthRoleName = "", "cert", ca.pem(), "kong"
	dir := t.TempDir()
	cert, key := ca.pair("kong", nil)
	cfg.CertAuthCert, cfg.CertAuthCertKey = writePair(t, dir, cert, key)

	s := openAt(t, cfg, nil)
	wantFound(t, s)
	cert, key = ca.pair("kong", nil)
	writePair(t, dir, cert, key)
	eventually(t, "a login with the new certificate", func() bool {
		return len(v.audited("update", "auth/cert/login")) >= 2
	})
	wantFound(t, s)

	// PEM from a variable, whose line ends are written as \n or \r\n.
	cert, key = ca.pair("kong", nil)
	fromVariables := cfg
	fromVariables.CACert, fromVariables.CertAuthCert = strings.ReplaceAll(cfg.CACert, "\n", `\n`), strings.ReplaceAll(cert, "\n", `\n`)
	fromVariables.CertAuthCertKey = strings.ReplaceAll(key, "\n", `\r\n`)
	wantFound(t, openAt(t, fromVariables, nil))

	cert, key = ca.pair("stranger", nil)
	cfg.CertAuthCert, cfg.CertAuthCertKey = cert, key
	if got, err := readWithin(t, openAt(t, cfg, nil), 5*time.Second, "alice"); got != (verdict{Failure: "login"}) {
		t.Errorf("a certificate of another name: %v, %v", got, err)
	}
}

func TestUntrustedServersAreNotSpokenTo(t *testing.T) {
	v, ca := startTLSVault(t)
	v.put("alice")
	token := v.token(nil)
	for _, test := range []struct {
		about string
		edit  func(*Config)
		want  verdict
	}{
		{"trusted", func(c *Config) { c.CACert = ca.pem() }, verdict{Found: "alice"}},
		{"of an unknown CA", func(c *Config) { c.CACert = newAuthority(t).pem() }, verdict{Failure: "tls"}},
		{"of another name", func(c *Config) { c.CACert, c.TLSServerName = ca.pem(), "other.test" }, verdict{Failure: "tls"}},
		{"of the name asked for", func(c *Config) { c.CACert, c.TLSServerName = ca.pem(), "vault.test" }, verdict{Found: "alice"}},
		{"without TLS", func(c *Config) { c.Protocol = "http" }, verdict{Failure: "tls"}},
		{"not to be verified", func(c *Config) { c.SSLVerify = false }, verdict{Found: "alice"}},
	} {
		t.Run(test.about, func(t *testing.T) {
			cfg := at(t, config(func(c *Config) { c.Token = token }), v.TLSAddr)
			test.edit(&cfg)
			got, err := readWithin(t, openAt(t, cfg, nil), 5*time.Second, "alice")
			if got != test.want {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}
