package hashivault

import (
	"strings"
	"testing"
	"time"

	"kong-vault-auth/certificatetest"
)

// startTLSVault starts a Vault whose certificate the returned CA has signed.
func startTLSVault(t *testing.T) (*realVault, certificatetest.Pair) {
	t.Helper()
	ca := certificatetest.NewCA()
	certFile, keyFile := writePair(t, t.TempDir(), ca.Issue("vault.test", "127.0.0.1"))
	return startVault(t, "-tls-addr", "127.0.0.1:0", "-tls-cert", certFile, "-tls-key", keyFile), ca
}

func TestCertLoginFollowsARotatedCertificate(t *testing.T) {
	v, ca := startTLSVault(t)
	v.put("alice")
	v.do("POST", "sys/auth/cert", fields{"type": "cert"})
	v.do("POST", "auth/cert/certs/kong", fields{
		"certificate": ca.PEM(), "allowed_common_names": "kong",
		"token_policies": v.policy("secret/data/kong-auth/*"), "token_ttl": "1h",
	})
	cfg := at(t, config(nil), v.TLSAddr)
	cfg.Token, cfg.AuthMethod, cfg.CACert, cfg.CertAuthRoleName = "", "cert", ca.PEM(), "kong"
	dir := t.TempDir()
	cfg.CertAuthCert, cfg.CertAuthCertKey = writePair(t, dir, ca.Issue("kong"))

	s := openAt(t, cfg, nil)
	wantFound(t, s)
	writePair(t, dir, ca.Issue("kong"))
	eventually(t, "a login with the new certificate", func() bool {
		return len(v.audited("update", "auth/cert/login")) >= 2
	})
	wantFound(t, s)

	// PEM from a variable, whose line ends are written as \n or \r\n.
	kong := ca.Issue("kong")
	fromVariables := cfg
	fromVariables.CACert, fromVariables.CertAuthCert = strings.ReplaceAll(cfg.CACert, "\n", `\n`), strings.ReplaceAll(kong.PEM(), "\n", `\n`)
	fromVariables.CertAuthCertKey = strings.ReplaceAll(kong.KeyPEM(), "\n", `\r\n`)
	wantFound(t, openAt(t, fromVariables, nil))

	stranger := ca.Issue("stranger")
	cfg.CertAuthCert, cfg.CertAuthCertKey = stranger.PEM(), stranger.KeyPEM()
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
		{"trusted", func(c *Config) { c.CACert = ca.PEM() }, verdict{Found: "alice"}},
		{"of an unknown CA", func(c *Config) { c.CACert = certificatetest.NewCA().PEM() }, verdict{Failure: "tls"}},
		{"of another name", func(c *Config) { c.CACert, c.TLSServerName = ca.PEM(), "other.test" }, verdict{Failure: "tls"}},
		{"of the name asked for", func(c *Config) { c.CACert, c.TLSServerName = ca.PEM(), "vault.test" }, verdict{Found: "alice"}},
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

// writePair writes a pair where the tests may change it.
func writePair(t *testing.T, dir string, p certificatetest.Pair) (certFile, keyFile string) {
	t.Helper()
	certFile, keyFile, err := p.WriteFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}
