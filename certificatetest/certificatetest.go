// Package certificatetest makes certificates and their keys for tests, and for the servers
// that stand in for others in them. It panics where no key can be made.
package certificatetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Pair is a certificate and its key.
type Pair struct {
	*x509.Certificate
	Key crypto.Signer
}

// NewCA returns a CA that nobody trusts yet.
func NewCA() Pair {
	return sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "CA of a test"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, NewKey(), nil)
}

// SelfSigned returns a certificate that is its own CA, for servers and clients of these names
// and addresses.
func SelfSigned(hosts ...string) Pair { return sign(selfSigned(hosts), NewKey(), nil) }

// SelfSignedRSA is SelfSigned with an RSA key, which Azure and AWS demand.
func SelfSignedRSA() Pair {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return sign(selfSigned([]string{"test"}), key, nil)
}

func selfSigned(hosts []string) *x509.Certificate {
	t := Template(hosts...)
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage |= x509.KeyUsageCertSign
	return t
}

// Template describes a certificate for servers and clients of these names and addresses. The
// first one is its common name.
func Template(hosts ...string) *x509.Certificate {
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: hosts[0]},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, host)
		}
	}
	return t
}

// Issue returns a certificate by this CA for servers and clients of these names and addresses.
func (ca Pair) Issue(hosts ...string) Pair { return ca.Sign(Template(hosts...)) }

// Sign returns a certificate by this CA. Unless the template says when it is valid, it is for
// a day.
func (ca Pair) Sign(template *x509.Certificate) Pair { return sign(template, NewKey(), &ca) }

// sign returns a certificate by ca, or one that signs itself.
func sign(template *x509.Certificate, key crypto.Signer, ca *Pair) Pair {
	if ca == nil {
		ca = &Pair{template, key}
	}
	template.SerialNumber = new(big.Int).SetBytes([]byte(rand.Text())[:16])
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Certificate, key.Public(), ca.Key)
	if err != nil {
		panic(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return Pair{certificate, key}
}

// NewKey returns a new key on the curve P-256.
func NewKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

// PEM returns the certificate in PEM.
func (p Pair) PEM() string { return block("CERTIFICATE", p.Raw) }

// KeyPEM returns the key in PEM.
func (p Pair) KeyPEM() string {
	der, err := x509.MarshalPKCS8PrivateKey(p.Key)
	if err != nil {
		panic(err)
	}
	return block("PRIVATE KEY", der)
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// TLS returns the pair as a server's configuration holds it.
func (p Pair) TLS() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{p.Raw}, PrivateKey: p.Key}
}

// WriteFiles writes the pair to cert.pem and key.pem in a folder, which only their owner may
// read.
func (p Pair) WriteFiles(dir string) (certFile, keyFile string, err error) {
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := os.WriteFile(certFile, []byte(p.PEM()), 0o600); err != nil {
		return "", "", err
	}
	return certFile, keyFile, os.WriteFile(keyFile, []byte(p.KeyPEM()), 0o600)
}
