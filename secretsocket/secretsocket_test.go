package secretsocket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/pluginserver/servertest"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/unixsocket/sockettest"
	"kong-vault-auth/vault"
)

// resolver answers by what it is asked for.
type resolver struct{ asked vault.Ask }

func (r *resolver) Ask(_ context.Context, a vault.Ask) (vault.Answer, error) {
	r.asked = a
	switch a.Resource {
	case "absent":
		return vault.Answer{}, fmt.Errorf("secret: %w", &secretstore.Absent{Reason: secretstore.ReasonNotFound})
	case "forbidden":
		return vault.Answer{}, fmt.Errorf("secret: %w", vault.ErrForbidden)
	case "config":
		return vault.Answer{}, fmt.Errorf("secret: %w", secretstore.ErrConfig)
	case "failure":
		return vault.Answer{}, errors.New("sealed")
	case "ttl":
		return vault.Answer{Value: "v", TTL: new(0.0)}, nil
	}
	return vault.Answer{Value: `{"foo":"bar"}`}, nil
}

func TestQuestionsAndAnswers(t *testing.T) {
	r := &resolver{}
	h := Handler(r)
	for body, want := range map[string]string{
		`{"vault":"azure","config":{"a":1},"environ":{"B":"c"},"resource":"x","version":2}`: `200 {"value":"{\"foo\":\"bar\"}"}`,
		`{"resource":"ttl"}`:       `200 {"value":"v","ttl":0}`,
		`{"resource":"absent"}`:    `404 {"error":"secret: not_found"}`,
		`{"resource":"forbidden"}`: `403 {"error":"secret: this node doesn't hand out the secret"}`,
		`{"resource":"config"}`:    `400 {"error":"secret: vault object configuration"}`,
		`{"resource":"failure"}`:   `503 {"error":"sealed"}`,
		`{"resource":1}`:           `400 {"error":"the question can't be read as JSON"}`,
		``:                         `400 {"error":"the question can't be read as JSON"}`,
		`{"resource":"` + strings.Repeat("x", maxQuestion) + `"}`: `400 {"error":"the question can't be read as JSON"}`,
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/secret", strings.NewReader(body)))
		if got := fmt.Sprint(w.Code, " ", w.Body); got != want {
			t.Errorf("%.80s: %s, want %s", body, got, want)
		}
		if strings.HasPrefix(body, `{"vault"`) {
			asked := vault.Ask{Vault: "azure", Config: json.RawMessage(`{"a":1}`), Environ: map[string]string{"B": "c"}, Resource: "x", Version: 2}
			if diff := cmp.Diff(asked, r.asked); diff != "" {
				t.Error(diff)
			}
		}
	}
	for _, req := range []*http.Request{httptest.NewRequest("GET", "/secret", nil), httptest.NewRequest("POST", "/", strings.NewReader("{}"))} {
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, req); w.Code < 400 {
			t.Errorf("%s %s: %d", req.Method, req.URL, w.Code)
		}
	}
}

func TestPath(t *testing.T) {
	for setting, want := range map[string]string{
		"": "/run/kong/vault-auth-secrets.socket", "off": "", "/a/../b.socket": "/b.socket", "unix:/c": "/c",
	} {
		if got, err := Path(setting, "/run/kong/vault-auth.socket"); got != want || err != nil {
			t.Errorf("%q: %q, %v", setting, got, err)
		}
	}
	for _, bad := range []string{"on", "secrets.socket", "127.0.0.1:80", "unix:x"} {
		if got, err := Path(bad, "/s"); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
}

func TestSocketIsForItsOwnerAndGroupAndGoesWithTheServer(t *testing.T) {
	path, log := filepath.Join(sockettest.Dir(t), "s.socket"), &servertest.Buffer{}
	stop := Start(t.Context(), path, -1, &resolver{}, slog.New(slog.NewTextHandler(log, nil)))
	var conn net.Conn
	for conn == nil {
		conn, _ = net.Dial("unix", path)
	}
	// As the strategies ask.
	const body = `{"resource":"x"}`
	if _, err := fmt.Fprintf(conn, "POST /secret HTTP/1.0\r\nHost: vault-auth\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.0 200") || !strings.HasSuffix(string(answer), "\r\n\r\n"+`{"value":"{\"foo\":\"bar\"}"}`) {
		t.Errorf("%q, %v", answer, err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", info, err)
	}
	stop()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// TestStrangersAreNotAnswered even where the file's mode would let them in.
func TestStrangersAreNotAnswered(t *testing.T) {
	path, log := filepath.Join(sockettest.Dir(t), "s.socket"), &servertest.Buffer{}
	stop := Start(t.Context(), path, -1, &resolver{}, slog.New(slog.NewTextHandler(log, nil)))
	for {
		if _, err := os.Lstat(path); err == nil {
			break
		}
		runtime.Gosched()
	}
	stranger := sockettest.DialAs(t, path)
	if n, err := stranger.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Error("the stranger's connection is open")
	}
	stop()
	if !strings.Contains(log.String(), "uid 54321") {
		t.Errorf("it is logged as %q", log)
	}
}

// Whatever a peer sends: an answer in JSON, and never a panic.
func FuzzQuestion(f *testing.F) {
	for _, body := range []string{`{"vault":"azure","config":{},"resource":"x"}`, "", "[]", `{"config":[1]}`, `{"environ":{"A":1}}`} {
		f.Add([]byte(body))
	}
	h := Handler(&resolver{})
	f.Fuzz(func(t *testing.T, body []byte) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/secret", bytes.NewReader(body)))
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("%d %q", w.Code, w.Body)
		}
	})
}
