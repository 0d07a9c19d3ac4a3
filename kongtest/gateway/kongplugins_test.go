package gateway

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const orConfig = `
_format_version: "3.0"
services:
- name: echo
  url: %s
  routes:
  - name: and
    paths: [/and]
    plugins:
    - {name: key-auth}
    - {name: wireplugin, config: {mode: pipeline}}
  - name: or
    paths: [/or]
    plugins:
    - {name: key-auth, config: {anonymous: nobody, hide_credentials: true}}
  - name: ended
    paths: [/ended]
    plugins:
    - {name: key-auth, config: {anonymous: nobody}}
    - {name: request-termination, consumer: nobody, config: {status_code: 401, message: Unauthorized}}
plugins:
- {name: key-auth, config: {key_names: [other]}}
consumers:
- username: nobody
- username: berta
  custom_id: b-7
  keyauth_credentials: [{key: k3y}]
`

func TestKeyAuthStandsInForKongs(t *testing.T) {
	g := wireGateway(t, orConfig, Options{})
	tests := []struct {
		path, key string
		status    int
		message   string
		username  string // that the upstream saw
		anonymous string
	}{
		{"/and", "k3y", 200, "", "berta", ""},
		{"/and", "wrong", 401, "Unauthorized", "", ""},
		{"/and", "", 401, "No API key found in request", "", ""},
		{"/or", "k3y", 200, "", "berta", ""},
		{"/or", "wrong", 200, "", "nobody", "true"},
		{"/ended", "k3y", 200, "", "berta", ""},
		{"/ended", "wrong", 401, "Unauthorized", "", ""},
	}
	for _, test := range tests {
		a := get(t, g, test.path, "apikey", test.key, "X-Anonymous-Consumer", "forged")
		if a.Status != test.status {
			t.Errorf("%s with key %q: %d %s", test.path, test.key, a.Status, a.Body)
			continue
		}
		if test.status != 200 {
			want := fmt.Sprintf("{\n  \"message\":\"%s\",\n  \"request_id\":\"%s\"\n}", test.message, a.Header.Get("X-Kong-Request-Id"))
			if diff := cmp.Diff(want, a.Body); diff != "" {
				t.Errorf("%s with key %q: %s", test.path, test.key, diff)
			}
			continue
		}
		e := a.echoed(t)
		if got := e.Header.Get("X-Consumer-Username"); got != test.username || e.Header.Get("X-Anonymous-Consumer") != test.anonymous {
			t.Errorf("%s with key %q: upstream saw %v", test.path, test.key, e.Header)
		}
		if test.path == "/or" && e.Header.Get("Apikey") != "" {
			t.Errorf("the key reached the upstream")
		}
	}
}

func TestPluginsOfOneRequestSeeEachOthersWork(t *testing.T) {
	g := wireGateway(t, orConfig, Options{})
	a := get(t, g, "/and", "apikey", "k3y")
	r, _ := g.Record(a.Header.Get("X-Kong-Request-Id"))
	// wireplugin has the lower priority and authenticates again, without a credential.
	if r.Consumer.Username != "anna" || r.Credential != nil {
		t.Errorf("%+v, %+v", r.Consumer, r.Credential)
	}
	if got := a.echoed(t).Header.Get("X-Consumer-Custom-Id"); got != "b-7" {
		t.Errorf("custom id %q", got)
	}
}

func TestStartFailsWithAReason(t *testing.T) {
	_, err := Run(t.Context(), Options{Config: "{}", PluginServers: []PluginServer{{Name: "talks", QueryCommand: "echo hello"}}})
	if err == nil {
		t.Error("a query command that talks was accepted")
	}
	for _, version := range []string{"dev", "", "1..2", "1.2.3.4"} {
		dump := `echo '{"Protocol":"ProtoBuf:1","Plugins":[{"Name":"p","Version":"` + version + `","Schema":{}}]}'`
		_, err := Run(t.Context(), Options{Config: "{}", PluginServers: []PluginServer{{Name: "p", QueryCommand: dump}}})
		if err == nil || !strings.Contains(err.Error(), `its VERSION field does not follow the "x.y.z" format`) {
			t.Errorf("version %q: %v", version, err)
		}
	}
	_, err = Run(t.Context(), Options{Config: "plugins: []", Plugins: []string{filepath.Join(binaries, "wireplugin")}})
	if err == nil || err.Error() != "error parsing declarative config:\nin '_format_version': required field missing" {
		t.Errorf("%v", err)
	}
}
