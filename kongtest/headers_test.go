package kongtest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
)

// Kong reads Connection from the headers that it has kept since the router ran,
// so a plugin that sets it changes nothing unless it has these forgotten too.
func TestHeadersThatConnectionNamesAreTakenOffAfterThePlugins(t *testing.T) {
	set := func(values ...string) func(*exchange) {
		return func(x *exchange) { x.up.Header = setHeader(x.up.Header, "Connection", values...) }
	}
	tests := []struct {
		name       string
		connection []string
		plugin     func(x *exchange)
		forgotten  bool
		want       []string
	}{
		{"none", nil, nil, false, nil},
		{"one of its own words", []string{"keep-alive"}, nil, false, nil},
		{"among its own words", []string{"close, X-A,Upgrade"}, nil, false, []string{"x-a"}},
		{"only the first line counts", []string{"Upgrade, x_a", "x-b"}, nil, false, []string{"x_a"}},
		{"rewritten, and yet", []string{"x-a"}, set(), false, []string{"x-a"}},
		{"forgotten, not rewritten", []string{"x-a"}, nil, true, []string{"x-a"}},
		{"rewritten, and forgotten", []string{"x-a, x-b"}, set("x-b"), true, []string{"x-b"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := &Request{}
			for _, c := range test.connection {
				r.Header = append(r.Header, Header{"Connection", c})
			}
			x := newExchange(r)
			if test.plugin != nil {
				test.plugin(x)
			}
			if test.forgotten {
				if _, err := ask(x, "kong.nginx.set_ctx", &pb.KV{K: "cached_request_headers"}); err != nil {
					t.Error(err)
				}
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

func TestWhatPluginsSeeOfAnEarlierAuthentication(t *testing.T) {
	x := newExchange(&Request{Consumer: &anna, Credential: &Credential{More: map[string]any{"key": "k"}}})
	tests := []struct {
		method string
		arg    proto.Message
		want   any
	}{
		{"kong.client.get_credential", nil, nil}, // a credential without id looks like none
		{"kong.nginx.get_ctx", &pb.String{V: "authenticated_credential"}, map[string]any{"key": "k"}},
		{"kong.nginx.get_ctx", &pb.String{V: "authenticated_groups"}, nil},
	}
	for _, test := range tests {
		got, err := ask(x, test.method, test.arg)
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Error(test.method, err, diff)
		}
	}
	got, err := ask(x, "kong.client.get_consumer", nil)
	if err != nil || got.(map[string]any)["id"] != anna.ID {
		t.Error(got, err)
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
