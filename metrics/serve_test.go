package metrics

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/pluginserver"
)

func TestOnlyGetOfMetricsIsAnswered(t *testing.T) {
	h := Handler(source())
	for _, tc := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/metrics", 200}, {"GET", "/metrics?x=1", 200},
		{"POST", "/metrics", 405}, {"HEAD", "/metrics", 405}, {"OPTIONS", "/metrics", 405},
		{"GET", "/", 404}, {"GET", "/metrics/", 404}, {"GET", "//metrics", 404}, {"GET", "/debug/pprof/", 404}, {"POST", "/", 404},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(tc.method, tc.path, nil))
		if w.Code != tc.status {
			t.Errorf("%s %s: %d", tc.method, tc.path, w.Code)
		}
	}
}

func TestMetricsAreTextAndTellOfMemory(t *testing.T) {
	w := httptest.NewRecorder()
	Handler(source()).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "text/plain; version=0.0.4") {
		t.Errorf("Content-Type %q", got)
	}
	for _, part := range []string{"\nvault_auth_build_info{version=\"1.2.3\"} 1\n", "\ngo_memstats_heap_inuse_bytes ", "\nprocess_resident_memory_bytes "} {
		if !strings.Contains(w.Body.String(), part) {
			t.Errorf("no %q", part)
		}
	}
}

// taken fails as net.Listen does on a port that somebody has, or with err, for a
// time.
func taken(d time.Duration, err error) func() (net.Listener, error) {
	free := time.Now().Add(d)
	return func() (net.Listener, error) {
		if time.Now().Before(free) {
			return nil, &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", err)}
		}
		return &net.UnixListener{}, nil
	}
}

func TestAddressThatCannotBeHadIsTriedAgainEverySecond(t *testing.T) {
	const warning = "WARN metrics can't be served, it is tried again every second (check VAULT_AUTH_METRICS_LISTEN, and who else listens there) reason=metrics address=:9542 err="
	const inUse = warning + `"listen tcp: bind: address already in use"`
	for name, tc := range map[string]struct {
		taken time.Duration
		err   error
		log   []string
	}{
		"free at once":            {0, nil, nil},
		"during a reload":         {29 * time.Second, syscall.EADDRINUSE, nil},
		"taken for good":          {100 * time.Second, syscall.EADDRINUSE, []string{inUse, inUse + " repeated=59"}},
		"another machine's":       {time.Second, syscall.EADDRNOTAVAIL, []string{warning + `"listen tcp: bind: cannot assign requested address"`}},
		"one for privileged only": {time.Second, syscall.EACCES, []string{warning + `"listen tcp: bind: permission denied"`}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log strings.Builder
				began := time.Now()
				l := await(t.Context(), ":9542", taken(tc.taken, tc.err), slog.New(pluginserver.NewLog(&log, slog.LevelWarn)))
				if took := time.Since(began); l == nil || took != tc.taken {
					t.Errorf("%v after %s", l, took)
				}
				said := strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
				if log.Len() == 0 {
					said = nil
				}
				if diff := cmp.Diff(tc.log, said); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestWaitingForAnAddressEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if l := await(ctx, ":9542", taken(time.Hour, syscall.EADDRINUSE), slog.New(slog.DiscardHandler)); l != nil {
			t.Error("it has a listener")
		}
	})
}

// A port that another process has is taken over once it is free. Seconds are
// virtual, sockets are not.
func TestPortIsTakenOverFromThePluginServerBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(notice, 1)
		a := Address{"tcp", old.Addr().String()}
		stop := Start(t.Context(), a, Handler(source()), slog.New(slog.NewTextHandler(served, nil)))
		time.Sleep(10 * time.Second)
		if len(served) > 0 {
			t.Errorf("while the port is taken: %s", <-served)
		}
		old.Close()
		if line := <-served; !strings.Contains(line, "metrics are served") {
			t.Error(line)
		}
		scrape(t, "tcp", a.address)
		stop()
		if l, err := net.Listen("tcp", a.address); err != nil {
			t.Errorf("after the stop: %v", err)
		} else {
			l.Close()
		}
	})
}

// notice is a log whose lines can be waited for.
type notice chan string

func (n notice) Write(line []byte) (int, error) {
	n <- string(line)
	return len(line), nil
}

func TestSocketIsTakenOverAtOnce(t *testing.T) {
	path := filepath.Join(socketDir(t), "m")
	start := func(version string) (stop func()) {
		served := make(notice, 1)
		s := source()
		s.Version = version
		stop = Start(t.Context(), Address{"unix", path}, Handler(s), slog.New(slog.NewTextHandler(served, nil)))
		if line := <-served; !strings.Contains(line, "metrics are served") {
			t.Error(line)
		}
		return stop
	}
	stopOld := start("old")
	stopNew := start("new")
	for _, then := range []func(){stopOld, stopNew} {
		if body := scrape(t, "unix", path); !strings.Contains(body, `version="new"`) {
			t.Error("the old one answers")
		}
		then()
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

func scrape(t *testing.T, network, address string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	}}
	resp, err := client.Get("http://plugin/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%d, %v", resp.StatusCode, err)
	}
	return string(body)
}

func TestNothingIsServedNowhere(t *testing.T) {
	Start(t.Context(), Address{}, nil, nil)()
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
	stop := Start(t.Context(), Address{"tcp", "metrics.test:9542"}, http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	<-asked
	stop()
	if len(gaveUp) > 0 {
		t.Error("it stopped only when the name server had not answered in time")
	}
}
