package fleet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTLS: with the CA of Redis' certificate nodes hear of each other, and without it
// nothing is sent.
func TestTLS(t *testing.T) {
	certificate, key := newCertificate(t)
	port := freePort(t)
	s := newServer(t, "tls-port "+port, "tls-cert-file "+certificate, "tls-key-file "+key, "tls-ca-cert-file "+certificate, "tls-auth-clients no")
	url := "rediss://127.0.0.1:" + port
	a := join(t, url, CAVariable, certificate)
	_ = join(t, url, CAVariable, certificate)
	s.registered(2)
	if got := a.Changed(t.Context(), change("ac-alice")); got.Applied != 1 {
		t.Errorf("%+v", got)
	}
	stranger := begin(t, url)
	eventually(t, "an unknown CA is reported", func() bool { return strings.Contains(stranger.log.String(), "unknown authority") })
	if stranger.Stats().Connected {
		t.Error("it is connected all the same")
	}
}

// newCertificate makes one that signs itself, for 127.0.0.1.
func newCertificate(t *testing.T) (certificate, key string) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: b}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}
