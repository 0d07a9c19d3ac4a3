package faults

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// outcome is what a client of the proxy gets.
type outcome struct {
	Status int
	Body   string
	Err    error // what its error is, of those below; nil for others too
}

var errs = []error{syscall.ECONNRESET, syscall.ECONNREFUSED, context.DeadlineExceeded}

func ask(t *testing.T, url string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/secret", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		for _, known := range errs {
			if errors.Is(err, known) {
				return outcome{Err: known}
			}
		}
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return outcome{resp.StatusCode, string(body), nil}
}

func TestProxyDoesWhatTheFaultSaysAndForwardsAfterwards(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, r.URL.Path)
	}))
	defer server.Close()
	p, err := Listen(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	same := func(a, b error) bool { return errors.Is(a, b) || errors.Is(b, a) }
	forwarded := outcome{http.StatusTeapot, "/v1/secret", nil}
	want := map[string]outcome{
		"answers after 30s":           {Err: context.DeadlineExceeded},
		"answers 500":                 {500, `{"errors":["internal error"]}`, nil},
		"answers 429":                 {429, `{"errors":["request path is rate limited"]}`, nil},
		"answers 429, Retry-After: 2": {429, `{"errors":["request path is rate limited"]}`, nil},
		"connection reset":            {Err: syscall.ECONNRESET},
		"half-open, never answers":    {Err: context.DeadlineExceeded},
		"closed port":                 {Err: syscall.ECONNREFUSED},
		"load balancer's empty 404":   {404, "", nil},
		"load balancer's HTML 404":    {404, "<html><head><title>404 Not Found</title></head></html>", nil},
		"404, no handler for route":   {404, `{"errors":["no handler for route \"secret/data/kong-auth\". route entry not found."]}`, nil},
	}
	for _, f := range All() {
		p.Forget()
		if err := p.Set(f); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want[f.Name], ask(t, p.URL), cmp.Comparer(same)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", f.Name, diff)
		}
		if err := p.Clear(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(forwarded, ask(t, p.URL), cmp.Comparer(same)); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", f.Name, diff)
		}
		seen := p.Requests()
		if last := seen[len(seen)-1]; last.Path != "/v1/secret" || last.Status != http.StatusTeapot {
			t.Errorf("after %s, the last of %d requests: %+v", f.Name, len(seen), last)
		}
	}

	server.Close()
	if got := ask(t, p.URL); got.Err != syscall.ECONNRESET {
		t.Errorf("before a server that is gone: %+v", got)
	}
}

func TestFaultOfSomePathsLeavesOthersAlone(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	p, err := Listen(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for path, want := range map[string]int{"/v1/secret": 500, "/v1/other": 404} {
		if err := p.Set(Only(func(r *http.Request) bool { return r.URL.Path == path }, Answer("failing", 500, nil, ""))); err != nil {
			t.Fatal(err)
		}
		if got := ask(t, p.URL).Status; got != want {
			t.Errorf("a fault of %s: %d, want %d", path, got, want)
		}
	}
}

func TestWhatUsuallyHappensDoesBesideAFault(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "served") }))
	defer server.Close()
	p, err := Listen(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	is := func(path string) func(*http.Request) bool {
		return func(r *http.Request) bool { return r.URL.Path == path }
	}
	p.Usually(Only(is("/v1/secret"), Page(http.StatusForbidden)))
	for about, set := range map[string]func() error{
		"alone":                    p.Clear,
		"beside a fault of others": func() error { return p.Set(Only(is("/v1/other"), Reset())) },
	} {
		if err := set(); err != nil {
			t.Fatal(err)
		}
		if got := ask(t, p.URL); got.Status != http.StatusForbidden {
			t.Errorf("%s: %+v", about, got)
		}
	}
	p.Usually(Fault{})
	if got := ask(t, p.URL); got.Body != "served" {
		t.Errorf("afterwards: %+v", got)
	}
}
