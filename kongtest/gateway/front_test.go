package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/kongtest"
)

func TestRequestsThatNginxRefuses(t *testing.T) {
	g := wireGateway(t, wireConfig, Options{MaxHeaders: 5})
	tests := []struct {
		request string
		status  int
	}{
		{"get / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"GET x HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: x\r\nbad name: y\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n", 400},
		{"GET / HTTP/3.1\r\nHost: x\r\n\r\n", 505},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
		{"GET / HTTP/1.1\r\nHost: x\r\n1: a\r\n2: a\r\n3: a\r\n4: a\r\n5: a\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 40_000) + "\r\n\r\n", 400},
		{"GET /none HTTP/1.1\r\nHost: x\r\n\r\n", 404},
	}
	for _, test := range tests {
		c := dialGateway(t, g)
		io.WriteString(c, test.request)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || res.StatusCode != test.status {
			t.Errorf("%.60q: %v, %v, want %d", test.request, res, err, test.status)
		}
	}
}

func TestConnectionIsKeptAlive(t *testing.T) {
	g := wireGateway(t, wireConfig, Options{})
	c := dialGateway(t, g)
	r := bufio.NewReader(c)
	for i, request := range []string{
		"GET /wire HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",                                   // answered without its body
		"POST /wire HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: x\r\n\r\n", // with a trailer
		"POST /wire HTTP/1.1\r\nHost: x\r\nX-Mode: body\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na",
		"HEAD /wire HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET http://other/wire?a HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		io.WriteString(c, request)
		method, _, _ := strings.Cut(request, " ")
		res, err := http.ReadResponse(r, &http.Request{Method: method})
		for err == nil && res.StatusCode == 100 {
			res, err = http.ReadResponse(r, &http.Request{Method: method})
		}
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		io.Copy(io.Discard, res.Body)
		if want := map[bool]int{true: 403, false: 200}[i == 1]; res.StatusCode != want {
			t.Errorf("request %d: %d, want %d", i, res.StatusCode, want)
		}
	}
}

func TestGRPCIsProxiedWithItsTrailers(t *testing.T) {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/grpc")
		fmt.Fprintf(w, "%s %s", r.URL.Path, body)
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	}))
	up.Config.Protocols = &protocols
	up.Start()
	defer up.Close()
	config := strings.ReplaceAll(wireConfig, "[/wire]", "[/pkg.Service/]\n    strip_path: false\n    protocols: [grpc]")
	g := Start(t, Options{
		Config:  fmt.Sprintf(config, strings.Replace(up.URL, "http", "grpc", 1)),
		Plugins: []string{filepath.Join(binaries, "wireplugin")},
	})
	transport := &http.Transport{Protocols: &protocols}
	defer transport.CloseIdleConnections()
	req, _ := http.NewRequest("POST", g.URL()+"/pkg.Service/Method", strings.NewReader("message"))
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	got := []string{string(body), res.Header.Get("Content-Type"), res.Trailer.Get("Grpc-Status")}
	if diff := cmp.Diff([]string{"/base/pkg.Service/Method message", "application/grpc", "0"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestUpstreamThatIsNotThereIsA502(t *testing.T) {
	g := Start(t, Options{Config: fmt.Sprintf(wireConfig, "http://127.0.0.1:1"), Plugins: []string{filepath.Join(binaries, "wireplugin")}})
	a := get(t, g, "/wire")
	if a.Status != 502 || !strings.Contains(a.Body, "An invalid response was received from the upstream server") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	hang := make(chan struct{})
	up := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	g := Start(t, Options{Config: fmt.Sprintf(wireConfig, up.URL), Plugins: []string{filepath.Join(binaries, "wireplugin")}, MaxRetries: -1})
	c := dialGateway(t, g)
	io.WriteString(c, "GET /wire HTTP/1.1\r\nHost: x\r\n\r\n") // hangs upstream
	exited := dialGateway(t, g)
	io.WriteString(exited, "POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n") // its body never comes
	silent := dialGateway(t, g)
	io.WriteString(silent, "GET /wire HTTP/1.1\r\nHost: x\r\nX-Mode: silent\r\n\r\n") // hangs in the plugin
	if _, err := http.ReadResponse(bufio.NewReader(exited), nil); err != nil {
		t.Error(err)
	}
	awaitLog(t, g, "is silent", 1)
	server := g.PluginServers()[0]
	g.CrashWorker()
	if err := g.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	g.Close()
	<-server.Exited
	close(hang)
	up.Close()
	http.DefaultClient.CloseIdleConnections()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

func TestPluginOnGoPDKRunsInTheGateway(t *testing.T) {
	config := `
_format_version: "3.0"
services: [{name: echo, url: "%s", routes: [{paths: [/], plugins: [{name: pdkplugin, config: {header: x-user, secret: "{vault://env/s}", extra: {a: b}, numbers: [1, 2]}}]}]}]
consumers: [{username: anna}]
`
	g := Start(t, Options{Config: fmt.Sprintf(config, echo(t)), Plugins: []string{filepath.Join(binaries, "pdkplugin")}})
	for range 3 {
		a := get(t, g, "/x?y", "X-User", "anna")
		e := a.echoed(t)
		if a.Status != 200 || e.Header.Get("X-Consumer-Username") != "anna" || e.Header.Get("X-User") != "" || e.Header.Get("X-Secret") != "{vault://env/s}" {
			t.Errorf("%d, %v", a.Status, e.Header) // go-pdk's schema can't say referenceable
		}
		a = get(t, g, "/x")
		if a.Status != 401 || a.Body != "who?" || a.Header.Get("Www-Authenticate") != "Test" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		g.SetDatabaseDown(true)
		if a = get(t, g, "/x", "X-User", "anna"); a.Status != 403 {
			t.Errorf("%d without the database", a.Status)
		}
		wantStatus(t, g, `"database":{"reachable":false}`)
		g.SetDatabaseDown(false)
		wantStatus(t, g, `"database":{"reachable":true}`)
	}
	// one header that isn't UTF-8 spoils get_headers for go-pdk, as on Kong
	if a := get(t, g, "/x", "X-User", "anna", "X-Foo", "caf\xe9"); a.Status != 500 || !strings.Contains(a.Body, "UTF-8") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

func wantStatus(t *testing.T, g *Gateway, want string) {
	t.Helper()
	rec := httptest.NewRecorder()
	g.StatusAPI().ServeHTTP(rec, httptest.NewRequest("GET", "/status", nil))
	if rec.Code != 200 || rec.Header().Get("Server") != serverName || !strings.Contains(rec.Body.String(), want) {
		t.Errorf("GET /status: %d %v %s, want %s", rec.Code, rec.Header(), rec.Body, want)
	}
}

func FuzzRequestHead(f *testing.F) {
	f.Add("GET /a?b HTTP/1.1\r\nHost: x\r\nA_b: \xff\r\n\r\n")
	f.Add("POST http://h/ HTTP/1.0\nContent-Length: 3\n\nabc")
	f.Fuzz(func(t *testing.T, text string) {
		line, rest, _ := strings.Cut(text, "\n")
		req := &kongtest.Request{}
		if parseRequestLine(line, req) == nil && (req.Method == "" || req.URI[0] != '/') {
			t.Errorf("%q: %+v", line, req)
		}
		if h, err := parseHeader(rest); err == nil && strings.ContainsAny(h.Name, " :\r\n") {
			t.Errorf("%q: %+v", rest, h)
		}
		kongtest.NewExchange(&kongtest.Request{URI: req.URI}).Serialized()
	})
}
