package gateway

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"kong-vault-auth/kongtest"
	"kong-vault-auth/kongtest/internal/nginx"
)

// serveHTTP2 serves a connection that has begun with HTTP/2's preface. Its
// header names are in lower case anyway; only the order between different names
// is lost: they come sorted.
func (f *front) serveHTTP2() {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Protocols: &protocols, Handler: http.HandlerFunc(f.handleHTTP2)}
	l := &oneConn{conn: &prefixed{f}, done: make(chan struct{})}
	s.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			l.Close()
		}
	}
	f.mu.Lock()
	f.shutdown = func() { go s.Shutdown(context.Background()) } // says GOAWAY and waits
	f.mu.Unlock()
	s.Serve(l)
	<-l.done
}

func (f *front) handleHTTP2(w http.ResponseWriter, r *http.Request) {
	if !f.w.gen.enter() {
		panic(http.ErrAbortHandler)
	}
	defer f.w.gen.leave()
	done := make(chan struct{})
	defer close(done)
	req := &kongtest.Request{
		Method: r.Method, Scheme: "http", Host: nginx.HostOnly(r.Host), URI: r.RequestURI, HTTPVersion: 2,
		Client: addrPort(f.RemoteAddr()), Port: int(addrPort(f.LocalAddr()).Port()), Done: done,
		Header: []kongtest.Header{line("host", r.Host)},
	}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, v := range r.Header[name] {
			req.Header = append(req.Header, line(strings.ToLower(name), v))
		}
	}
	if r.ContentLength != 0 {
		req.Body = r.Body
	}
	if r.ContentLength > 0 && len(req.Values("content-length")) == 0 {
		req.Header = append(req.Header, line("content-length", strconv.FormatInt(r.ContentLength, 10)))
	}
	res := f.w.handle(req)
	w.Header()["Date"] = nil // Kong adds none to what it proxies
	for _, h := range res.header {
		if !hopByHop(h.Name) {
			w.Header()[http.CanonicalHeaderKey(h.Name)] = append(w.Header()[http.CanonicalHeaderKey(h.Name)], h.Value)
		}
	}
	w.WriteHeader(res.status)
	if res.body == nil {
		return
	}
	defer res.body.Close()
	copyFlushing(w, res.body)
	if res.trailer != nil {
		for _, h := range res.trailer() {
			w.Header().Add(http.TrailerPrefix+h.Name, h.Value)
		}
	}
}

func copyFlushing(w http.ResponseWriter, r io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return
			}
			http.NewResponseController(w).Flush()
		}
		if err != nil {
			return
		}
	}
}

// prefixed reads what was peeked at first.
type prefixed struct{ *front }

func (p *prefixed) Read(b []byte) (int, error) { return p.r.Read(b) }

// oneConn is a listener for a single connection.
type oneConn struct {
	conn net.Conn
	once sync.Once
	done chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return c, nil
	}
	<-l.done
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }
