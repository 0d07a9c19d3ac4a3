// Package packaging checks that the files with which vault-auth is deployed
// agree with each other and with the program: Dockerfile, docker-compose.yml,
// kong.yml, kong.conf.example and deploy/.
package packaging

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
	"kong-vault-auth/e2e/build"
	"kong-vault-auth/e2e/echo"
	"kong-vault-auth/e2e/example"
	"kong-vault-auth/e2e/vaultserver"
	"kong-vault-auth/kongtest"
)

// program is the plugin in the image and in kong.conf.example.
const program = "/usr/local/bin/vault-auth"

// dumped is what Kong reads from the query command.
type dumped struct {
	Protocol   string
	SocketPath string
	Plugins    []struct{ Name string }
}

// compile builds the plugin under the name it is installed by.
func compile(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), path.Base(program))
	if err := build.Plugin(t.Context(), bin, false); err != nil {
		t.Fatal(err)
	}
	return bin
}

// dump runs the program with -dump behind the arguments of a command line,
// which it checks and uses all the same.
func dump(t *testing.T, bin string, args ...string) dumped {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), bin, append(args, "-dump")...).Output()
	if err != nil {
		t.Fatalf("vault-auth %s: %v", strings.Join(args, " "), err)
	}
	var d dumped
	if err := json.Unmarshal(out, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestImageAndKongConfSayTheSame(t *testing.T) {
	set, _ := kongConf(t)
	fromConf := map[string]string{}
	for key, value := range set {
		fromConf["KONG_"+strings.ToUpper(key)] = value
	}
	if diff := cmp.Diff(fromConf, parseDockerfile(t).env); diff != "" {
		t.Errorf("kong.conf.example (-) and Dockerfile (+):\n%s", diff)
	}
}

func TestKongConfFitsTheProgram(t *testing.T) {
	set, offered := kongConf(t)
	bin := compile(t)
	query, start := words(set["pluginserver_vault_auth_query_cmd"]), words(set["pluginserver_vault_auth_start_cmd"])
	if query[0] != program || start[0] != program {
		t.Errorf("the commands run %s and %s, want %s", query[0], start[0], program)
	}
	if diff := cmp.Diff([]string{program, "-dump"}, query); diff != "" {
		t.Errorf("query command:\n%s", diff)
	}
	got := dump(t, bin)
	if got.Protocol != "ProtoBuf:1" || got.Plugins[0].Name != set["pluginserver_names"] {
		t.Errorf("the query command answers protocol %q, plugin %q", got.Protocol, got.Plugins[0].Name)
	}
	if want := "bundled," + set["pluginserver_names"]; set["plugins"] != want {
		t.Errorf("plugins = %s, want %s", set["plugins"], want)
	}

	commands := []string{set["pluginserver_vault_auth_start_cmd"]}
	for _, line := range offered {
		if line[0] == "pluginserver_vault_auth_start_cmd" {
			commands = append(commands, line[1])
		}
	}
	for _, command := range commands {
		if got := dump(t, bin, words(command)[1:]...).SocketPath; got != set["pluginserver_vault_auth_socket"] {
			t.Errorf("Kong expects the socket at %s, %q makes it at %s", set["pluginserver_vault_auth_socket"], command, got)
		}
	}
}

// TestKongConfNamesWhatThePluginReads: a variable that nobody knows of stays
// behind in nginx.
func TestKongConfNamesWhatThePluginReads(t *testing.T) {
	conf := read(t, "kong.conf.example")
	variable := regexp.MustCompile(`[gG]etenv\("([A-Z_]+)"\)`)
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", `{{$dir := .Dir}}{{range .GoFiles}}{{$.ImportPath}} {{$dir}}/{{.}}{{"\n"}}{{end}}`, ".")
	cmd.Dir = file(t, ".")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for line := range strings.Lines(string(out)) {
		pkg, source, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(pkg, "kong-vault-auth") {
			continue
		}
		code, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range variable.FindAllStringSubmatch(string(code), -1) {
			found++
			if !regexp.MustCompile(`\b` + match[1] + `\b`).MatchString(conf) {
				t.Errorf("%s reads %s, which kong.conf.example does not name", pkg, match[1])
			}
		}
	}
	if found == 0 {
		t.Error("no variable was found: has the code another way to read them?")
	}
}

func TestSidecarCommandOfKongConfIsUnderstood(t *testing.T) {
	sidecar := regexp.MustCompile(`(?m)^#\s+vault-auth (-socket .*)$`).FindStringSubmatch(read(t, "kong.conf.example"))
	if sidecar == nil {
		t.Fatal("kong.conf.example shows no sidecar")
	}
	// The group of the example need not exist on this machine.
	args := words(strings.Replace(sidecar[1], "-socket-group kong", "-socket-group 0", 1))
	if got, want := dump(t, compile(t), args...).SocketPath, args[1]; got != want {
		t.Errorf("the sidecar's socket is at %s, want %s", got, want)
	}
}

func TestImageHoldsTheProgramAsKongsUserCannotChangeIt(t *testing.T) {
	d := parseDockerfile(t)
	if d.user != "kong" {
		t.Errorf("the image runs as %q", d.user)
	}
	type copied struct{ Dest, Chown, Chmod string }
	got := copied{d.copy.DestPath, d.copy.Chown, d.copy.Chmod}
	if diff := cmp.Diff(copied{program, "root:root", "0755"}, got); diff != "" {
		t.Error(diff)
	}
	building := d.runs[len(d.runs)-1]
	for _, want := range []string{"CGO_ENABLED=0", "-trimpath", "-X main.version=", "-o " + d.copy.SourcePaths[0]} {
		if !strings.Contains(building, want) {
			t.Errorf("the image's program is built without %s: %s", want, building)
		}
	}
}

func TestImagesArePinned(t *testing.T) {
	d := parseDockerfile(t)
	images := d.from
	for name, service := range compose(t).Services {
		if service.Image == "" && service.Build == nil {
			t.Errorf("service %s has no image", name)
		}
		if service.Image != "" {
			images = append(images, service.Image)
		}
	}
	pinned := regexp.MustCompile(`^[a-z0-9/.-]+:\d+(\.\d+\.\d+)?$`)
	for _, image := range images {
		if !pinned.MatchString(image) {
			t.Errorf("image %s has no exact version", image)
		}
	}
}

func TestImagesAreThoseThatTheTestsRun(t *testing.T) {
	mod := func(name string) *modfile.File {
		f, err := modfile.ParseLax(name, []byte(read(t, name)), nil)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	vault := ""
	for _, r := range mod("e2e/vaultd/go.mod").Require {
		if r.Mod.Path == "github.com/hashicorp/vault" {
			vault = strings.TrimPrefix(r.Mod.Version, "v")
		}
	}
	services := compose(t).Services
	for _, name := range []string{"vault", "seed"} {
		if got, want := services[name].Image, "hashicorp/vault:"+vault; got != want {
			t.Errorf("service %s runs %s, the tests %s", name, got, want)
		}
	}

	golang, kong := parseDockerfile(t).from[0], parseDockerfile(t).from[1]
	if got, least := "v"+strings.TrimPrefix(golang, "golang:"), "v"+mod("go.mod").Go.Version; semver.Compare(got, least) < 0 {
		t.Errorf("the image is built with Go %s, go.mod needs %s", got, least)
	}
	if got := "v" + strings.TrimPrefix(kong, "kong:"); semver.Compare(got, "v3.8.0") < 0 {
		t.Errorf("Kong %s is older than 3.8 and fails open", got)
	}
}

// TestBuilderGetsAllThatIsCompiled: what .dockerignore names doesn't reach it.
func TestBuilderGetsAllThatIsCompiled(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{.ImportPath}}", ".")
	cmd.Dir = file(t, ".")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	ignored := strings.Split(read(t, ".dockerignore"), "\n")
	for _, pkg := range words(string(out)) {
		dir, ours := strings.CutPrefix(pkg, "kong-vault-auth/")
		if top, _, _ := strings.Cut(dir, "/"); ours && slices.Contains(ignored, top) {
			t.Errorf(".dockerignore keeps %s from the builder", dir)
		}
	}
}

// TestKongTakesKongYML: a gateway that checks it as Kong does, with the
// plugin's own schema, guards the route.
func TestKongTakesKongYML(t *testing.T) {
	g := kongtest.Start(t, kongtest.Options{
		Config:  read(t, "kong.yml"),
		Plugins: []string{compile(t)},
		Env:     append(os.Environ(), "HCV_TOKEN=unused"),
	})
	resp, err := http.Get(g.URL() + "/orders")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without tokens: %s", resp.Status)
	}
	if log := g.ErrorLog(); slices.ContainsFunc(log, func(l kongtest.LogLine) bool { return l.Level == "error" }) {
		t.Errorf("error log: %v", log)
	}
}

func TestComposeFitsKongYML(t *testing.T) {
	project, declared := compose(t), parseKongYML(t)
	upstream, kong := project.Services["upstream"], project.Services["kong"]
	route := declared.Services[0].Routes[0]
	hcv := route.Plugins[0].Config.HCV

	u, err := url.Parse(declared.Services[0].URL)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := u.Host, "127.0.0.1:"+environment(upstream)["HTTP_PORT"]; got != want {
		t.Errorf("kong.yml's service is at %s, the upstream at %s", got, want)
	}
	if name := route.Plugins[0].Name; name != path.Base(program) {
		t.Errorf("kong.yml's plugin is %s", name)
	}
	if got, want := environment(project.Services["vault"])["VAULT_ADDR"], "http://"+hcv.Host+":"+strconv.Itoa(hcv.Port); got != want {
		t.Errorf("Vault is at %s, kong.yml says %s", got, want)
	}
	for name, service := range project.Services {
		if name != "upstream" && service.NetworkMode != "service:upstream" {
			t.Errorf("service %s does not share the loopback that kong.yml counts on", name)
		}
	}

	published := map[string]string{}
	for _, p := range upstream.Ports {
		if p.HostIP != "127.0.0.1" {
			t.Errorf("port %s is published at %s", p.Published, p.HostIP)
		}
		published[p.Published] = strconv.Itoa(int(p.Target))
	}
	want := map[string]string{"8000": "8000", strconv.Itoa(hcv.Port): strconv.Itoa(hcv.Port)}
	if diff := cmp.Diff(want, published); diff != "" {
		t.Errorf("published ports:\n%s", diff)
	}
	if got := environment(kong)["KONG_PROXY_LISTEN"]; got != "0.0.0.0:8000" {
		t.Errorf("Kong listens at %s", got)
	}

	mounted := map[string]string{}
	for _, v := range kong.Volumes {
		mounted[v.Target] = v.Source
	}
	if got := mounted[environment(kong)["KONG_DECLARATIVE_CONFIG"]]; got != file(t, "kong.yml") {
		t.Errorf("Kong's declarative configuration is %q", got)
	}
	if kong.Build.Context != file(t, ".") {
		t.Errorf("Kong is built in %s", kong.Build.Context)
	}
	for key := range parseDockerfile(t).env {
		if _, again := environment(kong)[key]; again {
			t.Errorf("%s is in the image and in docker-compose.yml", key)
		}
	}
	reference := regexp.MustCompile(`^\{vault://env/([a-z-]+)\}$`).FindStringSubmatch(hcv.Token)
	variable := strings.ToUpper(strings.ReplaceAll(reference[1], "-", "_"))
	if got, want := environment(kong)[variable], environment(project.Services["seed"])["HCV_TOKEN"]; got == "" || got != want {
		t.Errorf("Kong finds Vault token %q in %s, the seed makes %q", got, variable, want)
	}
}

func TestComposeWaitsForHealth(t *testing.T) {
	for name, service := range compose(t).Services {
		if name != "seed" && service.HealthCheck == nil {
			t.Errorf("service %s has no health check", name)
		}
		for on, dependency := range service.DependsOn {
			// The upstream's network is there before the upstream answers.
			if dependency.Condition == "service_started" && on != "upstream" {
				t.Errorf("service %s does not wait for %s to be healthy", name, on)
			}
		}
	}
}

// TestSeededCredentialOpensTheRoute does what docker compose does, but for the
// containers: it lets deploy/seed.sh prepare a Vault, and sends the request of
// docker-compose.yml's comment.
func TestSeededCredentialOpensTheRoute(t *testing.T) {
	vault, err := vaultserver.Start(t.Context(), vaultserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer vault.Close()
	upstream := httptest.NewServer(echo.Handler(nil))
	defer upstream.Close()
	token := environment(compose(t).Services["seed"])[example.TokenVariable]
	replay(t, vault, seedCommands(t, token))

	config, err := example.KongYML(upstream.URL, vault.Addr)
	if err != nil {
		t.Fatal(err)
	}
	g := kongtest.Start(t, kongtest.Options{
		Config:  config,
		Plugins: []string{compile(t)},
		Env:     append(os.Environ(), example.TokenVariable+"="+token),
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.URL()+"/orders", nil)
	if err != nil {
		t.Fatal(err)
	}
	curl := read(t, "docker-compose.yml")
	for _, h := range regexp.MustCompile(`-H '(\w+): ([^']+)'`).FindAllStringSubmatch(curl, -1) {
		req.Header.Set(h[1], h[2])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var seen echo.Request
	if err := json.NewDecoder(resp.Body).Decode(&seen); err != nil || seen.Header.Get("X-Consumer-Username") != example.Consumer {
		t.Errorf("%s, %v, the upstream saw %v", resp.Status, err, seen.Header)
	}
}
