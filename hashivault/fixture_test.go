package hashivault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kong-vault-auth/certificatetest"
	"kong-vault-auth/credential"
	"kong-vault-auth/kongschema"
	"kong-vault-auth/pluginserver/servertest"
	"kong-vault-auth/secretstore"
)

const (
	testToken    = "hvs.the-vault-token"
	testConsumer = "3fd1eea1-885a-4011-b986-289943ff8177"
	testIdentity = "hcv of the tests"
)

// config is a usable configuration of a node's object, changed by edit.
func config(edit func(*Config)) Config {
	var cfg Config
	if err := kongschema.ApplyDefaults(&cfg); err != nil {
		panic(err)
	}
	cfg.KV, cfg.Path, cfg.Token = kv2, "kong-auth", testToken
	if edit != nil {
		edit(&cfg)
	}
	return cfg
}

func appRoleConfig(cfg *Config) {
	cfg.AuthMethod, cfg.Token, cfg.AppRoleRoleID, cfg.AppRoleSecretID = "approle", "", "the-role", "the-secret-id"
}

// at points a configuration at a server.
func at(t *testing.T, cfg Config, address string) Config {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Protocol, cfg.Host = u.Scheme, u.Hostname()
	cfg.Port, _ = strconv.Atoi(u.Port())
	return cfg
}

func options(log *journal) secretstore.OpenOptions {
	return secretstore.OpenOptions{Name: "kong-auth", Identity: testIdentity, UserAgent: "kong-vault-auth/test", TrustNode: true, Logger: log.logger()}
}

// openAt opens a store as production does.
func openAt(t *testing.T, cfg Config, log *journal) secretstore.Store {
	t.Helper()
	s, err := Open(cfg, options(log))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// openOn opens a store on a handler in this process, without sockets, so that it
// works in a synctest bubble.
func openOn(t *testing.T, cfg Config, log *journal, h http.Handler) *store {
	t.Helper()
	checked, err := checkedSettings(cfg, options(log))
	if err != nil {
		t.Fatal(err)
	}
	return openChecked(t, checked, log, h)
}

func openChecked(t *testing.T, checked settings, log *journal, h http.Handler) *store {
	t.Helper()
	s, err := open(checked, options(log), inProcess{h})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// serveTLS starts a server that doesn't log handshake errors, which tests cause.
func serveTLS(t *testing.T, h http.Handler, edit func(*httptest.Server)) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if edit != nil {
		edit(server)
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// certPEM is the CA that clients of a server of serveTLS need.
func certPEM(server *httptest.Server) string {
	return certificatetest.Pair{Certificate: server.Certificate()}.PEM()
}

// inProcess is a transport that calls a handler.
type inProcess struct{ http.Handler }

func (inProcess) CloseIdleConnections() {}
func (inProcess) reload() error         { return nil }

func (p inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body == nil {
		req.Body = http.NoBody
	}
	answered := make(chan *http.Response, 1)
	go func() {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, req)
		resp := w.Result()
		resp.Request = req
		resp.Body = &boundedBody{resp.Body, bodyLimit(req.Context())}
		answered <- resp
	}()
	select {
	case resp := <-answered:
		return resp, nil
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

// fakeVault answers by method and path with what the tests put there, and otherwise
// with Vault's own "no handler for route". It counts requests.
type fakeVault struct {
	mu     sync.Mutex
	routes map[string]http.HandlerFunc
	counts map[string]int
}

func newFakeVault() *fakeVault {
	v := &fakeVault{routes: map[string]http.HandlerFunc{}, counts: map[string]int{}}
	v.on("GET auth/token/lookup-self", canned(200, `{"data":{"ttl":0,"policies":["default","kong"]}}`))
	v.on("GET sys/internal/ui/mounts/secret", canned(200, `{"data":{"path":"secret/","type":"kv","options":{"version":"2"}}}`))
	v.on("PUT auth/token/revoke-self", canned(204, ""))
	return v
}

func (v *fakeVault) on(route string, h http.HandlerFunc) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.routes[route] = h
}

func (v *fakeVault) count(route string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.counts[route]
}

func (v *fakeVault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	route := r.Method + " " + path
	v.mu.Lock()
	v.counts[route]++
	h := v.routes[route]
	v.mu.Unlock()
	if h == nil {
		h = canned(404, fmt.Sprintf(`{"errors":["no handler for route \"%s\". route entry not found."]}`, path))
	}
	h(w, r)
}

const (
	notFound     = `{"errors":[]}`
	noPermission = `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`
	deadToken    = `{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}`
	sealed       = `{"errors":["Vault is sealed"]}`
)

// canned is a fixed answer, of Vault or of something in front of it.
func canned(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if !strings.HasPrefix(body, "{") {
			w.Header().Set("Content-Type", "text/html")
		}
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// record is a credential's record, as JSON.
func record(accessToken string) string {
	return fmt.Sprintf(`{"access_token":%q,"secret_token":"s3cret","consumer":{"id":%q}}`, accessToken, testConsumer)
}

// secret is KV v2's answer with a record.
func secret(accessToken string) string {
	return fmt.Sprintf(`{"request_id":"1","data":{"data":%s,"metadata":{"deletion_time":"","destroyed":false,"version":1}}}`, record(accessToken))
}

// granted is the answer to a login.
func granted(token string, ttl int) string {
	return fmt.Sprintf(`{"request_id":"1","auth":{"client_token":%q,"policies":["kong"],"lease_duration":%d,"renewable":true}}`, token, ttl)
}

func fingerprint(accessToken string) string {
	return credential.Fingerprint(credential.ID(testIdentity, accessToken))
}

// verdict is the outcome of a read in comparable form.
type verdict struct {
	Found   string // the access token of the record
	Absent  secretstore.AbsentReason
	Failure string // its reason
}

func judge(t *testing.T, r *credential.Record, err error) verdict {
	t.Helper()
	var (
		absent  *secretstore.Absent
		failure *secretstore.Failure
	)
	switch {
	case err == nil:
		return verdict{Found: r.AccessToken}
	case errors.As(err, &absent):
		return verdict{Absent: absent.Reason}
	case errors.As(err, &failure):
		return verdict{Failure: failure.Reason}
	}
	t.Fatalf("neither Absent nor Failure: %v", err)
	return verdict{}
}

// readWithin reads with a lookup deadline.
func readWithin(t *testing.T, s secretstore.Store, d time.Duration, accessToken string) (verdict, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	r, err := s.Read(ctx, accessToken)
	return judge(t, r, err), err
}

// wantFound reads a record that is there.
func wantFound(t *testing.T, s secretstore.Store) {
	t.Helper()
	if got, err := readWithin(t, s, 5*time.Second, "alice"); got != (verdict{Found: "alice"}) {
		t.Fatalf("alice: %v, %v", got, err)
	}
}

// replaceFile replaces a file by renaming a new one, as programs should.
func replaceFile(t *testing.T, name, contents string) {
	t.Helper()
	if err := os.WriteFile(name+".new", []byte(contents), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// journal collects log lines.
type journal struct{ servertest.Buffer }

func (j *journal) logger() *slog.Logger {
	if j == nil {
		return nil
	}
	return slog.New(slog.NewTextHandler(j, nil))
}
