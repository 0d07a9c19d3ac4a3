package gateway

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/kongtest"
)

// Kong reads Connection from the headers that it has kept since the router ran,
// so a plugin that sets it changes nothing unless it removes those too.
func TestHeadersThatConnectionNamesAreTakenOffAfterThePlugins(t *testing.T) {
	clear := func(x *exchange) { x.pdk("kong.service.request.clear_header", "Connection") }
	set := func(x *exchange) { x.pdk("kong.service.request.set_header", "Connection", "x-b") }
	tests := []struct {
		name       string
		connection []string
		plugin     func(x *exchange)
		removed    bool
		want       []string
	}{
		{"none", nil, nil, false, nil},
		{"one of its own words", []string{"keep-alive"}, nil, false, nil},
		{"among its own words", []string{"close, X-A,Upgrade"}, nil, false, []string{"x-a"}},
		{"only the first line counts", []string{"Upgrade, x_a", "x-b"}, nil, false, []string{"x_a"}},
		{"rewritten, not removed", []string{"x-a"}, clear, false, []string{"x-a"}},
		{"removed, not rewritten", []string{"x-a"}, nil, true, []string{"x-a"}},
		{"rewritten, and removed", []string{"x-a, x-b"}, set, true, []string{"x-b"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := &kongtest.Request{}
			for _, c := range test.connection {
				r.Header = append(r.Header, line("Connection", c))
			}
			x := &exchange{Exchange: kongtest.NewExchange(r)}
			if test.plugin != nil {
				test.plugin(x)
			}
			if test.removed {
				x.pdk("kong.nginx.set_ctx", "cached_request_headers", nil)
			}
			if diff := cmp.Diff(test.want, x.namedInConnection()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUpstreamGetsNothingThatConnectionNames(t *testing.T) {
	g := wireGateway(t, wireConfig, Options{})
	e := get(t, g, "/wire", "X-Mode", "pipeline", "Connection", "X-Piped, X-Kept-Not", "X-Kept", "1", "X-Kept-Not", "1").echoed(t)
	if e.Header.Get("X-Piped") != "" || e.Header.Get("X-Kept-Not") != "" || e.Header.Get("X-Kept") != "1" {
		t.Errorf("the upstream gets %v", e.Header)
	}
}

func TestLogPluginsSeeWhatPluginsHaveChanged(t *testing.T) {
	out := filepath.Join(t.TempDir(), "log")
	config := strings.Replace(wireConfig, "    - name: wireplugin\n", "    - name: file-log\n      config: {path: "+out+"}\n    - name: wireplugin\n", 1)
	g := wireGateway(t, config, Options{})
	get(t, g, "/wire?a=1", "X-Mode", "pipeline", "Authorization", "Basic abc", "X-Seen", "1")
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var line struct {
		UpstreamURI string `json:"upstream_uri"`
		Request     struct {
			URI         string
			Querystring map[string]any
			Headers     map[string]any
		}
	}
	if err := json.Unmarshal(b, &line); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(line.UpstreamURI, line.Request.URI, line.Request.Querystring, line.Request.Headers["authorization"], line.Request.Headers["x-piped"], line.Request.Headers["x-seen"])
	if want := "/base?a=1 /hidden map[a:1] REDACTED yes 1\n"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
