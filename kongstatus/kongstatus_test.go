package kongstatus

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Bodies as Kong 3.9.1 writes them, cut to what matters.
const (
	withDatabase    = `{"server":{"total_requests":3},"memory":{"workers_lua_vms":[]},"database":{"reachable":true}}`
	withoutDatabase = `{"configuration_hash":"779742c3d7afee2e38f977044b2ed96b","server":{"total_requests":3}}`
)

func TestAsk(t *testing.T) {
	for name, tt := range map[string]struct {
		status       int
		server, body string
		want         Status
		err          string
	}{
		"database reachable":   {200, "kong/3.9.1", withDatabase, Status{true, "3.9.1"}, ""},
		"database unreachable": {200, "kong/3.9.1", strings.ReplaceAll(withDatabase, "true", "false"), Status{false, "3.9.1"}, ""},
		"DB-less, data plane":  {200, "kong/3.9.1", withoutDatabase, Status{true, "3.9.1"}, ""},
		"DB-less before 3.4":   {200, "kong/3.3.0", `{"configuration_hash":"0","database":{"reachable":true}}`, Status{true, "3.3.0"}, ""},
		"enterprise":           {200, "kong/3.10.0.1-enterprise-edition", withDatabase, Status{true, "3.10.0.1"}, ""},
		"version hidden":       {200, "", withDatabase, Status{true, ""}, ""},
		"somebody else's":      {200, "nginx/1.25.3", `{"status":"ok"}`, Status{}, "not one of Kong's"},
		"no object":            {200, "kong/3.9.1", `true`, Status{}, "cannot unmarshal"},
		"reachable is no bool": {200, "kong/3.9.1", `{"database":{"reachable":"true"}}`, Status{}, "cannot unmarshal"},
		"reachable is missing": {200, "kong/3.9.1", `{"database":{}}`, Status{}, "not one of Kong's"},
		"null":                 {200, "kong/3.9.1", `null`, Status{}, "not one of Kong's"},
		"a page":               {200, "nginx", `<html>`, Status{}, "invalid character"},
		"far too long":         {200, "kong/3.9.1", `{"a":"` + strings.Repeat("a", maxBody) + `",` + withDatabase[1:], Status{}, "unexpected EOF"},
		"failing":              {500, "kong/3.9.1", withDatabase, Status{}, "500"},
		"a redirect":           {302, "kong/3.9.1", withDatabase, Status{}, "302"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != "GET" || r.URL.Path != "/status" {
					t.Errorf("%s %s", r.Method, r.URL)
				}
				w.Header()["Server"] = []string{tt.server}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.body)
			}))
			defer s.Close()
			c, err := New(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Ask(t.Context())
			if got != tt.want {
				t.Errorf("%+v", got)
			}
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestNew(t *testing.T) {
	for setting, url := range map[string]string{
		"":                          "http://127.0.0.1:8007/status",
		"http://127.0.0.1:8007":     "http://127.0.0.1:8007/status",
		"http://[::1]:8007/":        "http://[::1]:8007/status",
		"https://kong.example:8100": "https://kong.example:8100/status",
		"http://10.0.0.1:80/kong/":  "http://10.0.0.1:80/kong/status",
	} {
		if c, err := New(setting); err != nil || c.url != url {
			t.Errorf("%q: %v, %v", setting, c, err)
		}
	}
	if c, err := New("off"); c != nil || err != nil {
		t.Errorf("off: %v, %v", c, err)
	}
	for _, setting := range []string{"on", "127.0.0.1:8007", "8007", "unix:/run/kong/status.socket", "http://", "http://:8007", "ftp://127.0.0.1", "http://u:p@127.0.0.1", "http://127.0.0.1/?a=b", "http://127.0.0.1:x", " http://127.0.0.1"} {
		if c, err := New(setting); err == nil || !strings.Contains(err.Error(), "it must be off or a URL, such as http://127.0.0.1:8007") {
			t.Errorf("%q: %v, %v", setting, c, err)
		}
	}
}

func TestOlderThan(t *testing.T) {
	for version, want := range map[string]bool{
		"2.8.5": true, "3.0": true, "3.7.1": true, "3.7.1.2": true, "3.8.0": false, "3.9.1": false, "3.10.0.1": false, "4.0.0": false,
		"": false, "3": false, "three.seven": false,
	} {
		if got := (Status{Version: version}).OlderThan(3, 8); got != want {
			t.Errorf("%q: %v", version, got)
		}
	}
}
