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

// maxBody limits how much of an answer is read. A usable record has at most 64 KiB,
// its metadata in KV v2 about as much.
const maxBody = 256 << 10

// maxParallel is the maximum number of concurrent lookups of a vault object. As many
// connections are kept open, because a handshake costs more than a read.
const maxParallel = 64

// errBodyTooLarge means that an answer is larger than bodyLimit.
var errBodyTooLarge = errors.New("the answer is too large")

// roundTripper is what a store needs of its transport.
type roundTripper interface {
	http.RoundTripper
	CloseIdleConnections()
	// reload makes later requests use the present content of the certificate files.
	// Its error says why that is impossible.
	reload() error
}

// transport is an http.Transport that is rebuilt when a certificate changes, since a
// connection keeps the certificates that it was opened with. A missing or invalid
// file makes requests fail, not the start, until the file is corrected.
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
	// vault/api reads whole answers, without a limit of its own.
	resp.Body = &boundedBody{resp.Body, bodyLimit(req.Context())}
	return resp, nil
}

// bodyLimitKey is the context key of a limit other than maxBody.
type bodyLimitKey struct{}

func withBodyLimit(ctx context.Context, limit int) context.Context {
	return context.WithValue(ctx, bodyLimitKey{}, limit)
}

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

// reload keeps the present transport if the files can't be used: a certificate may
// have been replaced a moment before its key.
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

// CloseIdleConnections abandons all connections: idle ones are closed now, those in
// use once they are idle. That needs a new transport, since in HTTP/2 one connection
// serves all requests, and under load it is never idle.
func (t *transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.current; old != nil {
		t.current = old.Clone()
		old.CloseIdleConnections()
	}
}

// files are the files with certificates and keys.
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
		// Not the field Certificates: Go would send such a certificate only if the
		// server lists its issuer, and Vault's cert method accepts CAs that its
		// listener doesn't list.
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
		DisableCompression:  true, // Vault doesn't compress, and maxBody then limits the decoded size too
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

// boundedBody is a body of which at most left more bytes may be read.
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
