// Package nginxlua tests the Lua of Kong's vaults azure and hcv where there is no Kong: in a
// plain nginx with its Lua module, with the real program. The parts of Kong that it needs are in
// testdata.
package nginxlua

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/e2e/build"
	"kong-vault-auth/e2e/program"
	"kong-vault-auth/kongtest"
	"kong-vault-auth/unixsocket"
	"kong-vault-auth/unixsocket/sockettest"
)

// packages are those of Debian that are needed.
var packages = []string{"libnginx-mod-http-lua", "lua-socket", "lua-cjson"}

const module = "/usr/lib/nginx/modules/ngx_http_lua_module.so"

// require installs nginx with Lua where that is possible, or else skips the test.
func require(t *testing.T) {
	t.Helper()
	if installed() {
		return
	}
	if _, err := exec.LookPath("apt-get"); err == nil && os.Getuid() == 0 {
		cmd := exec.CommandContext(t.Context(), "apt-get", append([]string{"install", "-y", "-qq", "--no-install-recommends"}, packages...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1") // which starts no service
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Logf("apt-get: %v\n%s", err, out)
		}
	}
	if !installed() {
		t.Skipf("THE LUA OF KONG'S VAULTS IS NOT TESTED: apt-get install %s", strings.Join(packages, " "))
	}
}

func installed() bool {
	for _, file := range []string{module, "/usr/sbin/nginx", "/usr/share/lua/5.1/socket.lua"} {
		if _, err := os.Stat(file); err != nil {
			return false
		}
	}
	cjson, err := filepath.Glob("/usr/lib/*/lua/5.1/cjson.so")
	return err == nil && len(cjson) > 0
}

// answer is what a strategy's get returned, and in which phase.
type answer struct {
	Phase, Value, Err string
	TTL               float64
}

const config = `
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module ` + module + `;
user root;
worker_processes 1;
daemon off;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log notice;
env VAULT_AUTH_SECRETS_LISTEN;
env AZURE_CLIENT_SECRET;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
  lua_package_path "%[2]s/?.lua;%[2]s/?/init.lua;%[3]s/?.lua;;";
  init_by_lua_block {
    local cjson = require "cjson"
    local azure, hcv = require "kong.vaults.azure", require "kong.vaults.hcv"
    azure.init()
    hcv.init()
    local CONF = cjson.decode([==[%[4]s]==])
    function ASK(vault, resource, version)
      local value, err, ttl = (vault == "hcv" and hcv or azure).get(vault == "hcv" and {} or CONF, resource, version)
      return cjson.encode({ phase = ngx.get_phase(), value = value, err = err, ttl = ttl })
    end
    INIT = ASK("azure", "pg")
  }
  server {
    listen unix:%[1]s/http.socket;
    location /init { content_by_lua_block { ngx.print(INIT) } }
    location /ask {
      access_by_lua_block {
        local args = ngx.req.get_uri_args()
        ngx.print(ASK(args.vault, args.resource, tonumber(args.version)))
        ngx.exit(200)
      }
    }
  }
}
`

func TestStrategiesInNginx(t *testing.T) {
	require(t)
	dir := sockettest.Dir(t)
	sim := akvsim.New(akvsim.Options{})
	sim.AddApp(akvsim.App{ClientID: "c", ObjectID: "o", Secret: "s3cret", May: akvsim.Get | akvsim.List})
	sim.Put("pg", `{"password": "b4r"}`, nil)
	server, err := sim.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, server.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	plugin := filepath.Join(dir, "vault-auth")
	if err := build.Plugin(t.Context(), plugin, false); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "p.socket")
	start := func(env []string, name string, args ...string) {
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), env...)
		program.Start(t, cmd)
	}
	start(server.Environ(ca), plugin, "-socket", socket)
	if err := kongtest.NewClient(socket).AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}

	conf, err := json.Marshal(map[string]any{"vault_uri": akvsim.VaultURI, "tenant_id": akvsim.Tenant, "client_id": "c", "type": "secrets", "credentials_prefix": "AZURE", "ttl": 60})
	if err != nil {
		t.Fatal(err)
	}
	lua, err := filepath.Abs("../../lua")
	if err != nil {
		t.Fatal(err)
	}
	stubs, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, dir, lua, stubs, conf), 0o600); err != nil {
		t.Fatal(err)
	}
	start([]string{"VAULT_AUTH_SECRETS_LISTEN=" + filepath.Join(dir, "p-secrets.socket"), "AZURE_CLIENT_SECRET=s3cret"}, "/usr/sbin/nginx", "-p", dir, "-c", file, "-e", filepath.Join(dir, "error.log"))
	t.Cleanup(func() {
		if b, err := os.ReadFile(filepath.Join(dir, "error.log")); t.Failed() && err == nil {
			t.Logf("nginx has logged:\n%s", b)
		}
	})
	web := filepath.Join(dir, "http.socket")
	program.Eventually(t, "nginx listens", func() bool { return program.Listens("unix", web) })
	get := func(path string) (a answer) {
		t.Helper()
		resp, err := (&http.Client{Transport: unixsocket.Transport(web)}).Get("http://nginx" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || json.Unmarshal(b, &a) != nil {
			t.Fatalf("%s: %s %s %v", path, resp.Status, b, err)
		}
		return a
	}
	ask := func(vault, resource, version string) answer {
		t.Helper()
		return get("/ask?" + url.Values{"vault": {vault}, "resource": {resource}, "version": {version}}.Encode())
	}
	if diff := cmp.Diff(answer{"init", `{"password": "b4r"}`, "", 60}, get("/init")); diff != "" {
		t.Errorf("without cosockets:\n%s", diff)
	}
	if diff := cmp.Diff(answer{"access", `{"password": "b4r"}`, "", 60}, ask("azure", "pg", "")); diff != "" {
		t.Errorf("with cosockets:\n%s", diff)
	}
	for _, tt := range []struct{ vault, resource, version, want string }{
		{"azure", "none", "", `unable to retrieve secret "none" from the vault azure: there is no such secret`},
		{"azure", "pg", "2", "there is no version before the current one"},
		{"hcv", "pg", "", "token"},
	} {
		if got := ask(tt.vault, tt.resource, tt.version); got.Value != "" || !strings.Contains(got.Err, tt.want) {
			t.Errorf("%s %s#%s: %+v, want %s", tt.vault, tt.resource, tt.version, got, tt.want)
		}
	}
	if err := os.Remove(filepath.Join(dir, "p-secrets.socket")); err != nil {
		t.Fatal(err)
	}
	if got := ask("azure", "pg", ""); got.Value != "" || !strings.Contains(got.Err, "the plugin server vault-auth can't be asked at "+dir) {
		t.Errorf("without the plugin server: %+v", got)
	}
}
