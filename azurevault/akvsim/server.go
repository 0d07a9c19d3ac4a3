package akvsim

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Server makes a Sim reachable. It is a proxy that leads to it for every simulated
// host and refuses all others, and App Service's managed identity endpoint.
type Server struct {
	sim  *Sim
	addr net.Addr
	// The proxy's own server, and the one behind the tunnels it opens.
	proxy, tunneled *http.Server
}

// Start serves the simulator on a TCP address, which should be a loopback one,
// until Close. Several servers may serve one simulator.
func (s *Sim) Start(addr string) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	tunnels := &tunnelListener{addr: l.Addr(), conns: make(chan net.Conn), closed: make(chan struct{})}
	srv := &Server{sim: s, addr: l.Addr()}
	srv.tunneled = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, ErrorLog: quiet}
	srv.proxy = &http.Server{Handler: proxy{s, tunnels}, ReadHeaderTimeout: 10 * time.Second, ErrorLog: quiet}
	go func() { _ = srv.tunneled.Serve(tunnels) }()
	go func() { _ = srv.proxy.Serve(l) }()
	return srv, nil
}

// Clients that don't trust the CA, or hang up, are part of many tests.
var quiet = log.New(io.Discard, "", 0)

// ProxyURL is the proxy's address, for HTTPS_PROXY and HTTP_PROXY.
func (srv *Server) ProxyURL() string { return "http://" + srv.addr.String() }

// IdentityEndpoint is App Service's managed identity endpoint, for
// IDENTITY_ENDPOINT; IDENTITY_HEADER is then the constant of that name.
func (srv *Server) IdentityEndpoint() string { return srv.ProxyURL() + appServicePath }

// CA is the certificate of the CA that certifies the simulated hosts, as PEM.
func (srv *Server) CA() []byte { return []byte(srv.sim.ca.ca.PEM()) }

// Environ is what the environment of a program must hold to reach the simulator
// instead of Azure. caFile is a file that CA was written to.
func (srv *Server) Environ(caFile string) []string {
	return []string{"HTTPS_PROXY=" + srv.ProxyURL(), "HTTP_PROXY=" + srv.ProxyURL(), "SSL_CERT_FILE=" + caFile}
}

// Transport is Environ for a client in this process.
func (srv *Server) Transport() *http.Transport {
	roots := x509.NewCertPool()
	roots.AddCert(srv.sim.ca.ca.Certificate)
	proxyURL := &url.URL{Scheme: "http", Host: srv.addr.String()}
	return &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) {
			if r.URL.Host == srv.addr.String() { // the identity endpoint
				return nil, nil
			}
			return proxyURL, nil
		},
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: true,
	}
}

// Close ends the server and aborts the requests in progress.
func (srv *Server) Close() error {
	return errors.Join(srv.proxy.Close(), srv.tunneled.Close())
}

// proxy is an HTTP proxy that never dials: tunnels end in tunnels.
type proxy struct {
	sim     *Sim
	tunnels *tunnelListener
}

func (p proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		p.sim.ServeHTTP(w, r) // plain http, through the proxy or straight to it
		return
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil || !p.sim.has(host) {
		http.Error(w, "akvsim: this host is not simulated", http.StatusBadGateway)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		_ = conn.Close()
		return
	}
	p.tunnels.put(tls.Server(&bufferedConn{conn, buffered}, &tls.Config{
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.sim.ca.leaf(host), nil },
	}))
}

// bufferedConn is a hijacked connection from which the server may have read more than
// it used.
type bufferedConn struct {
	net.Conn
	r io.Reader
}

func (c *bufferedConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// tunnelListener accepts the connections that are put into it.
type tunnelListener struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *tunnelListener) put(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.closed:
		_ = c.Close()
	}
}

func (l *tunnelListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *tunnelListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *tunnelListener) Addr() net.Addr { return l.addr }
