package e2e

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/e2e/echo"
	"kong-vault-auth/e2e/program"
)

// identity is what the upstream is told about the caller. Credential says whether there is an
// identifier.
type identity struct {
	ID, Username, CustomID string
	Credential             bool
	Anonymous              string
	Groups                 string
}

var (
	alice = identity{ID: aliceID, Username: "alice", CustomID: "customer-1", Credential: true}
	bob   = identity{ID: bobID, Username: "bob", Credential: true}
	carol = identity{ID: carolID, CustomID: "customer-3", Credential: true}
	guest = identity{ID: guestID, Username: "guest", Anonymous: "true"}
)

var identityHeaders = []string{
	"X-Consumer-ID", "X-Consumer-Username", "X-Consumer-Custom-ID", "X-Credential-Identifier", "X-Anonymous-Consumer",
	"X-Authenticated-Groups", "X-Consumer-Groups",
}

// told reads the identity headers, in every spelling that an upstream's framework may treat
// alike. Several values are joined.
func told(r *echo.Request) identity {
	if r == nil {
		return identity{}
	}
	values := func(name string) string {
		var all []string
		for key, v := range r.Header {
			if strings.EqualFold(strings.ReplaceAll(key, "_", "-"), name) {
				all = append(all, v...)
			}
		}
		return strings.Join(all, " and ")
	}
	return identity{
		values("X-Consumer-ID"), values("X-Consumer-Username"), values("X-Consumer-Custom-ID"),
		values("X-Credential-Identifier") != "", values("X-Anonymous-Consumer"),
		values("X-Authenticated-Groups") + values("X-Consumer-Groups"),
	}
}

func TestUpstreamIsToldWhoCalls(t *testing.T) {
	w := newEnv(t)
	g := w.start(w.guarded("/", nil))
	forged := http.Header{}
	for _, name := range identityHeaders {
		forged[name] = []string{"forged"}
		forged[strings.ReplaceAll(strings.ToLower(name), "-", "_")] = []string{"forged"}
		forged[strings.Replace(name, "-", "_", 1)] = []string{"forged", "twice"}
	}
	tests := []struct {
		name     string
		consumer any
		want     identity
	}{
		{"by id", object{"id": aliceID}, alice},
		{"by username", object{"username": "bob"}, bob},
		{"id before username", object{"id": bobID, "username": "alice"}, bob},
		{"id alone", aliceID, alice},
		{"username alone", "alice", alice},
		{"JSON in a string", `{"username": "bob"}`, bob},
		{"consumer without username", object{"id": carolID}, carol},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := w.credential(object{"consumer": tt.consumer})
			for _, more := range []http.Header{nil, forged} {
				h := p.header()
				for name, values := range more {
					h[name] = values
				}
				a := w.get(g, "/", h)
				if diff := cmp.Diff(tt.want, told(a.Upstream)); diff != "" {
					t.Errorf("%d, identity (-want +got):\n%s", a.Status, diff)
				}
			}
		})
	}
}

func TestCredentialIdentifierIsStableAndNotTheToken(t *testing.T) {
	w := newEnv(t)
	p := w.credential(nil)
	g := w.start(w.guarded("/a", nil), w.guarded("/b", nil))
	first := w.get(g, "/a", p.header()).Upstream.Header.Get("X-Credential-Identifier")
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(first) {
		t.Errorf("the identifier is no UUID of version 5: %s", first)
	}
	w.must(g.Reload())
	program.Eventually(t, "the new plugin server answers", func() bool { return w.get(g, "/b", p.header()).Status == 200 })
	if again := w.get(g, "/b", p.header()).Upstream.Header.Get("X-Credential-Identifier"); again != first {
		t.Errorf("the identifier was %s, and is %s", first, again)
	}
}

func TestPreflightRequests(t *testing.T) {
	w := newEnv(t)
	g := w.start(w.guarded("/checked", nil), w.guarded("/free", object{"run_on_preflight": false}))
	tests := []struct {
		method, path string
		want         int
	}{
		{http.MethodOptions, "/checked", 401},
		{http.MethodOptions, "/free", 200},
		{http.MethodGet, "/free", 401},
	}
	for _, tt := range tests {
		if a := w.send(g, tt.method, tt.path, nil, ""); a.Status != tt.want {
			t.Errorf("%s %s: %d %s, want %d", tt.method, tt.path, a.Status, a.Body, tt.want)
		}
	}
}

// TestAnonymousConsumer combines vault-auth with plugins that run before and after it: with
// anonymous consumers any of them is enough; without, all are needed.
func TestAnonymousConsumer(t *testing.T) {
	w := newEnv(t)
	p := w.credential(nil)
	keyAuth := func(config object) object { return object{"name": "key-auth", "config": config} }
	earlyAuth := object{"name": "early-auth"}
	g := w.start(
		route{"/alone", []object{w.vaultAuth(object{"anonymous": guestID})}},
		route{"/or", []object{w.vaultAuth(object{"anonymous": "guest"}), keyAuth(object{"anonymous": "guest"})}},
		route{"/and", []object{w.vaultAuth(nil), keyAuth(object{})}},
		route{"/after", []object{earlyAuth, w.vaultAuth(object{"anonymous": "guest"})}},
		route{"/down", []object{w.vaultAuth(object{"anonymous": "guest", "hcv": w.hcv(object{"token": "not-a-token"})})}},
	)
	key := func(h http.Header) http.Header { return with(h, "apikey", "bob-key") }
	wrong, early := pair{p.access, "wrong"}.header(), http.Header{"early": {"bob"}}
	silent := with(early, "early-silent", "1")
	tests := []struct {
		name   string
		path   string
		header http.Header
		status int
		want   identity
	}{
		{"pair", "/alone", p.header(), 200, alice},
		{"nothing", "/alone", nil, 200, guest},
		{"wrong pair", "/alone", wrong, 200, guest},
		{"nothing, with a forged identity", "/alone", http.Header{"X-Consumer-ID": {aliceID}, "x_credential_identifier": {"x"}}, 200, guest},

		{"pair, key or neither: pair", "/or", p.header(), 200, alice},
		{"pair, key or neither: key", "/or", key(http.Header{}), 200, bob},
		{"pair, key or neither: wrong pair and key", "/or", key(wrong), 200, bob},
		{"pair, key or neither: neither", "/or", nil, 200, guest},

		{"pair and key: both", "/and", key(p.header()), 200, bob},
		{"pair and key: only the pair", "/and", p.header(), 401, identity{}},
		{"pair and key: only the key", "/and", key(http.Header{}), 401, identity{}},

		{"authenticated before", "/after", early, 200, bob},
		{"authenticated before, and a pair", "/after", with(p.header(), "early", "bob"), 200, bob},
		{"not authenticated before", "/after", p.header(), 200, alice},
		{"authenticated before, by a plugin that sets no header", "/after", silent, 200, identity{}},
		{"the same, with a forged identity", "/after", with(with(silent, "X-Consumer-ID", aliceID), "x_credential_identifier", "x"), 200, identity{}},

		{"never for an outage", "/down", p.header(), 503, identity{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := w.get(g, tt.path, tt.header)
			got := told(a.Upstream)
			if strings.HasPrefix(tt.path, "/and") {
				got.CustomID, tt.want.CustomID = "", "" // the other plugin's business
			}
			if a.Status != tt.status {
				t.Errorf("%d %s, want %d", a.Status, a.Body, tt.status)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("identity (-want +got):\n%s", diff)
			}
		})
	}
}

// TestConnectionHeaderTakesNoIdentityOff: Kong removes the headers that Connection names after
// the plugins have run.
func TestConnectionHeaderTakesNoIdentityOff(t *testing.T) {
	w := newEnv(t)
	p := w.credential(nil)
	g := w.start(
		w.guarded("/pair", object{"anonymous": "guest"}),
		route{"/after", []object{{"name": "early-auth"}, w.vaultAuth(object{"anonymous": "guest"})}},
	)
	tests := []struct {
		name   string
		path   string
		header http.Header
		want   identity
	}{
		{"pair", "/pair", p.header(), alice},
		{"anonymous", "/pair", http.Header{}, guest},
		{"another plugin", "/after", http.Header{"early": {"bob"}}, bob},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, connection := range []string{strings.Join(identityHeaders, ", "), "keep-alive,x-consumer-id , X-Anonymous-Consumer"} {
				h := with(with(tt.header, "Connection", connection+", X-Other"), "X-Other", "1")
				a := w.get(g, tt.path, h)
				if diff := cmp.Diff(tt.want, told(a.Upstream)); diff != "" {
					t.Errorf("%d with Connection: %s, identity (-want +got):\n%s", a.Status, connection, diff)
				}
				if a.Upstream != nil && a.Upstream.Header.Get("X-Other") != "" {
					t.Error("another header that Connection names arrives")
				}
			}
		})
	}
}

func TestWebSocketsAreUpgradedWhateverElseConnectionNames(t *testing.T) {
	w := newEnv(t)
	p := w.credential(nil)
	told := make(chan string, 1)
	w.upstream.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		told <- r.Header.Get("X-Consumer-ID")
		c, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: "+r.Header.Get("Upgrade")+"\r\nConnection: Upgrade\r\n\r\n")
	})
	g := w.start(w.guarded("/", nil))
	for _, connection := range []string{"Upgrade", "Upgrade, X-Consumer-ID"} {
		a := w.fetch(http.DefaultClient, g.URL(), http.MethodGet, "/", with(with(p.header(), "Connection", connection), "Upgrade", "websocket"), "")
		if a.Status != http.StatusSwitchingProtocols {
			t.Errorf("Connection: %s: %d %s", connection, a.Status, a.Body)
			continue
		}
		if got := <-told; got != aliceID {
			t.Errorf("Connection: %s: the upstream is told of %q", connection, got)
		}
	}
}

func TestLogPluginsSeeNoToken(t *testing.T) {
	w := newEnv(t)
	p, unknown := w.credential(nil), newPair()
	folder := t.TempDir()
	w.must(os.Chmod(folder, 0o777)) // Kong's workers may be another user's
	logged := func(name string, config object) route {
		return route{"/" + name, []object{w.vaultAuth(config), {"name": "file-log", "config": object{"path": filepath.Join(folder, name)}}}}
	}
	g := w.start(
		logged("hidden", nil),
		logged("shown", object{"hide_credentials": false}),
		logged("refused", object{"hide_credentials": false}),
		logged("headers-only", object{"tokens_in_query": false}),
		logged("down", object{"hcv": w.hcv(object{"token": "not-a-token"})}),
	)
	inQuery := func(p pair) string { return "&access_token=" + p.access + "&secret_token=" + p.secret }
	tests := []struct {
		name   string
		query  string
		header http.Header
		p      pair
		want   int
	}{
		{"hidden", inQuery(p), nil, p, 200},
		{"hidden", "", p.header(), p, 200},
		{"shown", inQuery(p), nil, p, 200},
		{"shown", "", p.header(), p, 200},
		{"refused", inQuery(unknown), nil, unknown, 401},
		{"refused", "", unknown.header(), unknown, 401},
		{"headers-only", inQuery(p), nil, p, 401},
		{"down", inQuery(p), nil, p, 503},
		{"down", "", p.header(), p, 503},
	}
	for i, tt := range tests {
		mark := "q=" + strconv.Itoa(i) + "." // in the URL that is logged
		t.Run(tt.name, func(t *testing.T) {
			if a := w.get(g, "/"+tt.name+"?"+mark+tt.query, tt.header); a.Status != tt.want {
				t.Errorf("%d %s, want %d", a.Status, a.Body, tt.want)
			}
			var lines string
			program.Eventually(t, "the request is logged", func() bool {
				b, _ := os.ReadFile(filepath.Join(folder, tt.name))
				lines = string(b)
				return strings.Contains(lines, mark)
			})
			if strings.Contains(lines, tt.p.secret) || strings.Contains(lines, tt.p.access) {
				t.Errorf("a token is logged: %s", lines)
			}
		})
	}
}
