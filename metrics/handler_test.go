package metrics

import (
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kong-vault-auth/localhttp"
	"kong-vault-auth/unixsocket/sockettest"
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

func TestSocketIsForKongsUserAndGroup(t *testing.T) {
	path := filepath.Join(sockettest.Dir(t), "m")
	served := make(notice, 1)
	defer Start(t.Context(), localhttp.Unix(path), Handler(source()), slog.New(slog.NewTextHandler(served, nil)))()
	if line := <-served; !strings.Contains(line, "metrics are served") || !strings.Contains(line, "address=unix:"+path) {
		t.Error(line)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestAddressThatCannotBeListenedOnIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	served := make(notice, 1)
	stop := Start(t.Context(), localhttp.Unix(path), Handler(source()), slog.New(slog.NewTextHandler(served, nil)))
	if line := <-served; !strings.Contains(line, "level=WARN") || !strings.Contains(line, "VAULT_AUTH_METRICS_LISTEN") || !strings.Contains(line, "is not a socket") {
		t.Error(line)
	}
	stop()
}

// notice is a log whose lines can be waited for.
type notice chan string

func (n notice) Write(line []byte) (int, error) {
	n <- string(line)
	return len(line), nil
}
