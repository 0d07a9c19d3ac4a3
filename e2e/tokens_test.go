package e2e

import (
	"bytes"
	"encoding/json"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"kong-vault-auth/e2e/echo"
	"kong-vault-auth/e2e/vaultserver"
)

func form(p pair) string {
	return "a=1&access_token=" + p.access + "&b=%20x&secret_token=" + p.secret + "&c=3"
}

func jsonBody(p pair) string {
	return `{"n": 12345678901234567890, "access_token": "` + p.access + `", "list": [1, 2.50], "secret_token": "` + p.secret + `"}`
}

func multipartBody(t *testing.T, p pair) (contentType, body string) {
	t.Helper()
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	for _, field := range [][2]string{{"file", "caf\xe9\x00"}, {"access_token", p.access}, {"secret_token", p.secret}} {
		if err := m.WriteField(field[0], field[1]); err != nil {
			t.Fatal(err)
		}
	}
	m.Close()
	return m.FormDataContentType(), b.String()
}

func TestTokensAreFoundWhereTheyMayBe(t *testing.T) {
	w := newEnv(t)
	p := w.credential(nil)
	const formType = "application/x-www-form-urlencoded"
	multipartType, multipart := multipartBody(t, p)
	g := w.start(
		w.guarded("/all", object{"tokens_in_body": true}),
		w.guarded("/header", object{"tokens_in_query": false}),
		w.guarded("/named", object{"access_token_name": "X-Key", "secret_token_name": "X-Secret"}),
	)

	tests := []struct {
		name        string
		path        string
		header      http.Header
		contentType string
		body        string
		want        int
	}{
		{"headers", "/all", p.header(), "", "", 200},
		{"headers in other spellings", "/all", http.Header{"ACCESS-TOKEN": {p.access}, "Secret_Token": {p.secret}}, "", "", 200},
		{"query", "/all?access_token=" + p.access + "&secret_token=" + p.secret, nil, "", "", 200},
		{"header and query", "/all?secret_token=" + p.secret, http.Header{"access_token": {p.access}}, "", "", 200},
		{"form", "/all", nil, formType, form(p), 200},
		{"JSON", "/all", nil, "application/json", jsonBody(p), 200},
		{"multipart", "/all", nil, multipartType, multipart, 200},
		{"query and form", "/all?access_token=" + p.access, nil, formType, "secret_token=" + p.secret, 200},
		{"body of another type", "/all", nil, "text/plain", form(p), 401},
		{"query, not to be looked at", "/header?access_token=" + p.access + "&secret_token=" + p.secret, nil, "", "", 401},
		{"body, not to be looked at", "/header", nil, formType, form(p), 401},
		{"headers of other names", "/named", http.Header{"x-key": {p.access}, "X_Secret": {p.secret}}, "", "", 200},
		{"headers of the usual names", "/named", p.header(), "", "", 401},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			header := tt.header
			if tt.contentType != "" {
				header = http.Header{"Content-Type": {tt.contentType}}
			}
			method := http.MethodGet
			if tt.body != "" {
				method = http.MethodPost
			}
			if a := w.send(g, method, tt.path, header, tt.body); a.Status != tt.want {
				t.Errorf("%d %s, want %d", a.Status, a.Body, tt.want)
			}
		})
	}
}

// TestHiddenCredentialsLeaveTheRestAsItWas compares what the upstream receives
// with hide_credentials on and off.
func TestHiddenCredentialsLeaveTheRestAsItWas(t *testing.T) {
	w := newEnv(t)
	p := w.credential(nil)
	multipartType, multipart := multipartBody(t, p)
	g := w.start(
		w.guarded("/hide", object{"tokens_in_body": true}),
		w.guarded("/show", object{"tokens_in_body": true, "hide_credentials": false}),
		w.guarded("/guest", object{"anonymous": "guest"}),
	)

	tests := []struct {
		name        string
		query       string
		contentType string
		body        string
		wantURI     string
		wantBody    func(t *testing.T, body string)
	}{
		{
			name:    "query",
			query:   "?a=%2F&access_token=" + p.access + "&b&c=%e9&secret_token=" + p.secret + "&a=2",
			wantURI: "?a=%2F&b&c=%e9&a=2",
		},
		{
			name:  "form",
			query: "", contentType: "application/x-www-form-urlencoded", body: form(p),
			wantBody: equal("a=1&b=%20x&c=3"),
		},
		{
			name:        "JSON",
			contentType: "application/json", body: jsonBody(p),
			wantBody: func(t *testing.T, body string) {
				t.Helper()
				var got map[string]json.RawMessage
				if err := json.Unmarshal([]byte(body), &got); err != nil {
					t.Fatalf("%v: %s", err, body)
				}
				want := map[string]json.RawMessage{"n": []byte("12345678901234567890"), "list": []byte("[1, 2.50]")}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("JSON (-want +got):\n%s", diff)
				}
			},
		},
		{
			name:        "multipart",
			contentType: multipartType, body: multipart,
			wantBody: func(t *testing.T, body string) {
				t.Helper()
				if !strings.Contains(body, "caf\xe9\x00") || strings.Contains(body, p.access) || strings.Contains(body, p.secret) {
					t.Errorf("multipart body: %q", body)
				}
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			header := http.Header{"Content-Type": {tt.contentType}}
			a := w.send(g, http.MethodPost, "/hide"+tt.query, header, tt.body)
			if a.Upstream == nil {
				t.Fatalf("%d %s", a.Status, a.Body)
			}
			if got, want := a.Upstream.URI, "/hide"+tt.wantURI; got != want {
				t.Errorf("hidden: the upstream sees %s, want %s", got, want)
			}
			if tt.wantBody != nil {
				tt.wantBody(t, a.Upstream.Body)
			}
			shown := w.send(g, http.MethodPost, "/show"+tt.query, header, tt.body)
			if shown.Upstream == nil {
				t.Fatalf("%d %s", shown.Status, shown.Body)
			}
			if shown.Upstream.URI != "/show"+tt.query || shown.Upstream.Body != tt.body {
				t.Errorf("shown: the upstream sees %s, %q", shown.Upstream.URI, shown.Upstream.Body)
			}
		})
	}

	t.Run("headers", func(t *testing.T) {
		sees := func(path string) bool {
			a := w.get(g, path, with(p.header(), "Other_Header", "kept"))
			if a.Upstream == nil {
				t.Fatalf("%d %s", a.Status, a.Body)
			}
			if header(a.Upstream, "other_header") != "kept" {
				t.Errorf("%s: another header is lost: %v", path, a.Upstream.Header)
			}
			return header(a.Upstream, "access_token")+header(a.Upstream, "secret_token") != ""
		}
		if sees("/hide") || !sees("/show") {
			t.Error("the upstream must see the tokens on /show only")
		}
	})
	t.Run("anonymous", func(t *testing.T) {
		a := w.get(g, "/guest?x=1&secret_token=wrong", http.Header{"access_token": {p.access}})
		if a.Upstream == nil {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		if header(a.Upstream, "access_token") != "" || a.Upstream.URI != "/guest?x=1" {
			t.Errorf("the upstream sees %s, %v", a.Upstream.URI, a.Upstream.Header)
		}
	})
}

func equal(want string) func(*testing.T, string) {
	return func(t *testing.T, got string) {
		t.Helper()
		if got != want {
			t.Errorf("body %q, want %q", got, want)
		}
	}
}

// header is the first value of a header that the upstream received, without regard to case.
func header(r *echo.Request, name string) string {
	for key, values := range r.Header {
		if strings.EqualFold(key, name) {
			return values[0]
		}
	}
	return ""
}

func TestBytesThatAreNotUTF8PassUnharmed(t *testing.T) {
	w := newEnv(t)
	p := w.credential(nil)
	g := w.start(w.guarded("/", nil))
	a := w.get(g, "/?q=\xe9&secret_token="+url.QueryEscape(p.secret), http.Header{
		"access_token": {p.access}, "X-Name": {"caf\xe9"},
	})
	if a.Upstream == nil {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	if got := a.Upstream.Header.Get("X-Name"); got != "caf\xe9" {
		t.Errorf("the header arrives as %q", got)
	}
	if got := a.Upstream.URI; got != "/?q=\xe9" {
		t.Errorf("the URI arrives as %q", got)
	}
}

func TestBothVersionsOfKVAreRead(t *testing.T) {
	for _, kv := range []vaultserver.KV{
		{Mount: "tokens/v1", Version: 1, Path: "kong-auth"},
		{Mount: "tokens/v2", Version: 2, Path: "gateways/kong"},
		{Mount: "root-of-v1", Version: 1},
	} {
		t.Run(kv.Mount, func(t *testing.T) {
			if err := sharedVault.MountKV(t.Context(), kv); err != nil {
				t.Fatal(err)
			}
			w := newEnvOn(t, sharedVault, kv)
			p := w.credential(nil)
			g := w.start(
				w.guarded("/said", nil),
				w.guarded("/found-out", object{"hcv": w.hcv(object{"kv": nil})}),
			)
			for _, path := range []string{"/said", "/found-out"} {
				if a := w.get(g, path, p.header()); a.Status != 200 {
					t.Errorf("%s: %d %s", path, a.Status, a.Body)
				}
			}
		})
	}
}

// TestTheTutorialOfKongsOwnPlugin follows Kong's documentation of its own vault-auth to the
// letter, with a KV v1 engine of its own.
func TestTheTutorialOfKongsOwnPlugin(t *testing.T) {
	kv, err := tutorialMount()
	if err != nil {
		t.Fatal(err)
	}
	w := newEnvOn(t, sharedVault, kv)
	const consumer = "ce67c25e-2168-4a09-81e5-e06187a2384f"
	// vault write kong-auth/foo -
	w.must(w.vault.Put(t.Context(), kv, "foo", object{
		"access_token": "foo", "secret_token": "supersecretvalue", "created_at": 1550538920, "updated_at": 1550538920,
		"ttl": 86400, "consumer": object{"id": consumer},
	}))
	host, port, _ := strings.Cut(strings.TrimPrefix(w.vault.Addr, "http://"), ":")
	object := object{"mount": "kong-auth", "protocol": "http", "host": host, "port": json.Number(port), "token": w.token}
	g := start(t, w.declare(
		[]map[string]any{{"id": consumer, "username": "bob"}},
		w.guarded("/", map[string]any{"hcv": object}),
	))
	for name, tt := range map[string]struct {
		path   string
		header http.Header
		want   int
	}{
		"headers":      {"/", pair{"foo", "supersecretvalue"}.header(), 200},
		"query":        {"/?access_token=foo&secret_token=supersecretvalue", nil, 200},
		"wrong secret": {"/", pair{"foo", "supersecret"}.header(), 401},
	} {
		a := w.get(g, tt.path, tt.header)
		if a.Status != tt.want {
			t.Errorf("%s: %d %s, want %d", name, a.Status, a.Body, tt.want)
		}
		if a.Upstream != nil && a.Upstream.Header.Get("X-Consumer-ID") != consumer {
			t.Errorf("%s: the upstream is told of %v", name, a.Upstream.Header)
		}
	}
}
