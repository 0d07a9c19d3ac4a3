package hashivault

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"kong-vault-auth/vault"
)

// Files are exchanged one after the other, and each change is noticed.
func TestHalfExchangedCertificateInterruptsNothing(t *testing.T) {
	ca := newAuthority(t)
	v := newFakeVault()
	v.on(alice, func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) == 0 {
			t.Error("no certificate was shown")
		}
		canned(200, secret("alice"))(w, r)
	})
	server := serveTLS(t, v, func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
		s.TLS.ClientCAs.AddCert(ca.cert)
	})
	dir := t.TempDir()
	cert, key := ca.pair("kong", nil)
	cfg := at(t, config(func(c *vault.HCV) { c.CACert = certPEM(server.Certificate()) }), server.URL)
	cfg.CertAuthCert, cfg.CertAuthCertKey = writePair(t, dir, cert, key)
	s := openAt(t, cfg, nil)
	wantFound(t, s)

	reload := s.(*store).conn.reload
	newCert, newKey := ca.pair("kong", nil)
	replaceFile(t, filepath.Join(dir, "cert.pem"), newCert)
	if err := reload(); err == nil {
		t.Error("a certificate with another's key was accepted")
	}
	wantFound(t, s)
	replaceFile(t, filepath.Join(dir, "key.pem"), newKey)
	if err := reload(); err != nil {
		t.Error(err)
	}
	wantFound(t, s)
}

func TestTLSIsAtLeast12(t *testing.T) {
	server := serveTLS(t, newFakeVault(), func(s *httptest.Server) {
		s.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	})
	cfg := at(t, config(func(c *vault.HCV) { c.SSLVerify = false }), server.URL)
	if got, err := readWithin(t, openAt(t, cfg, nil), standingTimeout, "alice"); got != (verdict{Failure: "tls"}) {
		t.Errorf("%v, %v", got, err)
	}
}
