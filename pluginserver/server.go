package pluginserver

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"kong-vault-auth/clock"
)

// DefaultGrace is how long a server that stops waits for Kong to go elsewhere.
const DefaultGrace = 5 * time.Second

const defaultEventTimeout = 5 * time.Second

// Options are the settings of a Server. The zero value of each field means its default.
type Options struct {
	Name string // the plugin's name, as Kong knows it
	// Others are further plugins to serve, by name. An instance with any other name
	// belongs to the first plugin.
	Others       map[string]Plugin
	EventTimeout time.Duration // an event's time outside Kong's own calls; 5 s
	Grace        time.Duration // for Kong to go elsewhere when the server stops; DefaultGrace
	Log          *Log          // where lines for Kong's error log wait; default none
	// Allow decides whether a peer may connect; nil allows all.
	Allow func(*net.UnixConn) error
}

// Server serves plugins on a listener. It is safe for concurrent use.
type Server struct {
	plugin    Plugin
	others    map[string]Plugin
	name      string
	timeout   time.Duration
	grace     time.Duration
	allow     func(*net.UnixConn) error
	log       *Log
	logger    *slog.Logger
	instances instances

	ctx    context.Context // ends when the server has stopped
	cancel context.CancelFunc

	leaving atomic.Int64 // since when, in Unix nanoseconds, Kong has another server to go to; 0 if it has none

	mu    sync.Mutex // guards conns
	conns map[*conn]struct{}
	wg    sync.WaitGroup // connections
}

// NewServer returns a server that Serve starts.
func NewServer(p Plugin, o Options) *Server {
	s := &Server{
		plugin: p, others: o.Others, name: o.Name, timeout: o.EventTimeout, grace: o.Grace, allow: o.Allow, log: o.Log,
		logger: slog.New(slog.DiscardHandler), conns: map[*conn]struct{}{},
	}
	if s.timeout == 0 {
		s.timeout = defaultEventTimeout
	}
	if s.grace == 0 {
		s.grace = DefaultGrace
	}
	if s.log != nil {
		s.logger = slog.New(s.log)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Serve answers Kong's connections until ctx ends. It then stops accepting, continues until
// Kong has closed its connections or the grace time is over, and closes every instance. It
// returns nil after such a stop, and otherwise the error of Accept. It closes the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	go s.sweep(ctx)
	go s.watch()
	err := s.accept(ctx, l)
	l.Close() // again, so that the socket is gone when Serve returns
	s.shutdown()
	return err
}

func (s *Server) accept(ctx context.Context, l net.Listener) error {
	for pause := time.Duration(0); ; {
		nc, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				nc.Close()
			}
			return nil
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			// Most likely out of file descriptors, which is transient.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.logger.Error("connection from Kong could not be accepted", "reason", "accept", "err", err)
			clock.Sleep(ctx, pause)
			continue
		}
		pause = 0
		if uc, ok := nc.(*net.UnixConn); ok && s.allow != nil {
			if err := s.allow(uc); err != nil {
				s.logger.Error("connection refused", "reason", "peer", "err", err)
				nc.Close()
				continue
			}
		}
		s.add(newConn(s, nc))
	}
}

func (s *Server) add(c *conn) {
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	s.wg.Go(func() {
		c.serve()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	})
}

// calls counts Kong's calls over the current connections, and reports whether one of them is
// not answered yet.
func (s *Server) calls() (count uint64, busy bool) {
	s.each(func(c *conn) {
		steps := c.steps.Load()
		count += steps
		busy = busy || steps%2 == 1
	})
	return count, busy
}

// Leave starts or stops sending Kong's workers to another server: one that has taken the
// socket's path, or that will accept the connections that wait there. All calls are still
// answered meanwhile.
func (s *Server) Leave(leaving bool) {
	if !leaving {
		s.leaving.Store(0)
		return
	}
	s.leaving.CompareAndSwap(0, time.Now().UnixNano())
}

// sendsAway reports whether an event is refused so that Kong runs it at another server:
// every event of an instance that was started before this server began to leave, and all
// but the first of an instance that was started since. So each request is refused once or
// twice, and each refusal uses up one of its worker's connections. When none is left, the
// next one is to the other server.
//
// Connections are closed only in answer to an event. Kong repeats an event whose connection
// has ended, but answers 500 when that happens while it starts an instance, or to a call that
// it is just sending. New workers can have connections to an old server too, made before the
// new one listened.
func (s *Server) sendsAway(in *instance) bool {
	since := s.leaving.Load()
	return since != 0 && (in.started.UnixNano() < since || in.spent.Swap(true))
}

// linger is how long Kong may take to close connections that have ended.
const linger = 250 * time.Millisecond

// shutdown answers calls until Kong's workers have gone, or the grace time is over. A handler
// that is stuck must not keep the process alive.
func (s *Server) shutdown() {
	gone := make(chan struct{})
	go func() { s.wg.Wait(); close(gone) }()
	if !s.drain(gone) {
		s.part()
		within(linger, gone)
	}
	s.cancel()
	s.each(func(c *conn) { c.nc.Close() })
	s.instances.dropAll()
}

// quiet is how long a server that is leaving must have heard nothing before it stops: Kong's
// workers then no longer use a connection to it.
const quiet = 100 * time.Millisecond

// drain waits until Kong has closed all connections, the grace time is over, or a server that
// is leaving hears nothing any more. It reports whether all connections are closed.
func (s *Server) drain(gone <-chan struct{}) bool {
	late := time.NewTimer(s.grace)
	defer late.Stop()
	look := time.NewTicker(quiet)
	defer look.Stop()
	before, _ := s.calls()
	for {
		select {
		case <-gone:
			return true
		case <-late.C:
			return false
		case <-look.C:
			count, busy := s.calls()
			if s.leaving.Load() != 0 && !busy && count == before {
				return false
			}
			before = count
		}
	}
}

// part half-closes the connections one after the other. If they all ended at once, a worker
// that repeats an event, and starts an instance for it, could do so over another connection
// whose end it has not read yet.
func (s *Server) part() {
	var conns []*conn
	s.each(func(c *conn) { conns = append(conns, c) })
	for _, c := range conns {
		c.halfClose()
		time.Sleep(min(time.Millisecond, linger/time.Duration(len(conns))))
	}
}

// within waits for done, for d at most.
func within(d time.Duration, done <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}

func (s *Server) each(f func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		f(c)
	}
}

// start makes an instance of the plugin of that name, even for an invalid configuration: the
// log and the answer to every request then say what is wrong, while Kong's own log would
// only say "closed".
func (s *Server) start(name string, config []byte) *instance {
	p, ok := s.others[name]
	if !ok {
		p = s.plugin
	}
	h, err := startHandler(&p, config)
	if err != nil {
		s.logger.Error("plugin configuration is invalid, requests are answered 500", "reason", err.Error())
		h = misconfigured{err, s.logger}
	}
	return s.instances.add(&p, h)
}

func startHandler(p *Plugin, config []byte) (h Handler, err error) {
	defer func() {
		if r := recover(); r != nil {
			h, err = nil, errors.New("panic: "+panicReason(r))
		}
	}()
	return p.Start(config)
}

// watch enforces the events' deadlines, to within a twentieth of the time. A timer for each
// event would cost more than everything else that the server does for it, since setting one
// wakes the thread that waits for the network.
func (s *Server) watch() {
	t := time.NewTicker(max(s.timeout/20, time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case now := <-t.C:
			s.each(func(c *conn) { c.expire(now) })
		}
	}
}

func (s *Server) sweep(ctx context.Context) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			s.instances.sweep(now)
		}
	}
}
