package hashivault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"kong-vault-auth/securefile"
)

// maxBody is the most that is read of an answer. A usable record has at most
// 64 KiB, its metadata in KV v2 about as much.
const maxBody = 256 << 10

// maxParallel is how many lookups a vault object has in flight at most; so many
// connections are kept open, for a handshake costs more than a read.
const maxParallel = 64

// errBodyTooLarge ends the reading of an answer that is larger than bodyLimit.
var errBodyTooLarge = errors.New("the answer is too large")

// roundTripper is what a store needs of its transport.
type roundTripper interface {
	http.RoundTripper
	CloseIdleConnections()
	// reload makes later requests use the certificates that the files hold now,
	// or says why it can't.
	reload() error
}

// transport is an http.Transport that is built anew when a certificate changes,
// since a connection keeps those it was opened with. A file that is missing or
// wrong fails requests, not the start, and heals itself.
type transport struct {
	dialing dialing
	mu      sync.Mutex
	current *http.Transport
}

func newTransport(d dialing) *transport { return &transport{dialing: d} }

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	current, err := t.get()
	if err != nil {
		return nil, err
	}
	resp, err := current.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	// vault/api reads answers to their end, however long they are.
	resp.Body = &boundedBody{resp.Body, bodyLimit(req.Context())}
	return resp, nil
}

// bodyLimitKey is the context key of how much is read of an answer, where that
// isn't maxBody.
type bodyLimitKey struct{}

func bodyLimit(ctx context.Context) int {
	if n, ok := ctx.Value(bodyLimitKey{}).(int); ok {
		return n
	}
	return maxBody
}

func (t *transport) get() (*http.Transport, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == nil {
		made, err := t.dialing.transport()
		if err != nil {
			return nil, err
		}
		t.current = made
	}
	return t.current, nil
}

// reload leaves what works in use if the files can't be: a certificate may have
// been exchanged a moment before its key.
func (t *transport) reload() error {
	made, err := t.dialing.transport()
	if err != nil {
		return err
	}
	t.mu.Lock()
	old := t.current
	t.current = made
	t.mu.Unlock()
	if old != nil {
		old.CloseIdleConnections()
	}
	return nil
}

// CloseIdleConnections leaves all connections at hand, those that are in use as
// well, which close once they are idle. A new transport is the only way to that:
// in HTTP/2 one connection serves all requests, and under load it is never idle.
func (t *transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.current; old != nil {
		t.current = old.Clone()
		old.CloseIdleConnections()
	}
}

// files are those that certificates and keys are read from.
func (d *dialing) files() []string {
	return slices.DeleteFunc(append(d.clientFiles(), d.ca.file), func(f string) bool { return f == "" })
}

func (d *dialing) clientFiles() []string {
	return slices.DeleteFunc([]string{d.clientCert.file, d.clientKey.file}, func(f string) bool { return f == "" })
}

func (d *dialing) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         d.serverName,
		InsecureSkipVerify: d.skipVerify,
	}
	if !d.ca.empty() {
		pem, err := d.ca.read(securefile.Anybody)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &securefile.Error{Err: fmt.Errorf("%s: %s holds no certificate in PEM form", d.ca.field, d.ca.file), Remedy: "put the CA's certificate there"}
		}
	}
	if !d.clientCert.empty() {
		pair, err := d.clientPair()
		if err != nil {
			return nil, err
		}
		// A callback rather than Certificates: that one is left out when the CAs
		// the server lists don't include its issuer, and Vault's cert method
		// knows CAs that its listener doesn't list.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &pair, nil
		}
	}
	return config, nil
}

func (d *dialing) clientPair() (tls.Certificate, error) {
	cert, err := d.clientCert.read(securefile.Anybody)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := d.clientKey.read(securefile.Group)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, &securefile.Error{
			Err:    fmt.Errorf("cert_auth_cert and cert_auth_cert_key are not a pair: %w", err),
			Remedy: "replace both; they are read again when they change",
		}
	}
	return pair, nil
}

func (d *dialing) transport() (*http.Transport, error) {
	tlsConfig, err := d.tlsConfig()
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: 5 * time.Second,
		ForceAttemptHTTP2:   true,
		DisableCompression:  true, // Vault doesn't compress, and maxBody then means what it says
		MaxIdleConns:        maxParallel,
		MaxIdleConnsPerHost: maxParallel,
		IdleConnTimeout:     90 * time.Second,
		// A dead peer must not hold all streams of the one connection for long.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 2 * time.Second},
	}
	if d.socket == "" {
		d.reach.Guard(t, dialer, nil)
	} else {
		t.Proxy = nil
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", d.socket)
		}
	}
	return t, nil
}

// boundedBody is a body of at most left more bytes.
type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left+1)])
	if n > b.left {
		return b.left, errBodyTooLarge
	}
	b.left -= n
	return n, err
}
