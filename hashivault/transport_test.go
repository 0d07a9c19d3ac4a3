package hashivault

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kong-vault-auth/certificatetest"
	"kong-vault-auth/secretstore"
)

// The two files are replaced one after the other, and each change is noticed.
func TestHalfReplacedCertificateInterruptsNothing(t *testing.T) {
	ca := certificatetest.NewCA()
	v := newFakeVault()
	v.on(alice, func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) == 0 {
			t.Error("no certificate was shown")
		}
		canned(200, secret("alice"))(w, r)
	})
	server := serveTLS(t, v, func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
		s.TLS.ClientCAs.AddCert(ca.Certificate)
	})
	dir := t.TempDir()
	cfg := at(t, config(func(c *Config) { c.CACert = certPEM(server) }), server.URL)
	cfg.CertAuthCert, cfg.CertAuthCertKey = writePair(t, dir, ca.Issue("kong"))
	s := openAt(t, cfg, nil)
	wantFound(t, s)

	reload := s.(*store).conn.reload
	next := ca.Issue("kong")
	replaceFile(t, filepath.Join(dir, "cert.pem"), next.PEM())
	if err := reload(); err == nil {
		t.Error("a certificate with another's key was accepted")
	}
	wantFound(t, s)
	replaceFile(t, filepath.Join(dir, "key.pem"), next.KeyPEM())
	if err := reload(); err != nil {
		t.Error(err)
	}
	wantFound(t, s)
}

// The check of the settings sees only the host's name, so the addresses that it
// resolves to are checked as well.
func TestStoreConnectsOnlyWhereItMay(t *testing.T) {
	v := newFakeVault()
	v.on(alice, canned(200, secret("alice")))
	server := httptest.NewServer(v)
	defer server.Close()
	for name, tt := range map[string]struct{ host, hosts, want string }{
		"anywhere":                           {"localhost", "", ""},
		"by name":                            {"localhost", "localhost", ""},
		"by address":                         {"localhost", "127.0.0.0/8, ::1", ""},
		"name that leads elsewhere":          {"localhost", "10.0.0.0/8", "localhost leads to "},
		"metadata service of the machine":    {"169.254.169.254", "", "the plugin never connects to those"},
		"metadata service, whatever is said": {"169.254.169.254", "0.0.0.0/0", "the plugin never connects to those"},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(nil)
			if tt.hosts != "" {
				var err error
				if o.Reach, err = secretstore.ParseReach(tt.hosts); err != nil {
					t.Fatal(err)
				}
			}
			cfg := at(t, config(nil), server.URL)
			cfg.Host = tt.host
			checked, _ := checkedSettings(cfg, o)
			s, err := open(checked, o, newTransport(checked.dialing))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			got, err := readWithin(t, s, 5*time.Second, "alice")
			switch {
			case tt.want == "" && got != (verdict{Found: "alice"}):
				t.Errorf("%v, %v", got, err)
			case tt.want != "" && (got != (verdict{Failure: "address"}) || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("%v, %v; want a failure with %q", got, err, tt.want)
			}
		})
	}
}

func TestTLSIsAtLeast12(t *testing.T) {
	server := serveTLS(t, newFakeVault(), func(s *httptest.Server) {
		s.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	})
	cfg := at(t, config(func(c *Config) { c.SSLVerify = false }), server.URL)
	if got, err := readWithin(t, openAt(t, cfg, nil), tokenStatusTimeout, "alice"); got != (verdict{Failure: "tls"}) {
		t.Errorf("%v, %v", got, err)
	}
}
