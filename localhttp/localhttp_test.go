package localhttp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kong-vault-auth/unixsocket"
	"kong-vault-auth/unixsocket/sockettest"
)

// server answers every request with its name, and says on channels what becomes of it.
type server struct {
	*Server
	ready  chan net.Addr
	failed chan error
}

func newServer(name string, a Address) server {
	s := server{ready: make(chan net.Addr, 1), failed: make(chan error, 100)}
	s.Server = &Server{
		Address: a, MaxConns: 4, Farewell: time.Second, Timeout: time.Second, Mode: 0o600, Group: -1,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) }),
		Ready:   func(a net.Addr) { s.ready <- a },
		Failed:  func(err error) { s.failed <- err },
	}
	return s
}

// answers checks who answers at an address.
func answers(t *testing.T, a Address, want string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, a.Network, a.Address)
	}}}
	resp, err := client.Get("http://plugin/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); string(body) != want || err != nil {
		t.Errorf("%q answers, %v; want %s", body, err, want)
	}
}

// A port that can't be had is tried again, and reported: after a while if somebody else
// has it, as the plugin server before has during a kong reload. Seconds are virtual, sockets are not.
func TestPortThatIsTaken(t *testing.T) {
	for name, tt := range map[string]struct {
		taken time.Duration
		fails int
	}{
		"during a reload":   {29 * time.Second, 0},
		"for half a minute": {29500 * time.Millisecond, 0},
		"for longer":        {30500 * time.Millisecond, 1},
		"for a minute":      {59500 * time.Millisecond, 30},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				old, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				a := Address{"tcp", old.Addr().String()}
				s := newServer("new", a)
				stop := s.Start(t.Context())
				time.Sleep(tt.taken)
				old.Close()
				<-s.ready
				if len(s.failed) != tt.fails {
					t.Errorf("%d failures", len(s.failed))
				}
				for range len(s.failed) {
					if err := <-s.failed; !errors.Is(err, syscall.EADDRINUSE) {
						t.Error(err)
					}
				}
				answers(t, a, "new")
				stop()
				l, err := net.Listen("tcp", a.Address)
				if err != nil {
					t.Fatalf("after the stop: %v", err)
				}
				l.Close()
			})
		})
	}
}

func TestAddressThatCannotBeHadIsReportedAtOnce(t *testing.T) {
	for name, a := range map[string]Address{
		"another machine's": {"tcp", "192.0.2.1:9542"},
		"no folder":         Unix("/nobody/s"),
	} {
		s := newServer(name, a)
		stop := s.Start(t.Context())
		if err := <-s.failed; errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s: %v", name, err)
		}
		stop()
	}
}

func TestWaitingForAnAddressEnds(t *testing.T) {
	old, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	ctx, cancel := context.WithCancel(t.Context())
	stop := newServer("new", Address{"tcp", old.Addr().String()}).Start(ctx)
	cancel()
	stop()
}

func TestSocketIsTakenOverAtOnce(t *testing.T) {
	a := Unix(filepath.Join(sockettest.Dir(t), "s"))
	var stops []func()
	for _, name := range []string{"old", "new"} {
		s := newServer(name, a)
		stops = append(stops, s.Start(t.Context()))
		<-s.ready
	}
	for _, stop := range stops {
		answers(t, a, "new")
		stop()
	}
	if _, err := os.Lstat(a.Address); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

func TestSocketThatWasRemovedComesBack(t *testing.T) {
	for name, guarded := range map[string]bool{"guarded": true, "open": false} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(sockettest.Dir(t), "s")
			s := newServer(name, Unix(path))
			s.Guarded, s.keepEvery = guarded, time.Millisecond
			defer s.Start(t.Context())()
			<-s.ready
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			for {
				if _, err := os.Lstat(path); err == nil {
					break
				}
			}
			answers(t, Unix(path), name)
		})
	}
}

func TestStrangersAreRefused(t *testing.T) {
	path := filepath.Join(sockettest.Dir(t), "s")
	s, refused := newServer("new", Unix(path)), make(chan error, 1)
	s.Guarded, s.Refused = true, func(err error) { refused <- err }
	defer s.Start(t.Context())()
	<-s.ready
	sockettest.DialAs(t, path)
	<-refused
	answers(t, Unix(path), "new")
}

func TestNothingIsServedNowhere(t *testing.T) {
	(&Server{}).Start(t.Context())()
}

func TestRequestInFlightEndsBeforeTheStop(t *testing.T) {
	path := filepath.Join(sockettest.Dir(t), "s")
	s := newServer("", Unix(path))
	began, end := make(chan struct{}), make(chan struct{})
	s.Farewell = time.Hour
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-end
		io.WriteString(w, "done")
	})
	s.Timeout = time.Hour
	stop := s.Start(t.Context())
	<-s.ready
	var wg sync.WaitGroup
	wg.Go(func() {
		resp, err := unixsocket.Transport(path).RoundTrip(mustGet(t))
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		if b, err := io.ReadAll(resp.Body); string(b) != "done" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
	})
	<-began
	go close(end)
	stop()
	wg.Wait()
}

func mustGet(t *testing.T) *http.Request {
	r, err := http.NewRequest("GET", "http://plugin/", nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestStopDoesNotWaitForASilentNameServer(t *testing.T) {
	asked, gaveUp := make(chan struct{}, 100), make(chan struct{}, 100)
	before := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = before })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		asked <- struct{}{}
		<-ctx.Done()
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			gaveUp <- struct{}{}
		}
		return nil, ctx.Err()
	}}
	stop := newServer("", Address{"tcp", "metrics.test:9542"}).Start(t.Context())
	<-asked
	stop()
	if len(gaveUp) > 0 {
		t.Error("it stopped only when the name server had not answered in time")
	}
}
