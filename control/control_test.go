package control

import (
	"errors"
	"io/fs"
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

	"kong-vault-auth/hashivault"
	"kong-vault-auth/pluginserver/servertest"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/unixsocket/sockettest"
	"kong-vault-auth/vault"
)

// journal is a log that tests read.
type journal struct{ servertest.Buffer }

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// node is a plugin server's registry whose environment defines the object hcv, at an
// address where nobody listens.
func node(t testing.TB) *vault.Registry {
	env := map[string]string{"KONG_VAULT_HCV_TOKEN": "hvs.secret-of-the-node", "KONG_VAULT_HCV_PORT": "1", "KONG_VAULT_HCV_MAX_TTL": "600"}
	r := vault.NewRegistry([]secretstore.Kind{hashivault.Kind}, vault.Options{Getenv: func(name string) string { return env[name] }})
	t.Cleanup(r.Close)
	return r
}

// start serves h at a socket, and returns when it is there.
func start(t *testing.T, path string, h http.Handler, j *journal) (stop func()) {
	t.Helper()
	stop = Start(t.Context(), path, h, j.logger())
	t.Cleanup(stop)
	await(t, func() bool { return isSocket(path) })
	return stop
}

func isSocket(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().Type() == fs.ModeSocket
}

// await returns when it is so; the test's own deadline ends it.
func await(t *testing.T, so func() bool) {
	t.Helper()
	for !so() {
		if t.Context().Err() != nil {
			t.Fatal("it never came to that")
		}
		runtime.Gosched()
	}
}

func client(t *testing.T) (*Client, *vault.Registry, string) {
	t.Helper()
	path, r := filepath.Join(sockettest.Dir(t), "s"), node(t)
	start(t, path, (&Server{Objects: r}).Handler(), &journal{})
	return NewClient(path), r, path
}

func TestChangedSaysWhereItIsInForce(t *testing.T) {
	c, _, _ := client(t)
	want := Reach{Here: true, Within: 600}
	for name, changed := range map[string]func() (Reach, error){
		"a credential":                func() (Reach, error) { return c.Changed(t.Context(), "hcv", "ac-alice") },
		"in all objects":              func() (Reach, error) { return c.Changed(t.Context(), "", "ac-alice") },
		"a credential by fingerprint": func() (Reach, error) { return c.ChangedFingerprint(t.Context(), "hcv", "0123456789ab") },
		"an object":                   func() (Reach, error) { return c.ChangedObject(t.Context(), "hcv") },
	} {
		got, err := changed()
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
	if got := want.String(); got != "in force on this node now; on other nodes within 600 seconds" {
		t.Error(got)
	}
}

// TestChangedVaultsFileIsRead before the call returns, or its error says why not.
func TestChangedVaultsFileIsRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "vaults.yml")
	write := func(contents string) {
		if err := os.WriteFile(file, []byte(contents), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("vaults: []")
	env := map[string]string{"VAULT_AUTH_VAULTS_FILE": file}
	r := vault.NewRegistry([]secretstore.Kind{hashivault.Kind}, vault.Options{Getenv: func(name string) string { return env[name] }})
	t.Cleanup(r.Close)
	path := filepath.Join(sockettest.Dir(t), "s")
	start(t, path, (&Server{Objects: r}).Handler(), &journal{})
	c := NewClient(path)
	if err := c.ChangedVaults(t.Context(), file); err != nil {
		t.Error(err)
	}
	write("vaults: [{name: hcv, prefix: kong-auth, config: {token: \"{vault://env/not-there}\"}}]")
	if err := c.ChangedVaults(t.Context(), file); err == nil || !strings.Contains(err.Error(), "NOT_THERE is not set") {
		t.Error(err)
	}
	if err := NewClient(path+"-").ChangedVaults(t.Context(), file); !errors.Is(err, ErrNotRunning) {
		t.Error(err)
	}
}

func TestChangedWithoutAPluginServerIsNoError(t *testing.T) {
	for name, path := range map[string]string{
		"no socket":           filepath.Join(sockettest.Dir(t), "s"),
		"of a process killed": deadSocket(t),
	} {
		got, err := NewClient(path).Changed(t.Context(), "hcv", "ac-alice")
		if err != nil || got != (Reach{}) || !strings.Contains(got.String(), "no plugin server was found on this node") {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if _, err := NewClient(path).Status(t.Context()); !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// deadSocket is the file of a socket that nobody listens on.
func deadSocket(t *testing.T) string {
	path := filepath.Join(sockettest.Dir(t), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	return path
}

func TestStatusIsTheRegistrys(t *testing.T) {
	c, r, _ := client(t)
	got, err := c.Status(t.Context())
	if diff := cmp.Diff(r.Status(), got); diff != "" || err != nil || len(got) != 1 || got[0].Object != "hcv" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestWhatCannotBeDroppedIsRefused(t *testing.T) {
	c, _, path := client(t)
	for name, tt := range map[string]struct {
		q    dropRequest
		says string
	}{
		"unknown object":      {dropRequest{Object: "other", AccessToken: "ac-alice"}, `unknown vault object "other": this plugin server knows hcv`},
		"nothing":             {dropRequest{Object: "hcv"}, "exactly one of"},
		"two things":          {dropRequest{Object: "hcv", AccessToken: "ac-alice", Fingerprint: "0123456789ab"}, "exactly one of"},
		"all and one":         {dropRequest{Object: "hcv", AccessToken: "ac-alice", All: true}, "exactly one of"},
		"everything there is": {dropRequest{All: true}, "exactly one of"},
		"malformed token":     {dropRequest{Object: "hcv", AccessToken: "ac alice"}, "malformed access token"},
		"malformed print":     {dropRequest{Object: "hcv", Fingerprint: "ac-alice"}, "12 hex digits"},
	} {
		got, err := c.drop(t.Context(), tt.q)
		if err == nil || got != (Reach{}) || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if err != nil && tt.q.AccessToken != "" && strings.Contains(err.Error(), tt.q.AccessToken) {
			t.Errorf("%s: the token is in %q", name, err)
		}
	}
}

// post is an answer of the handler's.
func post(h http.Handler, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
	return w
}

func TestRequestsThatCannotBeRead(t *testing.T) {
	h := (&Server{Objects: node(t)}).Handler()
	for name, tt := range map[string]struct{ body, says string }{
		"of a newer command": {`{"object":"hcv","access_token":"a","grace":5}`, `doesn't know the field \"grace\"`},
		"no JSON":            {`secret-thing`, "not the JSON that is expected"},
		"nothing":            {``, "not the JSON that is expected"},
		"too large":          {`{"object":"` + strings.Repeat("x", maxRequest) + `"}`, "too large"},
		"another type":       {`{"object":["secret-thing"]}`, "not the JSON that is expected"},
	} {
		w := post(h, pathDrop, tt.body)
		if w.Code != 400 || !strings.Contains(w.Body.String(), tt.says) || strings.Contains(w.Body.String(), "secret-thing") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, pathDrop, nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", w.Code)
	}
}

// FuzzRequests: whatever is sent, the answer is JSON and no fault of the server's.
func FuzzRequests(f *testing.F) {
	h := (&Server{Objects: node(f)}).Handler()
	for _, seed := range []string{`{}`, `{"object":"hcv","access_token":"ac-alice"}`, `{"object":"hcv","all":true}`, `{"object":"hcv","fingerprint":"0123456789ab"}`, `[`, `{"object":1}`, ``} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if w := post(h, pathDrop, body); w.Code != 200 && w.Code != 400 && w.Code != 404 || w.Body.Bytes()[0] != '{' {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

func TestAnswersOfAnotherVersion(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"no such operation": http.NotFound,
		"another answer":    func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) },
	} {
		path := filepath.Join(sockettest.Dir(t), "s")
		start(t, path, h, &journal{})
		if _, err := NewClient(path).Status(t.Context()); err == nil || !strings.Contains(err.Error(), "of another version") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSocketIsTheOwnersOnly(t *testing.T) {
	_, _, path := client(t)
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestStrangersAreSentAway even where the file's mode would let them in.
func TestStrangersAreSentAway(t *testing.T) {
	path, j := filepath.Join(sockettest.Dir(t), "s"), &journal{}
	start(t, path, (&Server{Objects: node(t)}).Handler(), j)
	stranger := sockettest.DialAs(t, path)
	_, _ = stranger.Write([]byte("GET " + pathStatus + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
	if n, err := stranger.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Error("a stranger was answered")
	}
	await(t, func() bool { return strings.Contains(j.String(), "connection to the control socket refused") })
}

func TestNothingIsServedOverAFile(t *testing.T) {
	path, j := filepath.Join(sockettest.Dir(t), "s"), &journal{}
	if err := os.WriteFile(path, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	stop := Start(t.Context(), path, http.NotFoundHandler(), j.logger())
	await(t, func() bool { return strings.Contains(j.String(), "is not a socket") })
	stop()
	if b, err := os.ReadFile(path); err != nil || string(b) != "kept" || !strings.Contains(j.String(), Variable) {
		t.Errorf("%q, %v: %s", b, err, j)
	}
}

func TestPath(t *testing.T) {
	for _, tt := range []struct{ setting, want, says string }{
		{"", "/run/vault-auth/vault-auth-control.socket", ""},
		{"off", "", ""},
		{"/run/c.socket", "/run/c.socket", ""},
		{"c.socket", "", "absolute path"},
		{"/run/", "", "absolute path"},
		{"/" + strings.Repeat("x", 90), "", "may have 90 bytes"},
	} {
		got, err := Path(tt.setting, "/run/vault-auth/vault-auth.socket")
		if got != tt.want || (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q: %q, %v", tt.setting, got, err)
		}
	}
}

func TestFindUsesTheEnvironmentFirst(t *testing.T) {
	dir := sockettest.Dir(t)
	defer func(before []string) { usual = before }(usual)
	usual = []string{filepath.Join(dir, "none"), filepath.Join(dir, "there")}
	if err := os.WriteFile(usual[1], nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for setting, want := range map[string]string{"": usual[1], "/elsewhere": "/elsewhere"} {
		if got := Find(func(string) string { return setting }); got != want {
			t.Errorf("%q: %s, want %s", setting, got, want)
		}
	}
	usual = usual[:1]
	if got := Find(func(string) string { return "" }); got != usual[0] {
		t.Error(got)
	}
}
