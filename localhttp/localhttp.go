// Package localhttp runs the HTTP servers that a plugin server has beside Kong's own
// socket: for metrics, for operators and for Kong's vaults. They must never keep it from
// serving requests, so they start in the background, and keep trying.
package localhttp

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	stdlog "log"
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/net/netutil"

	"kong-vault-auth/clock"
	"kong-vault-auth/unixsocket"
)

const (
	// retryEvery is how soon an address that can't be listened on is tried again.
	retryEvery = time.Second
	// handover is how long a port may be in use before that is reported: during a kong
	// reload the plugin server from before still has it.
	handover = 30 * time.Second
	// keepEvery is how often a socket's file is checked.
	keepEvery = 5 * time.Second
)

// Server is an HTTP server on a TCP address or on a unix socket, whose path a newer
// server may take over.
type Server struct {
	Address Address
	Handler http.Handler

	Timeout  time.Duration // for an answer
	Farewell time.Duration // for requests in flight when the server stops
	MaxConns int           // at a time, so that Kong's connections have file descriptors left

	// Of a socket: its file's mode and group, and whether peers must be this user, root or
	// in that group. A negative group is none.
	Mode    fs.FileMode
	Group   int
	Guarded bool

	// Ready, unless nil, is called with the address once it listens.
	Ready func(net.Addr)
	// Failed is called with the reason, about once a second, while it can't listen.
	Failed func(error)
	// Refused is called for a peer that may not connect; for a Guarded socket.
	Refused func(error)

	keepEvery time.Duration // for tests
}

// Start serves until ctx ends or stop is called, which waits for the end. It never fails:
// an address that can't be listened on is tried again every second.
func (s *Server) Start(ctx context.Context) (stop func()) {
	if s.Address == (Address{}) {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			l := s.await(ctx)
			if l == nil {
				return
			}
			if err := s.serve(ctx, l); ctx.Err() == nil {
				s.Failed(err)
				clock.Sleep(ctx, retryEvery)
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// await returns a listener, or nil when ctx has ended.
func (s *Server) await(ctx context.Context) net.Listener {
	began := time.Now()
	for ctx.Err() == nil {
		l, err := s.listen(ctx)
		if err == nil {
			return l
		}
		if !errors.Is(err, syscall.EADDRINUSE) || time.Since(began) >= handover {
			s.Failed(err)
		}
		clock.Sleep(ctx, retryEvery)
	}
	return nil
}

// listen listens at the address. ctx ends the wait for a name server.
func (s *Server) listen(ctx context.Context) (net.Listener, error) {
	if s.Address.Network == "tcp" {
		return new(net.ListenConfig).Listen(ctx, "tcp", s.Address.Address)
	}
	l, err := unixsocket.Listen(s.Address.Address, s.Mode, s.Group)
	switch {
	case err != nil:
		return nil, err
	case s.Guarded:
		return &unixsocket.Guarded{Socket: l, Group: s.Group, Refused: s.Refused}, nil
	}
	return l, nil
}

// serve serves on l until ctx ends, and closes it.
func (s *Server) serve(ctx context.Context, l net.Listener) error {
	if socket, ok := l.(keeper); ok {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go socket.Keep(ctx, cmp.Or(s.keepEvery, keepEvery), s.Failed)
	}
	if s.Ready != nil {
		s.Ready(l.Addr())
	}
	return Serve(ctx, New(s.Handler, s.Timeout), netutil.LimitListener(l, s.MaxConns), s.Farewell)
}

// keeper is a *unixsocket.Socket, guarded or not.
type keeper interface {
	Keep(ctx context.Context, period time.Duration, failed func(error))
}

// New returns an HTTP server with limits for what a peer may send, and with timeout for an
// answer.
func New(h http.Handler, timeout time.Duration) *http.Server {
	const read = 15 * time.Second
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       read,
		WriteTimeout:      read + timeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          stdlog.New(io.Discard, "", 0), // its lines hold addresses of clients
	}
}

// Serve serves on l until ctx ends, and closes it. Requests in flight then have the farewell
// time to end. It returns nil after such a stop.
func Serve(ctx context.Context, s *http.Server, l net.Listener, farewell time.Duration) error {
	stopped := make(chan struct{})
	unwatch := context.AfterFunc(ctx, func() {
		defer close(stopped)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		if s.Shutdown(ctx) != nil {
			s.Close()
		}
	})
	err := s.Serve(l)
	if unwatch() {
		return err
	}
	<-stopped
	return nil
}
