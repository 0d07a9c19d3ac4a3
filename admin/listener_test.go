package admin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kong-vault-auth/certificatetest"
	"kong-vault-auth/unixsocket/sockettest"
)

func TestListenersThatWouldLetInAnybodyAreRefused(t *testing.T) {
	for _, tt := range []struct {
		Listener
		want string // of the error; empty: it is accepted
	}{
		{Listener{Address: "unix:/run/kong/admin.socket"}, ""},
		{Listener{Address: "127.0.0.1:8010", BearerFile: "b"}, ""},
		{Listener{Address: "[::1]:0", BearerFile: "b"}, ""},
		{Listener{Address: "192.0.2.7:8010", BearerFile: "b", CertFile: "c", KeyFile: "k"}, ""},
		{Listener{Address: "unix:admin.socket"}, "absolute path"},
		{Listener{Address: "unix:/a", BearerFile: "b"}, "takes no bearer token"},
		{Listener{Address: "unix:/a", CertFile: "c", KeyFile: "k"}, "no TLS"},
		{Listener{Address: "127.0.0.1:8010"}, "bearer tokens"},
		{Listener{Address: "192.0.2.7:8010", BearerFile: "b"}, "certificate"},
		{Listener{Address: "0.0.0.0:8010", BearerFile: "b"}, "certificate"},
		{Listener{Address: "localhost:8010", BearerFile: "b"}, "certificate"}, // what it resolves to is not known
		{Listener{Address: "192.0.2.7:8010", CertFile: "c", KeyFile: "k"}, "bearer tokens"},
		{Listener{Address: "127.0.0.1:8010", BearerFile: "b", CertFile: "c"}, "its key"},
		{Listener{Address: ":8010", BearerFile: "b"}, "a host and a port"},
		{Listener{Address: "8010"}, "a host and a port"},
		{Listener{Address: "127.0.0.1:many", BearerFile: "b"}, "a host and a port"},
	} {
		err := tt.check()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: %v, want %q", tt.Listener, err, tt.want)
		}
	}
}

func TestHostMustBeTheListeners(t *testing.T) {
	loopback := Listener{Address: "127.0.0.1:8010", Hosts: []string{"admin.example.com"}}
	outside := Listener{Address: "192.0.2.7:8010"}
	for _, tt := range []struct {
		l    *Listener
		host string
		want bool
	}{
		{&loopback, "127.0.0.1:8010", true},
		{&loopback, "localhost:8010", true},
		{&loopback, "[::1]:8010", true},
		{&loopback, "Admin.example.com", true},
		{&loopback, "evil.example.com:8010", false},
		{&loopback, "127.0.0.1.evil.example.com", false},
		{&loopback, "", false},
		{&outside, "192.0.2.7:8010", true},
		{&outside, "localhost:8010", false},
		{&outside, "evil.example.com", false},
	} {
		if got := tt.l.serves(tt.host); got != tt.want {
			t.Errorf("%s, Host %q: %v", tt.l.Address, tt.host, got)
		}
	}
}

const bearerToken = "0123456789abcdef0123456789abcdef"

func bearerFile(t *testing.T, contents string) string {
	path := filepath.Join(t.TempDir(), "bearer")
	if err := os.WriteFile(path, []byte(contents), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOnlyTokensOfTheFileLetIn(t *testing.T) {
	b := &bearers{path: bearerFile(t, "# ours\nterraform:"+bearerToken+"\n\n"+strings.Repeat("f", 32)+"\n")}
	for _, tt := range []struct{ authorization, name string }{
		{"Bearer " + bearerToken, "terraform"},
		{"bearer " + bearerToken, "terraform"},
		{"Bearer " + strings.Repeat("f", 32), "admin"},
		{"", ""},
		{"Bearer", ""},
		{"Bearer " + bearerToken[1:], ""},
		{"Bearer terraform:" + bearerToken, ""},
		{"Basic " + bearerToken, ""},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1", len(tt.authorization)) // failures are counted by source
		r.Header.Set("Authorization", tt.authorization)
		name, err := b.admit(r, now)
		if name != tt.name && err == nil || (tt.name == "") != (err != nil) {
			t.Errorf("%q: %q, %v", tt.authorization, name, err)
		}
		if tt.name == "" && statusOf(err) != http.StatusUnauthorized {
			t.Errorf("%q: %d", tt.authorization, statusOf(err))
		}
	}
}

// Wrong tokens are limited by source. A source that has used up its failures isn't let in
// with the right token either.
func TestGuessesOfTokensAreLimited(t *testing.T) {
	b := &bearers{path: bearerFile(t, bearerToken)}
	try := func(from, token string, at time.Time) int {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = from
		r.Header.Set("Authorization", "Bearer "+token)
		if _, err := b.admit(r, at); err != nil {
			return statusOf(err)
		}
		return 200
	}
	for i := range failuresAtOnce {
		if got := try("[2001:db8::1]:7", "wrong", now); got != 401 {
			t.Fatalf("%d: %d", i, got)
		}
	}
	for _, tt := range []struct {
		from string
		at   time.Time
		want int
	}{
		{"[2001:db8::1]:7", now, 429},
		{"[2001:db8::2]:8", now, 429}, // the same /64
		{"[2001:db8:1::1]:7", now, 200},
		{"192.0.2.1:7", now, 200},
		{"[2001:db8::1]:7", now.Add(failureEvery), 200},
	} {
		if got := try(tt.from, bearerToken, tt.at); got != tt.want {
			t.Errorf("%s after %s: %d, want %d", tt.from, tt.at.Sub(now), got, tt.want)
		}
	}
	for i := range 2 * maxSources {
		try(fmt.Sprintf("10.1.%d.%d:1", i/256, i%256), "wrong", now)
	}
	if n := len(b.failures); n > maxSources {
		t.Errorf("%d sources are kept", n)
	}
}

func TestFilesOfWeakTokensAreRefused(t *testing.T) {
	for contents, want := range map[string]string{
		"":                 "holds no token",
		"# nothing\n":      "holds no token",
		"terraform:secret": "less than 32 characters",
		"#\nhalf-a:secret": "the token in line 2", // it may be one that holds a colon
	} {
		if _, err := (&bearers{path: bearerFile(t, contents)}).read(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), ":secret") || strings.Contains(err.Error(), "half-a") {
			t.Errorf("%q: %v", contents, err)
		}
	}
	open := bearerFile(t, bearerToken)
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := (&bearers{path: open}).read(); err == nil {
		t.Error("a file that anybody may read is accepted")
	}
}

// serve serves an API until the test ends, and returns its address.
func serve(t *testing.T, e *env, l Listener) net.Addr {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	listening, done := make(chan net.Addr, 1), make(chan error, 1)
	go func() { done <- Serve(ctx, e.server, l, func(a net.Addr) { listening <- a }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case a := <-listening:
		return a
	case err := <-done:
		done <- nil
		t.Fatal(err)
		return nil
	}
}

// A client needs a token and must use the server's own name. The audit line names the token.
func TestTLSListenerNeedsAToken(t *testing.T) {
	e := newEnv(t)
	pair, roots := certificatetest.SelfSigned("127.0.0.1"), x509.NewCertPool()
	roots.AddCert(pair.Certificate)
	cert, key, err := pair.WriteFiles(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	address := serve(t, e, Listener{Address: "127.0.0.1:0", BearerFile: bearerFile(t, "terraform:"+bearerToken), CertFile: cert, KeyFile: key})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	defer client.CloseIdleConnections()
	for _, tt := range []struct {
		host, token string
		want        int
	}{
		{"", bearerToken, 201}, {"", "", 401}, {"evil.example.com", bearerToken, 421},
	} {
		req, err := http.NewRequest("POST", "https://"+address.String()+"/vault-auth", strings.NewReader(kongAuth))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = tt.host
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+tt.token)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("%+v: %d", tt, resp.StatusCode)
		}
		if authenticate := resp.Header.Get("WWW-Authenticate"); (tt.want == 401) != (authenticate == "Bearer") {
			t.Errorf("%+v: WWW-Authenticate: %s", tt, authenticate)
		}
	}
	if audit := e.audit.String(); strings.Count(audit, "\n") != 1 || !strings.Contains(audit, `"who":"token:terraform"`) {
		t.Error(audit)
	}
}

// The audit line has the user at the other end of the socket.
func TestUnixSocketIsForItsOwnerOnly(t *testing.T) {
	e := newEnv(t)
	path := filepath.Join(sockettest.Dir(t), "s")
	serve(t, e, Listener{Address: "unix:" + path})
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	defer client.CloseIdleConnections()
	resp, err := client.Post("http://localhost/vault-auth", "application/json", strings.NewReader(kongAuth))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if want := fmt.Sprintf(`"who":"uid:%d"`, os.Getuid()); resp.StatusCode != 201 || !strings.Contains(e.audit.String(), want) {
		t.Errorf("%d, %s", resp.StatusCode, e.audit.String())
	}
}
