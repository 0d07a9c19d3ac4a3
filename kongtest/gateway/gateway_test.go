package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/kongtest"
	"kong-vault-auth/kongtest/internal/testbuild"
)

// binaries holds the plugins that the tests run, built once.
var binaries string

func TestMain(m *testing.M) {
	os.Exit(testbuild.Run(m, &binaries, "../testdata/pdkplugin", "../testdata/wireplugin"))
}

const wireConfig = `
_format_version: "3.0"
services:
- name: echo
  url: %s/base
  routes:
  - name: wire
    paths: [/wire]
    plugins:
    - name: wireplugin
      config: {mode: pass}
  - name: other
    paths: [/other]
    plugins:
    - name: wireplugin
      config: {mode: exit}
`

// echo is an upstream that answers with what it was sent.
func echo(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		json.NewEncoder(w).Encode(echoed{r.Method, r.RequestURI, r.Host, r.Header, string(body)})
	}))
	t.Cleanup(s.Close)
	return s.URL
}

type echoed struct {
	Method, URI, Host string
	Header            http.Header
	Body              string
}

func wireGateway(t *testing.T, config string, o Options) *Gateway {
	t.Helper()
	o.Config = fmt.Sprintf(config, echo(t))
	o.Plugins = []string{filepath.Join(binaries, "wireplugin")}
	return Start(t, o)
}

type answer struct {
	Status int
	Body   string
	Header http.Header
}

func (a answer) echoed(t *testing.T) (e echoed) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.Body), &e); err != nil {
		t.Fatalf("%d %q: %v", a.Status, a.Body, err)
	}
	return e
}

func get(t *testing.T, g *Gateway, path string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", g.URL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	return do(t, http.DefaultClient, req)
}

func do(t *testing.T, c *http.Client, req *http.Request) answer {
	t.Helper()
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, string(body), res.Header}
}

func TestRequestIsProxiedWithWhatThePluginChanged(t *testing.T) {
	g := wireGateway(t, wireConfig, Options{})
	a := get(t, g, "/wire/sub?q=1", "X-Mode", "pipeline")
	e := a.echoed(t)
	got := []string{e.Method, e.URI, e.Header.Get("X-Piped"), e.Header.Get("X-Forwarded-Prefix"), e.Header.Get("X-Forwarded-For"), a.Header.Get("Via")}
	want := []string{"GET", "/base/sub?q=1", "yes", "/wire", "127.0.0.1", "1.1 kong/3.9.1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	r, _ := g.Record(a.Header.Get("X-Kong-Request-Id"))
	if r.Status != 200 || r.Waits != 2 || r.Rounds["wireplugin"] != 1 || r.Consumer.Username != "anna" || r.Serialize["request.uri"] != "/hidden" {
		t.Errorf("record %+v", r)
	}
}

func TestRealClientIsWhomATrustedProxyNames(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for name, tt := range map[string]struct {
		options Options
		value   string
		want    string
	}{
		"Kong's default":        {Options{TrustedIPs: loopback}, "10.1.2.3", "10.1.2.3"},
		"with a port":           {Options{TrustedIPs: loopback}, "[2001:db8::1]:443", "2001:db8::1"},
		"the last of several":   {Options{TrustedIPs: loopback, RealIPHeader: "X-Forwarded-For"}, "10.9.9.9, 10.1.2.3", "10.1.2.3"},
		"no address":            {Options{TrustedIPs: loopback}, "nobody", "127.0.0.1"},
		"not by a trusted peer": {Options{}, "10.1.2.3", "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			g := wireGateway(t, wireConfig, tt.options)
			header := tt.options.RealIPHeader
			if header == "" {
				header = "X-Real-IP"
			}
			if got := get(t, g, "/wire", "X-Mode", "pipeline", header, tt.value).echoed(t).Header.Get("X-Real-IP"); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestFailuresOfAPluginAreAnsweredWith500(t *testing.T) {
	g := wireGateway(t, wireConfig, Options{})
	for mode, line := range map[string]string{
		"unknown-method": `pluginserver error: method "kong.plugin.explode" not found`,
		"raise":          "cannot load a consumer with an id that is not a uuid",
		"log-and-exit":   "",
		"wrong-sequence": "assertion failed",
	} {
		a := get(t, g, "/wire", "X-Mode", mode)
		want := fmt.Sprintf("{\n  \"message\":\"An unexpected error occurred\",\n  \"request_id\":\"%s\"\n}", a.Header.Get("X-Kong-Request-Id"))
		if mode == "log-and-exit" && a.Status == 403 {
			continue // Kong's reply to the log call won the race against the plugin's close
		}
		if a.Status != 500 || a.Body != want {
			t.Errorf("%s: %d %s", mode, a.Status, a.Body)
		}
		if !logged(g, "error", line) {
			t.Errorf("%s: %q is not in the log", mode, line)
		}
	}
}

func logged(g *Gateway, level, part string) bool {
	return slices.ContainsFunc(g.ErrorLog(), func(l kongtest.LogLine) bool { return l.Level == level && strings.Contains(l.Text, part) })
}

// failures stands for a test that a gateway would fail.
type failures struct {
	*testing.T
	mu   sync.Mutex
	list []string
}

func (f *failures) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, fmt.Sprintf(format, args...))
}

func TestSecondRunOfAnEventFailsTheTest(t *testing.T) {
	f := &failures{T: t}
	g := Start(f, Options{Config: fmt.Sprintf(wireConfig, echo(t)), Plugins: []string{filepath.Join(binaries, "wireplugin")}})
	if a := get(t, g, "/wire", "X-Mode", "close"); a.Status != 500 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.list) != 1 || !strings.Contains(f.list[0], "wireplugin closed its connection") {
		t.Errorf("reported %q", f.list)
	}
}

func TestClosedConnectionResetsThePluginsInstances(t *testing.T) {
	g := wireGateway(t, wireConfig, Options{MaxRetries: 1})
	get(t, g, "/wire")
	get(t, g, "/other")
	a := get(t, g, "/wire", "X-Mode", "close-once")
	r, _ := g.Record(a.Header.Get("X-Kong-Request-Id"))
	if a.Status != 200 || r.Rounds["wireplugin"] != 2 {
		t.Errorf("%d after %d rounds", a.Status, r.Rounds["wireplugin"])
	}
	for _, w := range g.current.workers {
		w.mu.Lock()
		if n := len(w.instances); n > 1 {
			t.Errorf("%d instances left in a worker", n)
		}
		w.mu.Unlock()
	}
}

func TestEveryNewConfigurationReplacesTheInstances(t *testing.T) {
	g := wireGateway(t, wireConfig, Options{})
	for range 4 { // each worker starts its own
		get(t, g, "/wire")
		http.DefaultClient.CloseIdleConnections()
	}
	if err := g.SetConfig(strings.ReplaceAll(string(g.config), "mode: pass", "mode: exit")); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if a := get(t, g, "/wire"); a.Status != 403 || a.Header.Get("X-From") != "plugin" || a.Body != "no" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		http.DefaultClient.CloseIdleConnections()
	}
	awaitLog(t, g, "close pass", 2)
	awaitLog(t, g, `"mode":"exit","route_id"`, 2)
}

// awaitLog waits until the error log holds a text so often.
func awaitLog(t *testing.T, g *Gateway, part string, count int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		n := 0
		for _, l := range g.ErrorLog() {
			n += strings.Count(l.Text, part)
		}
		if n >= count {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q is in the error log %d times, not %d\n%s", part, n, count, g.tail())
		}
	}
}

func TestPluginServerHasAnEmptyEnvironment(t *testing.T) {
	g := wireGateway(t, wireConfig, Options{
		Env:     []string{"PATH=/bin", "KEPT=yes", "ALSO=too", "HIDDEN=secret"},
		MainEnv: "KEPT; env ALSO; env SET=here",
	})
	awaitLog(t, g, "environment", 1)
	for _, l := range g.ErrorLog() {
		if !strings.Contains(l.Text, "environment") {
			continue
		}
		for _, part := range []string{`"KEPT=yes"`, `"ALSO=too"`, `"SET=here"`, `"PWD=`} {
			if !strings.Contains(l.Text, part) {
				t.Errorf("%s is missing in %s", part, l.Text)
			}
		}
		if strings.Contains(l.Text, "HIDDEN") || strings.Contains(l.Text, "PATH") {
			t.Errorf("passed on: %s", l.Text)
		}
		if l.Level != "info" {
			t.Errorf("logged at %s", l.Level)
		}
	}
}

func TestPluginServerIsStartedAgainWithStaleIDs(t *testing.T) {
	g := wireGateway(t, wireConfig, Options{MaxRetries: 2})
	get(t, g, "/wire")
	old := g.PluginServers()[0]
	g.KillPluginServers(syscall.SIGKILL)
	<-old.Exited
	if a := get(t, g, "/wire"); a.Status != 500 {
		t.Errorf("%d while there was no plugin server", a.Status)
	}
	awaitLog(t, g, "Starting wireplugin", 2)
	if err := g.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	a := get(t, g, "/wire")
	r, _ := g.Record(a.Header.Get("X-Kong-Request-Id"))
	if a.Status != 200 || r.Rounds["wireplugin"] != 2 {
		t.Errorf("%d after %d rounds: the id of the old process should have been refused once", a.Status, r.Rounds["wireplugin"])
	}
}

func TestReloadsUnderLoadCostNoRequest(t *testing.T) {
	g := wireGateway(t, wireConfig, Options{MaxRetries: -1, ReloadDelay: 300 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for range 4 {
		c := &http.Client{Transport: &http.Transport{}}
		defer c.CloseIdleConnections()
		load.Go(func() {
			for ctx.Err() == nil {
				req, _ := http.NewRequest("GET", g.URL()+"/wire", nil)
				if a := do(t, c, req); a.Status != 200 {
					t.Errorf("%d %s", a.Status, a.Body)
				}
			}
		})
	}
	for range 3 {
		if err := g.Reload(t.Context()); err != nil {
			t.Error(err)
		}
		if err := g.AwaitReloaded(t.Context()); err != nil {
			t.Error(err)
		}
	}
	cancel()
	load.Wait()
	if n := len(g.PluginServers()); n != 1 {
		t.Errorf("%d plugin servers", n)
	}
}

func TestCrashedWorkerLeavesItsPluginServerBehind(t *testing.T) {
	g := wireGateway(t, wireConfig, Options{MaxRetries: 2})
	get(t, g, "/wire")
	orphans := g.CrashWorker()
	if len(orphans) != 1 {
		t.Fatalf("orphans %v", orphans)
	}
	awaitLog(t, g, "Starting wireplugin", 2)
	if err := g.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if a := get(t, g, "/wire"); a.Status != 200 {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		http.DefaultClient.CloseIdleConnections()
	}
	if now := g.PluginServers(); len(now) != 1 || now[0].PID == orphans[0].PID {
		t.Errorf("plugin servers %v, orphans %v", now, orphans)
	}
}

func TestExitIsAnsweredWhileTheBodyIsUnfinished(t *testing.T) {
	g := wireGateway(t, wireConfig, Options{})
	c := dialGateway(t, g)
	io.WriteString(c, "POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != 403 {
		t.Errorf("%v, %v", res, err)
	}
}

func dialGateway(t *testing.T, g *Gateway) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", g.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestBytesThatNetHTTPWouldChangeArePassedOn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	received := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, 1<<20)
		n := 0
		for !strings.HasSuffix(string(b[:n]), "\r\n\r\n") {
			m, err := c.Read(b[n:])
			if err != nil {
				break
			}
			n += m
		}
		received <- string(b[:n])
		io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
	}()
	g := Start(t, Options{
		Config:  fmt.Sprintf(wireConfig, "http://"+l.Addr().String()),
		Plugins: []string{filepath.Join(binaries, "wireplugin")},
	})
	var head strings.Builder
	head.WriteString("GET /wire?caf\xe9=%zz&a HTTP/1.1\r\nHost: x\r\naccess_Token: \xff\r\nACCESS-token: two\r\n")
	for i := range 1200 {
		fmt.Fprintf(&head, "h%d: v\r\n", i)
	}
	c := dialGateway(t, g)
	io.WriteString(c, head.String()+"\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != 204 {
		t.Fatalf("%v, %v", res, err)
	}
	got := <-received
	for _, part := range []string{"GET /base?caf\xe9=%zz&a HTTP/1.1\r\n", "\r\naccess_Token: \xff\r\nACCESS-token: two\r\n", "\r\nh1199: v\r\n"} {
		if !strings.Contains(got, part) {
			t.Errorf("%q is missing in %.300q", part, got)
		}
	}
}

func TestBodiesAreHandedOverAndReplaced(t *testing.T) {
	g := wireGateway(t, wireConfig, Options{})
	for _, size := range []int{0, 10, 9000} { // the last one is in a file
		for _, chunked := range []bool{false, true} {
			var body io.Reader = strings.NewReader(strings.Repeat("a", size))
			if chunked {
				body = io.MultiReader(body)
			}
			req, _ := http.NewRequest("POST", g.URL()+"/wire", body)
			req.Header.Set("X-Mode", "body")
			a := do(t, http.DefaultClient, req)
			if e := a.echoed(t); e.Body != strings.Repeat("A", size) {
				t.Errorf("%d bytes, chunked %v: upstream got %.20q", size, chunked, e.Body)
			}
		}
	}
}

func TestGRPCClientsGetAStatusInHeaders(t *testing.T) {
	g := wireGateway(t, wireConfig, Options{})
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols}
	defer transport.CloseIdleConnections()
	req, _ := http.NewRequest("POST", g.URL()+"/other", strings.NewReader("x"))
	req.Header.Set("Content-Type", "application/grpc")
	a := do(t, &http.Client{Transport: transport}, req)
	got := []any{a.Status, a.Body, a.Header.Get("Grpc-Status"), a.Header.Get("Grpc-Message")}
	if diff := cmp.Diff([]any{403, "", "7", "no"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestUpgradedConnectionsAreTunnelled(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: "+r.Header.Get("Upgrade")+"\r\nConnection: upgrade\r\n\r\n")
		line, _ := rw.ReadString('\n')
		io.WriteString(c, strings.ToUpper(line))
	}))
	defer up.Close()
	g := Start(t, Options{Config: fmt.Sprintf(wireConfig, up.URL), Plugins: []string{filepath.Join(binaries, "wireplugin")}})
	c := dialGateway(t, g)
	io.WriteString(c, "GET /wire HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n\r\nhello\n")
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != 101 || res.Header.Get("Upgrade") != "websocket" {
		t.Fatalf("%v, %v", res, err)
	}
	if line, err := r.ReadString('\n'); line != "HELLO\n" {
		t.Errorf("%q, %v", line, err)
	}
}
