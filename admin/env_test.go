package admin

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kong-vault-auth/azurevault"
	"kong-vault-auth/hashivault"
	"kong-vault-auth/secretstore"
)

// store is the store of every vault object, in memory.
type store struct {
	mu        sync.Mutex
	documents map[string]string
	version   int
	err       error // of everything, if set
}

func (s *store) Get(_ context.Context, accessToken string) (*secretstore.Document, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, found := s.documents[accessToken]
	switch {
	case s.err != nil:
		return nil, s.err
	case !found:
		return nil, &secretstore.Absent{Reason: secretstore.ReasonNotFound}
	}
	return &secretstore.Document{Record: []byte(d), Version: strconv.Itoa(s.version)}, nil
}

func (s *store) Create(ctx context.Context, accessToken string, record []byte) error {
	if d, _ := s.Get(ctx, accessToken); d != nil {
		return &secretstore.Conflict{Op: "create", Reason: secretstore.ConflictExists}
	}
	return s.Replace(ctx, accessToken, record, "")
}

func (s *store) Replace(_ context.Context, accessToken string, record []byte, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.version++
	s.documents[accessToken] = string(record)
	return nil
}

func (s *store) Delete(_ context.Context, accessToken string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.documents, accessToken)
	return s.err
}

func (s *store) Names(_ context.Context, yield func([]secretstore.Name) error) error {
	s.mu.Lock()
	if s.err != nil {
		defer s.mu.Unlock()
		return s.err
	}
	var page []secretstore.Name
	for name := range s.documents {
		page = append(page, secretstore.Name{AccessToken: name})
	}
	s.mu.Unlock()
	return yield(page)
}

func (s *store) Recover(context.Context, string) (string, error) { return "", s.err }
func (s *store) Purge(context.Context, string) error             { return s.err }
func (s *store) Checked(context.Context) (bool, error)           { return true, nil }
func (s *store) Base64() bool                                    { return false }
func (s *store) Close() error                                    { return nil }

var now = time.Unix(1_790_000_000, 0)

// env is an Admin API on a store in memory, and a Kong with one consumer and one plugin.
type env struct {
	testing.TB
	store  *store
	file   string
	getenv map[string]string
	audit  bytes.Buffer
	log    bytes.Buffer
	server *Server
	h      http.Handler
}

const consumerID = "ce67c25e-2168-4a09-81e5-e06187a2384f"

func newEnv(t testing.TB) *env {
	e := &env{TB: t, store: &store{documents: map[string]string{}}, file: filepath.Join(t.TempDir(), "vaults.yml")}
	kong := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/consumers/" + consumerID, "/consumers/alex":
			_, _ = io.WriteString(w, `{"id":"`+consumerID+`","username":"alex"}`)
		case "/plugins":
			_, _ = io.WriteString(w, `{"data":[{"id":"0dc6f45b-8f8d-40d2-a504-473544ee190b","name":"vault-auth","config":{"vault":"in-use"}}],"next":null}`)
		case "/consumers/broken":
			w.WriteHeader(500)
		case "/consumers":
			_, _ = io.WriteString(w, `{"data":[],"next":null}`)
		default:
			w.WriteHeader(404)
			_, _ = io.WriteString(w, `{"message":"Not found"}`)
		}
	}))
	t.Cleanup(kong.Close)
	e.getenv = map[string]string{
		"VAULT_AUTH_VAULTS_FILE": e.file, "KONG_ADMIN_URL": kong.URL, "VAULT_TOKEN": operatorToken,
		"VAULT_AUTH_CONTROL": filepath.Join(t.TempDir(), "nobody"),
	}
	kind := hashivault.Kind
	kind.OpenWriter = func(secretstore.Config, secretstore.OpenOptions) (secretstore.Writer, error) { return e.store, nil }
	e.server = &Server{
		Kinds: []secretstore.Kind{kind, azurevault.Kind}, Version: "1", Getenv: func(name string) string { return e.getenv[name] },
		Now: func() time.Time { return now }, Audit: &e.audit, Log: slog.New(slog.NewTextHandler(&e.log, nil)),
	}
	var err error
	if e.h, err = e.server.mux(); err != nil {
		t.Fatal(err)
	}
	return e
}

const (
	operatorToken = "hvs.the-operators-own-token"
	pluginToken   = "hvs.the-token-of-the-plugin"
)

// kongAuth is a vault object.
const kongAuth = `{"name":"kong-auth","host":"127.0.0.1","mount":"kong-auth","kv":"v1","vault_token":"` + pluginToken + `"}`

// send sends a request. A body is JSON.
func (e *env) send(method, path, body string) *httptest.ResponseRecorder {
	contentType := ""
	if body != "" {
		contentType = "application/json"
	}
	return e.sendAs(contentType, method, path, body)
}

func (e *env) sendAs(contentType, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(withWho(e.Context(), "uid:7"), method, path, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	e.h.ServeHTTP(w, r)
	return w
}

// must sends a request that must be answered with this status, and returns the body.
func (e *env) must(status int, method, path, body string) string {
	e.Helper()
	w := e.send(method, path, body)
	if w.Code != status {
		e.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return w.Body.String()
}

// Errors of a store, by the status of the answer.
var storeErrors = map[int]error{
	403: &secretstore.Failure{Op: "read kong-auth/0123456789ab", Reason: secretstore.Denied, Remedy: "give it the manager's policy"},
	502: &secretstore.Failure{Op: "read kong-auth/0123456789ab", Reason: "foreign", OneName: true},
	503: &secretstore.Failure{Op: "read kong-auth/0123456789ab", Reason: "timeout", Remedy: "check the network"},
	409: &secretstore.Conflict{Op: "replace kong-auth/0123456789ab", Reason: secretstore.ConflictChanged},
}

func pathOf(accessToken string) string {
	return fmt.Sprintf("/vault-auth/kong-auth/credentials/token/%s", accessToken)
}

// httpRequest is a request as a server reads it.
func httpRequest(method, path, body string) (*http.Request, error) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + path + " HTTP/1.0\r\n\r\n")))
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(strings.NewReader(body))
	return r, nil
}
