package fleet

import (
	"strings"
	"testing"

	"kong-vault-auth/certificatetest"
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

// newCertificate writes a certificate for 127.0.0.1 that signs itself, and its key.
func newCertificate(t *testing.T) (certificate, key string) {
	t.Helper()
	certificate, key, err := certificatetest.SelfSigned("127.0.0.1").WriteFiles(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}
