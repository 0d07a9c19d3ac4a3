package admin

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"

	"kong-vault-auth/localhttp"
	"kong-vault-auth/securefile"
	"kong-vault-auth/unixsocket"
)

const (
	maxConns = 64
	// closeTimeout is the time for requests that are in progress when the server stops.
	closeTimeout = 10 * time.Second
)

// Serve answers requests until ctx ends. It calls ready with the address once it listens.
func Serve(ctx context.Context, s *Server, l Listener, ready func(net.Addr)) error {
	if err := l.Check(); err != nil {
		return err
	}
	h, err := s.mux()
	if err != nil {
		return err
	}
	listener, guard, err := s.listen(&l)
	if err != nil {
		return err
	}
	defer listener.Close()
	server := localhttp.New(guard(h), requestTimeout)
	server.ConnContext = peerContext
	ready(listener.Addr())
	return localhttp.Serve(ctx, server, netutil.LimitListener(listener, maxConns), closeTimeout)
}

// listen opens the listener. guard refuses the requests that the listener itself doesn't
// refuse.
func (s *Server) listen(l *Listener) (listener net.Listener, guard func(http.Handler) http.Handler, err error) {
	if path, isSocket := l.socket(); isSocket {
		socket, err := unixsocket.Listen(path, 0o600, -1)
		if err != nil {
			return nil, nil, err
		}
		refused := func(err error) { s.Log.Error("a connection was refused", "reason", "peer", "err", err) }
		return &unixsocket.Guarded{Socket: socket, Group: -1, Refused: refused}, func(h http.Handler) http.Handler { return h }, nil
	}
	b := &bearers{path: l.BearerFile}
	if listener, err = net.Listen("tcp", l.Address); err != nil {
		return nil, nil, err
	}
	if l.CertFile != "" {
		certificate := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return l.certificate() }
		listener = tls.NewListener(listener, &tls.Config{GetCertificate: certificate, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	}
	return listener, func(h http.Handler) http.Handler { return s.guarded(l, b, h) }, nil
}

// Check checks the settings and the files that they name.
func (l *Listener) Check() error {
	if err := l.check(); err != nil {
		return err
	}
	if l.BearerFile != "" {
		if _, err := (&bearers{path: l.BearerFile}).read(); err != nil {
			return fmt.Errorf("the bearer tokens: %w", err)
		}
	}
	if l.CertFile == "" {
		return nil
	}
	_, err := l.certificate()
	return err
}

const maxCertificate = 1 << 20

// certificate reads the certificate and its key. That is done for each connection, so
// that a renewed certificate is used at once.
func (l *Listener) certificate() (*tls.Certificate, error) {
	cert, err := securefile.Read(l.CertFile, securefile.Anybody, maxCertificate)
	if err != nil {
		return nil, fmt.Errorf("the certificate: %w", err)
	}
	key, err := securefile.Read(l.KeyFile, securefile.Group, maxCertificate)
	if err != nil {
		return nil, fmt.Errorf("the certificate's key: %w", err)
	}
	c, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", l.CertFile, l.KeyFile, err)
	}
	return &c, nil
}

// guarded passes on requests that are for this listener and carry a valid token.
func (s *Server) guarded(l *Listener, b *bearers, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !l.serves(r.Host) {
			reply(w, http.StatusMisdirectedRequest, message{"this is not a name of this server: see --host"})
			return
		}
		name, err := b.admit(r, s.Now())
		if err != nil {
			status := statusOf(err)
			switch status {
			case http.StatusUnauthorized:
				w.Header().Set("WWW-Authenticate", "Bearer")
			case http.StatusTooManyRequests:
				w.Header().Set("Retry-After", "10")
			}
			s.Log.Warn("a request was refused", "reason", "bearer", "status", status, "from", r.RemoteAddr)
			reply(w, status, message{err.Error()})
			return
		}
		h.ServeHTTP(w, r.WithContext(withWho(r.Context(), "token:"+name)))
	})
}

// peerContext adds the user at the other end of a unix socket.
func peerContext(ctx context.Context, c net.Conn) context.Context {
	if p, ok := c.RemoteAddr().(unixsocket.Peer); ok {
		return withWho(ctx, p.String())
	}
	return ctx
}
