// Package servertest runs a plugin on a plugin server of its own, in the test's
// process, and speaks to it as one of Kong's workers does.
package servertest

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"kong-vault-auth/kongtest"
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/unixsocket"
	"kong-vault-auth/unixsocket/sockettest"
)

// RequestID is the id of every request that doesn't name one.
const RequestID = "0123456789abcdef"

// Server is a running plugin server and a client of it.
type Server struct {
	*kongtest.Client
	Log    *pluginserver.Log // what the plugin logs to
	Stderr *Buffer           // what the log has written
	Leave  func()            // the server's
	stop   func() error
}

// grace is for connections that a test has left open.
const grace = 100 * time.Millisecond

// Serve runs a plugin until the test ends. plugin gets the log that the
// server takes lines for Kong from. o's Log and Name are set here, and a Grace
// that is short.
func Serve(t testing.TB, plugin func(*slog.Logger) pluginserver.Plugin, o pluginserver.Options) *Server {
	t.Helper()
	dir := sockettest.Dir(t)
	l, err := unixsocket.Listen(filepath.Join(dir, "s"), 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Client: kongtest.NewClient(filepath.Join(dir, "s")), Stderr: &Buffer{}}
	s.Log = pluginserver.NewLog(s.Stderr, slog.LevelDebug)
	o.Log, o.Name = s.Log, "plugin"
	if o.Grace == 0 {
		o.Grace = grace
	}
	server := pluginserver.NewServer(plugin(slog.New(s.Log)), o)
	s.Leave = func() { server.Leave(true) }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, l) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { s.Stop(t) })
	t.Cleanup(s.Client.Close)
	return s
}

// Stop stops the server as SIGTERM does, and waits for it.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if err := s.stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// Start starts an instance and fails the test where it can't.
func (s *Server) Start(t testing.TB, config string) *Instance {
	t.Helper()
	id, err := s.StartInstance("plugin", []byte(config))
	if err != nil {
		t.Fatal(err)
	}
	return &Instance{s, id}
}

// Instance is one configuration of the plugin.
type Instance struct {
	Server *Server
	ID     int
}

// Access runs the access phase of a request and fails the test where Kong
// would have got no answer. r is sent as it is, but for a missing id.
func (in *Instance) Access(t testing.TB, r *kongtest.Request) kongtest.Outcome {
	t.Helper()
	if r.Vars == nil {
		r.Vars = map[string]string{"kong_request_id": RequestID}
	}
	out, err := in.Server.HandleEvent(in.ID, "access", r)
	if err != nil {
		t.Fatalf("event: %v\n%s", err, in.Server.Stderr)
	}
	return out
}

// Buffer is a bytes.Buffer that is safe for concurrent use.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns all that was written.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
