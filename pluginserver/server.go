package pluginserver

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultGrace is how long a server that stops waits for Kong to go elsewhere.
const DefaultGrace = 5 * time.Second

const defaultEventTimeout = 5 * time.Second

// Options are what a Server may be told. The zero value of each field means
// its default.
type Options struct {
	Name string // the plugin's name, as Kong knows it
	// Others are further plugins to serve, by their names. What has none of these is an
	// instance of the first plugin.
	Others       map[string]Plugin
	EventTimeout time.Duration // an event's time outside Kong's own calls; 5 s
	Grace        time.Duration // for Kong to go elsewhere when the server stops; DefaultGrace
	Log          *Log          // where lines for Kong's error log wait; none
	// Allow says whether a peer may speak to the server; nil allows all.
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

	leaving atomic.Int64 // since when, in Unix nanoseconds, another server is there for Kong; 0 if none is

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

// Serve answers Kong's connections until ctx ends. It then stops accepting,
// goes on until Kong has closed its connections or the grace time is over, and
// closes every instance.
// It returns nil after such a stop, else what Accept returned. It closes the
// listener.
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
			// Out of file descriptors, most likely: it passes.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.logger.Error("connection from Kong could not be accepted", "reason", "accept", "err", err)
			wait(ctx, pause)
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

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
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

// calls counts what Kong has asked for over the connections that there are, and
// reports whether something of it is not answered yet.
func (s *Server) calls() (count uint64, busy bool) {
	s.each(func(c *conn) {
		steps := c.steps.Load()
		count += steps
		busy = busy || steps%2 == 1
	})
	return count, busy
}

// Leave makes Kong's workers go over to another server that has taken the
// socket's path, or will get the connections that wait there, while everything
// is still answered; or not any more.
func (s *Server) Leave(leaving bool) {
	if !leaving {
		s.leaving.Store(0)
		return
	}
	s.leaving.CompareAndSwap(0, time.Now().UnixNano())
}

// sendsAway reports whether an event is to be refused so that Kong runs it at
// another server: all of instances that were started before this one began to
// leave, and all but the first of those that were started since. So each request
// is refused once or twice, and each refusal takes one of its worker's
// connections: when none is left, the next is to the other server.
//
// Connections are closed in answer to an event only: Kong repeats an event whose
// connection has ended, but answers 500 when that happens to the start of an
// instance, or to a call that it is just sending. New workers too can have
// connections to an old server, made before the new one listened.
func (s *Server) sendsAway(in *instance) bool {
	since := s.leaving.Load()
	return since != 0 && (in.started.UnixNano() < since || in.spent.Swap(true))
}

// linger is how long Kong may take to let go of connections that have ended.
const linger = 250 * time.Millisecond

// shutdown answers what comes until Kong's workers have gone, or the grace is
// over. A handler that is stuck must not keep the process.
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

// quiet is how long a server that is leaving must have heard nothing before it
// goes: Kong's workers then have no connection to it that they still use.
const quiet = 100 * time.Millisecond

// drain waits until Kong has closed all connections, which it reports, or the
// grace is over, or a server that is leaving hears nothing any more.
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

// part ends this side of the connections one after the other. Were it all at
// once, a worker that repeats an event, and first starts an instance, could do
// that over a connection of whose end it has not read yet.
func (s *Server) part() {
	var conns []*conn
	s.each(func(c *conn) { conns = append(conns, c) })
	for _, c := range conns {
		c.halfClose()
		time.Sleep(min(time.Millisecond, linger/time.Duration(len(conns))))
	}
}

// within waits for done, and no longer than d.
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

// start makes an instance of the plugin of that name. It always does: what is wrong with a configuration
// is for the log and for every request's answer, since Kong's log would say
// only "closed".
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

// watch keeps every event's deadline, to a twentieth of it. A timer of its own
// for each event would cost more than all else that the server does for it:
// setting one wakes the thread that waits for the network.
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
