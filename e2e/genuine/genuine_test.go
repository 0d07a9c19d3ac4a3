// Package genuine has the tests that need a genuine Kong: its Admin API, its database and its
// own plugins beside this one. They run when E2E_KONG names the kong program.
package genuine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kong-vault-auth/e2e/build"
	"kong-vault-auth/e2e/echo"
	"kong-vault-auth/e2e/postgres"
	"kong-vault-auth/e2e/program"
	"kong-vault-auth/e2e/vaultserver"
	"kong-vault-auth/kongtest"
	"kong-vault-auth/kongtest/gateway"
	"kong-vault-auth/kongtest/genuine"
	"kong-vault-auth/unixsocket/sockettest"
)

var (
	kongProgram = os.Getenv("E2E_KONG")
	deckProgram = os.Getenv("E2E_DECK")
	plugin      string // the compiled plugin
	store       *vaultserver.Server
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if kongProgram == "" {
		return m.Run() // each test says that it is skipped
	}
	dir, err := os.MkdirTemp("", "genuine")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	plugin = filepath.Join(dir, "vault-auth")
	if err := build.Plugin(ctx, plugin, false); err != nil {
		return fail(err)
	}
	store, err = vaultserver.Start(ctx, vaultserver.Options{Progress: func(text string) { fmt.Fprintln(os.Stderr, text) }})
	if err != nil {
		return fail(err)
	}
	defer store.Close()
	return m.Run()
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// requireKong skips a test where there is no genuine Kong.
func requireKong(t *testing.T) {
	t.Helper()
	if kongProgram == "" {
		t.Skip("E2E_KONG names no kong program")
	}
}

// node is a Kong with the plugin server beside it and a service behind it.
type node struct {
	*testing.T
	kong     *genuine.Kong
	plugin   *program.Program
	upstream *httptest.Server
	database *postgres.Server // nil without one
}

// start starts a node, with a database or without.
func start(t *testing.T, withDatabase bool) *node {
	t.Helper()
	requireKong(t)
	n := &node{T: t, upstream: httptest.NewServer(echo.Handler(nil))}
	t.Cleanup(n.upstream.Close)
	dir := sockettest.Dir(t)
	socket := filepath.Join(dir, "vault-auth.socket")
	o := genuine.Options{
		Prefix:  filepath.Join(dir, "kong"),
		Servers: []gateway.PluginServer{{Name: "vault-auth", Socket: socket, QueryCommand: plugin + " -dump"}},
	}
	if withDatabase {
		o.Database = n.startDatabase()
	}
	n.startKong(&o)
	n.startPlugin(socket, "VAULT_AUTH_KONG_STATUS="+n.kong.StatusURL())
	return n
}

func (n *node) close(f func() error) {
	if err := f(); err != nil {
		n.Error(err)
	}
}

// startDatabase starts a PostgreSQL, or skips the test where there is none.
func (n *node) startDatabase() (addr string) {
	n.Helper()
	var err error
	n.database, err = postgres.Start()
	if errors.Is(err, postgres.ErrNotInstalled) {
		n.Skip(err)
	}
	if err != nil {
		n.Fatal(err)
	}
	n.Cleanup(func() { n.close(n.database.Close) })
	return n.database.Addr
}

// startKong starts the Kong, with two workers.
func (n *node) startKong(o *genuine.Options) {
	n.Helper()
	o.Program, o.Env = kongProgram, append([]string{"KONG_NGINX_WORKER_PROCESSES=2"}, o.Env...)
	var err error
	if n.kong, err = genuine.Start(*o); err != nil {
		n.Fatal(err)
	}
	n.Cleanup(func() {
		n.close(n.kong.Stop)
		if n.Failed() {
			n.Logf("Kong's error log:\n%s", n.kong.Log())
		}
	})
}

// startPlugin starts the plugin server, and waits until it answers.
func (n *node) startPlugin(socket string, env ...string) {
	n.Helper()
	cmd := exec.Command(plugin, "-socket", socket)
	cmd.Env = append(os.Environ(), env...)
	n.plugin = program.Start(n.T, cmd)
	if err := kongtest.NewClient(socket).AwaitReady(n.Context()); err != nil {
		n.Fatal(err)
	}
}

// setConfig puts a declarative configuration into effect.
func (n *node) setConfig(config map[string]any) {
	n.Helper()
	config["_format_version"] = "3.0"
	b, err := json.Marshal(config)
	if err != nil {
		n.Fatal(err)
	}
	if err := n.kong.SetConfig(string(b)); err != nil {
		n.Fatal(err)
	}
}

// deck runs decK on this Kong, which must succeed. An argument that is a declarative
// configuration is written to a file.
func (n *node) deck(args ...any) string {
	n.Helper()
	words := []string{"--analytics=false", "gateway"}
	for _, arg := range args {
		if config, ok := arg.(map[string]any); ok {
			config["_format_version"] = "3.0"
			b, err := json.Marshal(config)
			if err != nil {
				n.Fatal(err)
			}
			file := filepath.Join(n.TempDir(), "kong.yml")
			if err := os.WriteFile(file, b, 0o600); err != nil {
				n.Fatal(err)
			}
			arg = file
		}
		words = append(words, fmt.Sprint(arg))
	}
	cmd := exec.CommandContext(n.Context(), deckProgram, words...)
	cmd.Env = append(os.Environ(), "DECK_KONG_ADDR="+n.kong.AdminURL())
	out, err := cmd.CombinedOutput()
	if err != nil {
		n.Fatalf("deck gateway %s: %v\n%s", args, err, out)
	}
	return string(out)
}

// put stores a credential, whose secret token is "secret-" and the access token.
func (n *node) put(accessToken string, consumer map[string]any) {
	n.Helper()
	err := store.Put(n.Context(), vaultserver.KongAuth, accessToken,
		map[string]any{"access_token": accessToken, "secret_token": "secret-" + accessToken, "consumer": consumer})
	if err != nil {
		n.Fatal(err)
	}
}

// config is the plugin's configuration.
func (n *node) config() map[string]any {
	n.Helper()
	token, err := store.ReadToken(n.Context(), vaultserver.KongAuth, time.Hour)
	if err != nil {
		n.Fatal(err)
	}
	return map[string]any{"hcv": vaultserver.KongAuth.Config(store.Addr, token)}
}

// answer is what a client got.
type answer struct {
	*http.Response
	body string
	seen echo.Request // by the service, of a 200
}

// get sends a pair in headers, with further headers as name, value, ….
func (n *node) get(path, accessToken string, headers ...string) answer {
	n.Helper()
	if accessToken != "" {
		headers = append(headers, "access_token", accessToken, "secret_token", "secret-"+accessToken)
	}
	return n.send(http.MethodGet, path, headers...)
}

func (n *node) send(method, path string, headers ...string) answer {
	n.Helper()
	req, err := http.NewRequestWithContext(n.Context(), method, "http://"+n.kong.Addr()+path, nil)
	if err != nil {
		n.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header[headers[i]] = []string{headers[i+1]}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		n.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		n.Fatal(err)
	}
	a := answer{Response: resp, body: string(body)}
	if resp.StatusCode == http.StatusOK && len(body) > 0 {
		if err := json.Unmarshal(body, &a.seen); err != nil {
			n.Fatalf("%s: %v", body, err)
		}
	}
	return a
}

// admin calls the Admin API, which must accept the call.
func (n *node) admin(method, path string, body any) {
	n.Helper()
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			n.Fatal(err)
		}
	}
	status, answer, err := n.kong.Admin(method, path, b)
	if err != nil || status >= 300 {
		n.Fatalf("%s %s: %d %s %v", method, path, status, answer, err)
	}
}

func (n *node) eventually(what string, ok func() bool) {
	n.Helper()
	program.Eventually(n.T, what, ok)
}

// With a plugin server that Kong starts, every open-source Kong 3.9 answers 500,
// and decK, Kong Manager and the ingress controller don't work.
func TestRootOfTheAdminAPIIsAnswered(t *testing.T) {
	n := start(t, false)
	for range 50 {
		if status, body, err := n.kong.Admin(http.MethodGet, "/", nil); err != nil || status != http.StatusOK {
			t.Fatalf("GET /: %d %s %v", status, body, err)
		}
	}
}

func TestKongsOwnPluginsBesideThisOne(t *testing.T) {
	n := start(t, false)
	n.put("alice-1", map[string]any{"username": "alice"})
	n.put("alice-2", map[string]any{"username": "alice"})
	n.put("bob-1", map[string]any{"username": "bob"})
	logFile := filepath.Join(t.TempDir(), "log")
	named := func(name string, config map[string]any) map[string]any {
		return map[string]any{"name": name, "config": config}
	}
	n.setConfig(map[string]any{
		"services": []any{map[string]any{"name": "echo", "url": n.upstream.URL, "routes": []any{map[string]any{
			"name": "r", "paths": []any{"/r"}, "plugins": []any{
				named("vault-auth", n.config()),
				named("acl", map[string]any{"allow": []any{"gold"}}),
				named("rate-limiting", map[string]any{"minute": 3, "limit_by": "credential", "policy": "local"}),
				named("file-log", map[string]any{"path": logFile}),
				named("correlation-id", map[string]any{"header_name": "X-Correlation-Id", "echo_downstream": true}),
				named("cors", map[string]any{"origins": []any{"https://app.example"}}),
				named("prometheus", map[string]any{"per_consumer": true, "status_code_metrics": true}),
			},
		}}}},
		"consumers": []any{
			map[string]any{"username": "alice", "acls": []any{map[string]any{"group": "gold"}}},
			map[string]any{"username": "bob"},
		},
	})

	// CORS answers a browser's preflight before tokens are asked for.
	preflight := n.send(http.MethodOptions, "/r", "Origin", "https://app.example", "Access-Control-Request-Method", "GET")
	if preflight.StatusCode != http.StatusOK || preflight.Header.Get("Access-Control-Allow-Origin") != "https://app.example" {
		t.Errorf("preflight: %s %v", preflight.Status, preflight.Header)
	}

	// Limits count for each credential by itself, also for two of one consumer.
	for _, want := range []struct {
		accessToken string
		status      int
	}{
		{"alice-1", 200}, {"alice-1", 200}, {"alice-1", 200}, {"alice-1", 429}, {"alice-2", 200}, {"bob-1", 403}, {"", 401},
	} {
		got := n.get("/r", want.accessToken)
		if got.StatusCode != want.status {
			t.Fatalf("%s: %s %s, want %d", want.accessToken, got.Status, got.body, want.status)
		}
		if got.StatusCode == http.StatusOK {
			if name := got.seen.Header.Get("X-Consumer-Username"); name != "alice" {
				t.Errorf("the service sees %q", name)
			}
			if groups := got.seen.Header.Get("X-Consumer-Groups"); groups != "gold" {
				t.Errorf("ACL tells the service the groups %q", groups)
			}
			if id := got.seen.Header.Get("X-Correlation-Id"); id == "" || id != got.Header.Get("X-Correlation-Id") {
				t.Errorf("correlation id %q and %q", id, got.Header.Get("X-Correlation-Id"))
			}
		}
	}

	// Log plugins don't see tokens from the query string either.
	if got := n.send(http.MethodGet, "/r?page=1&access_token=alice-2&secret_token=secret-alice-2"); got.StatusCode != http.StatusOK {
		t.Errorf("pair in the query: %s", got.Status)
	}
	if got := n.send(http.MethodGet, "/r?access_token=alice-2&secret_token=secret-wrong"); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("wrong pair in the query: %s", got.Status)
	}
	var lines []string
	n.eventually("file-log has written", func() bool {
		b, err := os.ReadFile(logFile)
		lines = strings.Split(strings.TrimSpace(string(b)), "\n")
		return err == nil && len(lines) >= 10
	})
	for _, line := range lines {
		for _, secret := range []string{"secret-alice", "secret-bob", "secret-wrong"} {
			if strings.Contains(line, secret) {
				t.Errorf("file-log has %s: %s", secret, line)
			}
		}
	}
	var logged struct {
		Consumer            struct{ Username string }
		AuthenticatedEntity struct{ ID string } `json:"authenticated_entity"`
	}
	withCredential := 0
	for _, line := range lines {
		if err := json.Unmarshal([]byte(line), &logged); err != nil {
			t.Fatal(err)
		}
		if logged.Consumer.Username == "alice" && len(logged.AuthenticatedEntity.ID) == 36 {
			withCredential++
		}
	}
	if withCredential == 0 {
		t.Errorf("file-log names no consumer with a credential: %s", lines)
	}

	resp, err := http.Get(n.kong.StatusURL() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	metrics, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Contains(metrics, []byte(`consumer="alice"`)) {
		t.Errorf("prometheus counts nobody: %v\n%s", err, metrics)
	}
}

// declareByAPI makes a route /r with the plugin, and consumers.
func (n *node) declareByAPI(consumers ...string) {
	n.Helper()
	n.admin(http.MethodPut, "/services/echo", map[string]any{"url": n.upstream.URL})
	n.admin(http.MethodPut, "/services/echo/routes/r", map[string]any{"paths": []any{"/r"}})
	n.admin(http.MethodPost, "/routes/r/plugins", map[string]any{"name": "vault-auth", "config": n.config()})
	for _, c := range consumers {
		n.admin(http.MethodPut, "/consumers/"+c, map[string]any{"custom_id": "first-" + c})
		n.put("access-"+c, map[string]any{"username": c})
	}
}

func TestConsumersAreCreatedChangedAndDeleted(t *testing.T) {
	n := start(t, true)
	n.declareByAPI("alice", "bob") // the plugin never sees bob
	n.eventually("alice is accepted", func() bool { return n.get("/r", "access-alice").StatusCode == http.StatusOK })
	if got := n.get("/r", "access-alice").seen.Header.Get("X-Consumer-Custom-Id"); got != "first-alice" {
		t.Errorf("custom id %q", got)
	}

	n.admin(http.MethodPatch, "/consumers/alice", map[string]any{"custom_id": "second-alice"})
	began := time.Now()
	n.eventually("the service sees the change", func() bool {
		return n.get("/r", "access-alice").seen.Header.Get("X-Consumer-Custom-Id") == "second-alice"
	})
	t.Logf("a change of the consumer was seen after %.1f s", time.Since(began).Seconds())

	n.admin(http.MethodDelete, "/consumers/alice", nil)
	began = time.Now()
	n.eventually("alice is refused", func() bool { return n.get("/r", "access-alice").StatusCode == http.StatusUnauthorized })
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("a deleted consumer was accepted for %s", took)
	} else {
		t.Logf("a deleted consumer was refused after %.1f s", took.Seconds())
	}
	if got := n.get("/r", "access-bob"); got.StatusCode != http.StatusOK {
		t.Errorf("bob: %s", got.Status)
	}

	n.admin(http.MethodPut, "/consumers/carol", map[string]any{})
	n.put("access-carol", map[string]any{"username": "carol"})
	if got := n.get("/r", "access-carol"); got.StatusCode != http.StatusOK {
		t.Errorf("carol, who is new: %s", got.Status)
	}
}

// This is the first request after a start, for a consumer that doesn't exist.
func TestConsumerThatNeverWasIsRefused(t *testing.T) {
	n := start(t, true)
	n.declareByAPI()
	n.put("access-nobody", map[string]any{"username": "nobody"})
	n.eventually("it is refused", func() bool { return n.get("/r", "access-nobody").StatusCode == http.StatusUnauthorized })
	if log := n.kong.Log(); !strings.Contains(log, "consumer") || !strings.Contains(log, "nobody") {
		t.Error("Kong's error log doesn't say why")
	}
}

func TestDatabaseStopsHangsAndComesBack(t *testing.T) {
	n := start(t, true)
	n.declareByAPI("alice", "bob")
	n.eventually("alice is accepted", func() bool { return n.get("/r", "access-alice").StatusCode == http.StatusOK })

	// while sends requests of alice's, who is known, for longer than a consumer is kept.
	while := func(what string) {
		t.Helper()
		slow, longest := 0, time.Duration(0)
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
			began := time.Now()
			got := n.get("/r", "access-alice")
			took := time.Since(began)
			if got.StatusCode != http.StatusOK {
				t.Fatalf("%s: alice, who is known, got %s %s", what, got.Status, got.body)
			}
			longest = max(longest, took)
			if took > time.Second {
				slow++
			}
			<-time.After(20 * time.Millisecond)
		}
		t.Logf("%s: of alice's requests in 30 s, %d took over 1 s, the longest %.1f s", what, slow, longest.Seconds())
		if slow > 3 {
			t.Errorf("%s: %d requests had to wait", what, slow)
		}
	}
	n.close(n.database.Stop)
	while("database stopped")
	if got := n.get("/r", "access-bob"); got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("bob, who is not known: %s, want 503", got.Status)
	}
	n.close(n.database.Restart)
	n.eventually("bob is accepted", func() bool { return n.get("/r", "access-bob").StatusCode == http.StatusOK })

	n.close(n.database.Hang)
	while("database hung")
	n.close(n.database.Continue)
	n.admin(http.MethodDelete, "/consumers/alice", nil)
	n.eventually("alice, who is deleted, is refused", func() bool { return n.get("/r", "access-alice").StatusCode == http.StatusUnauthorized })
}

// decK must find nothing to change after a sync: the schema's defaults are those that Kong
// fills in.
func TestDecKSyncsAndFindsNoDifference(t *testing.T) {
	if deckProgram == "" {
		t.Skip("E2E_DECK names no deck program")
	}
	n := start(t, true)
	config := map[string]any{
		"services": []any{map[string]any{"name": "echo", "url": n.upstream.URL, "routes": []any{map[string]any{
			"name": "r", "paths": []any{"/r"}, "plugins": []any{map[string]any{"name": "vault-auth", "config": n.config()}},
		}}}},
		"consumers": []any{map[string]any{"username": "alice"}},
	}
	n.deck("ping")
	n.deck("sync", config)
	if diff := n.deck("diff", "--non-zero-exit-code", config); !strings.Contains(diff, "Created: 0") || !strings.Contains(diff, "Updated: 0") || !strings.Contains(diff, "Deleted: 0") {
		t.Errorf("deck gateway diff: %s", diff)
	}
	n.put("alice-1", map[string]any{"username": "alice"})
	n.eventually("alice is accepted", func() bool { return n.get("/r", "alice-1").StatusCode == http.StatusOK })
}
