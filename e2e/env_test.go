package e2e

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kong-vault-auth/e2e/echo"
	"kong-vault-auth/e2e/vaultserver"
)

// The consumers of every configuration.
const (
	aliceID = "a11ce000-0000-4000-8000-000000000001"
	bobID   = "b0b00000-0000-4000-8000-000000000002"
	carolID = "ca401000-0000-4000-8000-000000000003"
	guestID = "90e57000-0000-4000-8000-000000000004"
)

type object = map[string]any

func consumers() []object {
	return []object{
		{"id": aliceID, "username": "alice", "custom_id": "customer-1"},
		{"id": bobID, "username": "bob", "keyauth_credentials": []object{{"key": "bob-key"}}},
		{"id": carolID, "custom_id": "customer-3"},
		{"id": guestID, "username": "guest"},
	}
}

// testEnv is the environment of a test: a Vault with credentials in it, and an upstream.
type testEnv struct {
	*testing.T
	vault    *vaultserver.Server
	kv       vaultserver.KV
	token    string // for the plugin: may read the credentials in kv
	upstream *upstream
}

// upstream answers with what it receives, and remembers it.
type upstream struct {
	*httptest.Server
	mu   sync.Mutex
	seen []echo.Request // guarded by mu
}

func newUpstream() *upstream {
	u := &upstream{}
	u.Server = httptest.NewServer(echo.Handler(func(r echo.Request) {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.seen = append(u.seen, r)
	}))
	return u
}

// received are the requests that have come since the last call.
func (u *upstream) received() []echo.Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	seen := u.seen
	u.seen = nil
	return seen
}

// newEnv uses the Vault that all tests share.
func newEnv(t *testing.T) *testEnv {
	return newEnvOn(t, sharedVault, vaultserver.KongAuth)
}

// newEnvOn keeps its credentials in an engine that is mounted already.
func newEnvOn(t *testing.T, vault *vaultserver.Server, kv vaultserver.KV) *testEnv {
	t.Helper()
	w := &testEnv{T: t, vault: vault, kv: kv, upstream: newUpstream()}
	t.Cleanup(w.upstream.Close)
	var err error
	w.token, err = vault.ReadToken(t.Context(), kv, time.Hour)
	w.must(err)
	return w
}

// in is the same environment for a subtest.
func (w *testEnv) in(t *testing.T) *testEnv {
	sub := *w
	sub.T = t
	return &sub
}

// ownVault starts a Vault for a test that stops or seals it.
func ownVault(t *testing.T) *vaultserver.Server {
	t.Helper()
	v, err := vaultserver.Start(t.Context(), vaultserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

func (w *testEnv) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// pair is an access token and its secret token.
type pair struct{ access, secret string }

// header is a request's header with the pair in it.
func (p pair) header() http.Header {
	return http.Header{"access_token": {p.access}, "secret_token": {p.secret}}
}

func newPair() pair { return pair{"access-" + rand.Text(), "secret-" + rand.Text()} }

// credential stores a new pair of alice's. Fields of record replace those of the usual record;
// nil removes a field.
func (w *testEnv) credential(record object) pair {
	w.Helper()
	p := newPair()
	w.put(p, record)
	return p
}

func (w *testEnv) put(p pair, record object) {
	w.Helper()
	fields := object{"access_token": p.access, "secret_token": p.secret, "consumer": object{"id": aliceID}}
	maps.Copy(fields, record)
	maps.DeleteFunc(fields, func(_ string, v any) bool { return v == nil })
	w.must(w.vault.Put(w.Context(), w.kv, p.access, fields))
}

// reads counts the lookups of an access token that have reached Vault.
func (w *testEnv) reads(accessToken string) int {
	w.Helper()
	n, err := w.vault.Reads(w.kv.Secret(accessToken))
	w.must(err)
	return n
}

// hcv is config.hcv for this environment's Vault.
func (w *testEnv) hcv(settings object) object {
	hcv := w.kv.Config(w.vault.Addr, w.token)
	maps.Copy(hcv, settings)
	return hcv
}

// node is the environment in which a plugin server has this environment's Vault as the vault
// object hcv. nil removes a setting.
func (w *testEnv) node(settings object) (env []string) {
	for field, value := range w.hcv(settings) {
		if value != nil {
			env = append(env, fmt.Sprintf("KONG_VAULT_HCV_%s=%v", strings.ToUpper(field), value))
		}
	}
	return env
}

// passOn has nginx pass these variables on to a plugin server that Kong starts.
func passOn(env []string) string {
	var names []string
	for _, line := range env {
		name, _, _ := strings.Cut(line, "=")
		names = append(names, name)
	}
	return "KONG_NGINX_MAIN_ENV=" + strings.Join(names, "; env ")
}

// route is a route of the one service that is the upstream.
type route struct {
	path    string
	plugins []object
}

// guarded is a route with vault-auth on this environment's Vault.
func (w *testEnv) guarded(path string, config object) route {
	return route{path, []object{w.vaultAuth(config)}}
}

// vaultAuth is the plugin, on this environment's Vault unless config says otherwise.
func (w *testEnv) vaultAuth(config object) object {
	full := object{}
	if config["vault"] == nil && config["hcv"] == nil {
		full["hcv"] = w.hcv(nil)
	}
	maps.Copy(full, config)
	return object{"name": "vault-auth", "config": full}
}

// declare writes a declarative configuration. JSON is YAML.
func (w *testEnv) declare(consumers []object, routes ...route) string {
	w.Helper()
	var declared []object
	for _, r := range routes {
		declared = append(declared, object{
			"name": "route" + strings.ReplaceAll(r.path, "/", "-"), "paths": []string{r.path}, "strip_path": false,
			"plugins": r.plugins,
		})
	}
	b, err := json.MarshalIndent(object{
		"_format_version": "3.0",
		"services":        []object{{"name": "upstream", "url": w.upstream.URL, "routes": declared}},
		"consumers":       consumers,
	}, "", " ")
	w.must(err)
	return string(b)
}

// start starts a gateway with these routes and the usual consumers.
func (w *testEnv) start(routes ...route) gateway {
	w.Helper()
	return w.startBy(apart, routes...)
}

// startBy is start with a choice of who starts the plugin server.
func (w *testEnv) startBy(by supervisor, routes ...route) gateway {
	w.Helper()
	return startBy(w.T, by, w.declare(consumers(), routes...))
}

// startUnderWatch starts a gateway with one route, whose plugin server gets env. What it has
// logged by the end of the test, at any level, must hold none of the hidden texts.
func (w *testEnv) startUnderWatch(r route, env []string, hidden *[]string) gateway {
	w.Helper()
	var g gateway
	w.Cleanup(func() { // after its end
		if g == nil {
			return // it has not started
		}
		log := allLevels(g)
		for _, secret := range *hidden {
			if strings.Contains(log, secret) {
				w.Errorf("%s is in the log:\n%s", secret, log)
			}
		}
	})
	g = start(w.T, w.declare(consumers(), r), append(slices.Clip(env), passOn(env), "KONG_LOG_LEVEL=info")...)
	return g
}

// answer is what a client gets.
type answer struct {
	Status   int
	Header   http.Header
	Body     string
	Message  string // "message" of a JSON body
	Upstream *echo.Request
}

// get asks for a path with a header.
func (w *testEnv) get(g gateway, path string, header http.Header) answer {
	w.Helper()
	return w.send(g, http.MethodGet, path, header, "")
}

// send sends a request, one at a time, and returns what the client and the upstream get.
// Header names go out as they are spelled.
func (w *testEnv) send(g gateway, method, path string, header http.Header, body string) answer {
	w.Helper()
	w.upstream.received()
	a := w.fetch(http.DefaultClient, g.URL(), method, path, header, body)
	if seen := w.upstream.received(); len(seen) > 1 {
		w.Fatalf("%s %s reached the upstream %d times", method, path, len(seen))
	} else if len(seen) == 1 {
		a.Upstream = &seen[0]
	}
	return a
}

// fetch is send without the upstream's side, for use in any goroutine. Without an answer the
// status is 0 and the body the error.
func (w *testEnv) fetch(client *http.Client, base, method, path string, header http.Header, body string) answer {
	resp, err := w.request(client, base, method, path, header, body)
	if err != nil {
		return answer{Body: err.Error()}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{Body: err.Error()}
	}
	a := answer{Status: resp.StatusCode, Header: resp.Header, Body: string(b)}
	var said struct{ Message string }
	if json.Unmarshal(b, &said) == nil {
		a.Message = said.Message
	}
	return a
}

func (w *testEnv) request(client *http.Client, base, method, path string, header http.Header, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(w.Context(), method, base, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.URL.Path, req.URL.RawQuery, _ = strings.Cut(path, "?")
	if header != nil {
		req.Header = maps.Clone(header)
	}
	return client.Do(req)
}
