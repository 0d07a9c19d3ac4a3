// Package faults is a proxy between an HTTP server and its clients, on loopback, that fails on
// demand: late answers, a load balancer's own errors, connections that break or stay silent.
package faults

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

// reopenPatience is how long the proxy tries to get its port back: while it doesn't listen, the
// port may be in use for somebody's outgoing connection for a moment.
const reopenPatience = 10 * time.Second

// Proxy forwards requests to a server, unless a Fault is set. All methods are
// safe for concurrent use.
type Proxy struct {
	URL string // where it listens, plain HTTP, all the time

	addr    string
	forward http.Handler

	mu     sync.Mutex // guards the rest
	fault  Fault
	usual  Fault
	server *http.Server // nil while the port is closed
	seen   []*Request
}

// Request is a request that has reached a Proxy.
type Request struct {
	Path     string
	Began    time.Time
	Answered time.Time // when the server's own answer came back; zero: not yet, or a fault answered
	Status   int       // of the server's own answer
}

// Listen starts a proxy in front of the server at a URL. Close ends it.
func Listen(server string) (*Proxy, error) {
	target, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	p := &Proxy{addr: "127.0.0.1:0"}
	p.forward = &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{MaxIdleConnsPerHost: 64},
		// When the server is down, it is down for the proxy's clients too.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { reset(w) },
		ErrorLog:     log.New(io.Discard, "", 0),
	}
	if err := p.open(); err != nil {
		return nil, err
	}
	p.URL = "http://" + p.addr
	return p, nil
}

// Set begins a fault and ends the previous one, for new requests. Those that have arrived are
// answered as before.
func (p *Proxy) Set(f Fault) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
	switch {
	case f.closed:
		return p.close()
	case p.server == nil:
		return p.open()
	}
	return nil
}

// Usually sets a fault for requests that are to be forwarded, whatever Set and Clear do: a
// firewall in front of the server, say. f must not be ClosedPort.
func (p *Proxy) Usually(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.usual = f
}

// Clear ends the fault.
func (p *Proxy) Clear() error { return p.Set(Fault{}) }

// Requests returns the requests that have come since the last Forget, oldest
// first.
func (p *Proxy) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]Request, len(p.seen))
	for i, r := range p.seen {
		all[i] = *r
	}
	return all
}

// Forget forgets the requests so far.
func (p *Proxy) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = nil
}

// Close ends the proxy and breaks its connections.
func (p *Proxy) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.close()
}

// open listens. p.mu is held, or nobody else knows p.
func (p *Proxy) open() error {
	l, err := net.Listen("tcp", p.addr)
	for deadline := time.Now().Add(reopenPatience); err != nil && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
		l, err = net.Listen("tcp", p.addr)
	}
	if err != nil {
		return err
	}
	p.addr = l.Addr().String()
	p.server = &http.Server{
		Handler:           http.HandlerFunc(p.serve),
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	go p.server.Serve(l)
	return nil
}

func (p *Proxy) close() error {
	if p.server == nil {
		return nil
	}
	err := p.server.Close()
	p.server = nil
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	seen := &Request{Path: r.URL.Path, Began: time.Now()}
	p.mu.Lock()
	fault, usual := p.fault, p.usual
	p.seen = append(p.seen, seen)
	p.mu.Unlock()
	forward := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.forward.ServeHTTP(&watched{w, p, seen}, r)
	}))
	fault.Over(usual.Over(forward)).ServeHTTP(w, r)
}

// watched notes the server's own answer before it is passed on.
type watched struct {
	http.ResponseWriter
	proxy   *Proxy
	request *Request
}

func (w *watched) WriteHeader(status int) {
	w.proxy.mu.Lock()
	w.request.Answered, w.request.Status = time.Now(), status
	w.proxy.mu.Unlock()
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }
