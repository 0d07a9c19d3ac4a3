package kongadmin

import (
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	id         = "3fd1eea1-885a-4011-b986-289943ff8177"
	adminToken = "the-admin-token"
)

// adminAPI answers as Kong 3.9.1 does, to whoever has the token: by id or username at
// /consumers/NAME, by custom_id in a list.
func adminAPI(w http.ResponseWriter, r *http.Request) {
	const alice = `{"id":"` + id + `","username":"alice b","custom_id":"c/1","tags":null,"created_at":1}`
	answer := func(status int, body string) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
	switch {
	case r.Header.Get("Kong-Admin-Token") != adminToken:
		answer(401, `{"message":"Invalid credentials. Token or User credentials required"}`)
	case r.URL.Path == "/consumers/"+id, r.URL.Path == "/consumers/alice b":
		answer(200, alice)
	case r.URL.Path == "/consumers/broken":
		answer(200, `{}`)
	case r.URL.Path == "/consumers/failing":
		answer(500, `{"message":"An unexpected error occurred `+adminToken+`"}`)
	case r.URL.Path == "/consumers/elsewhere":
		http.Redirect(w, r, "http://127.0.0.1:9/", http.StatusFound)
	case r.URL.Path == "/consumers" && r.URL.Query().Get("custom_id") == "c/1":
		answer(200, `{"data":[`+alice+`],"next":null}`)
	case r.URL.Path == "/consumers":
		answer(200, `{"data":[],"next":null}`)
	default:
		answer(404, `{"message":"Not found"}`)
	}
}

func environ(pairs ...string) func(string) string {
	env := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		env[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return env[name] }
}

func TestConsumer(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(adminAPI))
	defer server.Close()
	dir := t.TempDir()
	ca, tokenFile := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")
	write := func(name string, b []byte) {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	write(tokenFile, []byte(adminToken+"\n"))
	trusted := []string{"KONG_ADMIN_URL", server.URL, "KONG_ADMIN_CA_CERT", ca, "KONG_ADMIN_TOKEN", adminToken}
	alice := &Consumer{ID: id, Username: "alice b", CustomID: "c/1"}
	for name, tt := range map[string]struct {
		env   []string
		asked string
		want  *Consumer
		says  string
	}{
		"by id":                 {trusted, id, alice, ""},
		"by username":           {trusted, "alice b", alice, ""},
		"by custom_id":          {trusted, "c/1", alice, ""},
		"token in a file":       {[]string{"KONG_ADMIN_URL", server.URL, "KONG_ADMIN_CA_CERT", ca, "KONG_ADMIN_TOKEN_FILE", tokenFile}, id, alice, ""},
		"unknown":               {trusted, "bob", nil, `there is no such consumer in Kong: no id, username or custom_id is "bob"`},
		"another path":          {trusted, "../consumers", nil, "there is no such consumer in Kong"},
		"no token":              {trusted[:4], id, nil, "check KONG_ADMIN_TOKEN, and KONG_ADMIN_TOKEN_HEADER if the header isn't Kong-Admin-Token"},
		"another header":        {append([]string{"KONG_ADMIN_TOKEN_HEADER", "X-Token"}, trusted...), id, nil, "check KONG_ADMIN_TOKEN"},
		"a CA that isn't known": {[]string{"KONG_ADMIN_URL", server.URL}, id, nil, "certificate"},
		"nobody there":          {[]string{"KONG_ADMIN_URL", "http://127.0.0.1:9"}, id, nil, "or unset it to store the consumer as it is given"},
		"something else":        {trusted, "broken", nil, "the answer is not one of Kong's Admin API"},
		"a fault":               {trusted, "failing", nil, "check KONG_ADMIN_URL, and Kong's log"},
		"a redirect":            {trusted, "elsewhere", nil, "check KONG_ADMIN_URL"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := New(environ(tt.env...))
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Consumer(t.Context(), tt.asked)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%v %s", err, diff)
			}
			if tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), adminToken)) {
				t.Errorf("it says %v", err)
			}
			var failure *Failure
			if errors.As(err, &failure) == (err == nil || errors.Is(err, ErrNoConsumer)) {
				t.Errorf("%T", err)
			}
			if refused := strings.HasPrefix(tt.says, "check KONG_ADMIN_TOKEN"); failure != nil && failure.Refused != refused {
				t.Errorf("refused: %t", failure.Refused)
			}
			if absent := strings.HasPrefix(tt.says, "there is no such"); errors.Is(err, ErrNoConsumer) != absent {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestSettingsThatCannotBeUsed(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, env := range map[string][]string{
		"KONG_ADMIN_URL must be like":                {"KONG_ADMIN_URL", "localhost:8001"},
		"KONG_ADMIN_URL must be like https":          {"KONG_ADMIN_URL", "http://u:p@localhost:8001"},
		"KONG_ADMIN_CA_CERT: " + empty + " holds no": {"KONG_ADMIN_URL", "http://localhost:8001", "KONG_ADMIN_CA_CERT", empty},
		"KONG_ADMIN_TOKEN_FILE: ":                    {"KONG_ADMIN_URL", "http://localhost:8001", "KONG_ADMIN_TOKEN_FILE", "/nonexistent"},
	} {
		if _, err := New(environ(env...)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if c, err := New(environ()); c != nil || err != nil {
		t.Errorf("without %s there is a client, %v", urlVariable, err)
	}
}

func TestPluginsOfAVaultObject(t *testing.T) {
	const plugins = `{"data":[` +
		`{"id":"0dc6f45b-8f8d-40d2-a504-473544ee190b","name":"vault-auth","config":{"vault":"kong-auth"}},` +
		`{"id":"11111111-1111-4111-8111-111111111111","name":"vault-auth","config":{"hcv":{"host":"kong-auth"}}},` +
		`{"id":"22222222-2222-4222-8222-222222222222","name":"cors","config":null}],"next":null}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/plugins" {
			w.WriteHeader(404)
			return
		}
		_, _ = w.Write([]byte(plugins))
	}))
	c, err := New(environ("KONG_ADMIN_URL", server.URL))
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.PluginsOfVault(t.Context(), "kong-auth")
	if diff := cmp.Diff([]string{"0dc6f45b-8f8d-40d2-a504-473544ee190b"}, got); diff != "" || err != nil {
		t.Errorf("%s, %v", diff, err)
	}
	server.Close()
	if _, err := c.PluginsOfVault(t.Context(), "kong-auth"); err == nil {
		t.Error("no Kong, and no error")
	}
}
