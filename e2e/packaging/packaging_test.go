// Package packaging checks that the files with which vault-auth is deployed
// agree with each other and with the program: Dockerfile, docker-compose.yml,
// kong.yml, kong.conf.example and deploy/.
package packaging

import (
	"context"
	"encoding/json"
	"fmt"
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
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"

	"kong-vault-auth/e2e/build"
	"kong-vault-auth/e2e/echo"
	"kong-vault-auth/e2e/example"
	"kong-vault-auth/e2e/vaultserver"
	"kong-vault-auth/kongtest"
	"kong-vault-auth/kongtest/gateway"
	"kong-vault-auth/pluginserver"
)

// installed is the plugin wherever it is installed. In /usr/local/bin, Kong would
// take it for a start command of the plugin server of its name.
const installed = "/opt/vault-auth/vault-auth"

// dumped is what Kong reads from the query command.
type dumped struct {
	Protocol   string
	SocketPath string
	Plugins    []struct{ Name string }
}

// bin is the folder of the compiled plugin.
var bin string

func TestMain(m *testing.M) {
	code, err := func() (code int, err error) {
		if bin, err = os.MkdirTemp("", "packaging-*"); err != nil {
			return 1, err
		}
		defer os.RemoveAll(bin)
		if err := build.Plugin(context.Background(), compiled(), false); err != nil {
			return 1, err
		}
		return m.Run(), nil
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// compiled is the plugin, under the name that it is installed by.
func compiled() string { return filepath.Join(bin, path.Base(installed)) }

// dump runs the program with the arguments of a command line and -dump, with which it still
// checks and uses them.
func dump(t *testing.T, args ...string) dumped {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), compiled(), append(args, "-dump")...).Output()
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
	set, offered := kongConf(t)
	fromConf := map[string]string{}
	for _, line := range offered {
		if line[0] == "vaults" { // which need the Lua files, that are in the image
			fromConf["KONG_VAULTS"] = line[1]
		}
	}
	for key, value := range set {
		fromConf["KONG_"+strings.ToUpper(key)] = value
	}
	if diff := cmp.Diff(fromConf, parseDockerfile(t).env); diff != "" {
		t.Errorf("kong.conf.example (-) and Dockerfile (+):\n%s", diff)
	}
}

// TestImageIsReadable by Kong's user, also if the files were checked out with a umask of 077:
// in the image they are root's.
func TestImageIsReadable(t *testing.T) {
	if diff := cmp.Diff([]string{"0755", "0755"}, parseDockerfile(t).modes); diff != "" {
		t.Errorf("modes of what is copied into the image:\n%s", diff)
	}
}

// TestBuildStartsFromSources: a change of an example doesn't compile the program again.
func TestBuildStartsFromSources(t *testing.T) {
	ignored := strings.Fields(read(t, ".dockerignore"))
	for _, name := range []string{".git", ".cache", "*.md", "docs", "docker-compose*.yml", "kong.yml"} {
		if !slices.Contains(ignored, name) {
			t.Errorf("%s is part of the build", name)
		}
	}
}

func TestKongConfFitsTheProgram(t *testing.T) {
	set, offered := kongConf(t)
	if diff := cmp.Diff([]string{installed, "-dump"}, words(set["pluginserver_vault_auth_query_cmd"])); diff != "" {
		t.Errorf("query command:\n%s", diff)
	}
	got := dump(t)
	second := dump(t, words(set["pluginserver_vault_secrets_query_cmd"])[1:3]...)
	if got.Protocol != "ProtoBuf:1" || got.Plugins[0].Name+","+second.Plugins[0].Name != set["pluginserver_names"] {
		t.Errorf("the query commands answer protocol %q, plugins %q and %q", got.Protocol, got.Plugins[0].Name, second.Plugins[0].Name)
	}
	if diff := cmp.Diff([]string{installed, "-name", "vault-secrets", "-dump"}, words(set["pluginserver_vault_secrets_query_cmd"])); diff != "" {
		t.Errorf("query command of the second:\n%s", diff)
	}
	if set["pluginserver_vault_secrets_socket"] != set["pluginserver_vault_auth_socket"] {
		t.Error("the plugins aren't at one socket")
	}
	if want := "bundled," + set["pluginserver_names"]; set["plugins"] != want {
		t.Errorf("plugins = %s, want %s", set["plugins"], want)
	}
	if command, there := set["pluginserver_vault_auth_start_cmd"]; there {
		t.Errorf("Kong is to start the plugin server: %s", command)
	}

	// The second way.
	starts, socket := 0, ""
	for _, line := range offered {
		if line[0] == "pluginserver_vault_auth_socket" {
			socket = line[1]
		}
	}
	for _, line := range offered {
		if line[0] != "pluginserver_vault_auth_start_cmd" {
			continue
		}
		starts++
		command := words(line[1])
		if command[0] != installed {
			t.Errorf("%q runs %s, want %s", line[1], command[0], installed)
		}
		if got := dump(t, command[1:]...).SocketPath; got != socket {
			t.Errorf("Kong expects the socket at %s, %q makes it at %s", socket, line[1], got)
		}
	}
	if starts == 0 {
		t.Error("kong.conf.example shows no start command")
	}
}

// TestKongConfNamesWhatThePluginReads: nginx doesn't pass on a variable that the operator
// doesn't know of. Those that a login shell sets are for commands only.
func TestKongConfNamesWhatThePluginReads(t *testing.T) {
	conf := read(t, "kong.conf.example")
	variable := regexp.MustCompile(`[gG]etenv\("([A-Z_]+)"\)`)
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", `{{$dir := .Dir}}{{range .GoFiles}}{{$.ImportPath}} {{$dir}}/{{.}}{{"\n"}}{{end}}`, ".")
	cmd.Dir = file(t, ".")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	ofShells := []string{"HOME", "USER", "LOGNAME", "SUDO_USER"}
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
			if !slices.Contains(ofShells, match[1]) && !regexp.MustCompile(`\b`+match[1]+`\b`).MatchString(conf) {
				t.Errorf("%s reads %s, which kong.conf.example does not name", pkg, match[1])
			}
		}
	}
	if found == 0 {
		t.Error("no variable was found: has the code another way to read them?")
	}
}

// atKongsSocket fails unless a command line of the program serves or checks the socket that
// kong.conf.example names.
func atKongsSocket(t *testing.T, whose string, command []string) {
	t.Helper()
	set, _ := kongConf(t)
	if command[0] != installed {
		t.Errorf("%s runs %s, want %s", whose, command[0], installed)
	}
	// The group need not exist on this machine.
	args := words(strings.Replace(strings.Join(command[1:], " "), "-socket-group kong", "-socket-group 0", 1))
	if got, want := dump(t, args...).SocketPath, set["pluginserver_vault_auth_socket"]; got != want {
		t.Errorf("%s is at socket %s, Kong expects %s", whose, got, want)
	}
}

func TestPluginServerOfKongConfIsWhereKongLooks(t *testing.T) {
	conf := read(t, "kong.conf.example")
	command := regexp.MustCompile(`(?m)^#\s+(/\S+ -socket .*)$`).FindStringSubmatch(conf)
	group := regexp.MustCompile(`(?m)^#\s+(-socket-mode .*)$`).FindStringSubmatch(conf)
	if command == nil || group == nil {
		t.Fatal("kong.conf.example shows no plugin server")
	}
	atKongsSocket(t, "kong.conf.example", words(command[1]))
	atKongsSocket(t, "kong.conf.example", words(command[1]+" "+group[1]))
}

// TestProgramLiesWhereKongStartsNothing, in all files from which users copy.
func TestProgramLiesWhereKongStartsNothing(t *testing.T) {
	for _, name := range []string{
		"README.md", "Dockerfile", "docker-compose.yml", "kong.conf.example", "docs/configuration.md", "docs/running.md", "docs/operations.md", "docs/vault.md", "docs/azure.md", "docs/metrics.md",
		"deploy/kubernetes.yaml", "deploy/vault-auth.service",
	} {
		if strings.Contains(read(t, name), "/usr/local/bin/vault-auth") {
			t.Errorf("%s has the program in /usr/local/bin", name)
		}
	}
}

func TestImageHoldsTheProgramAsKongsUserCannotChangeIt(t *testing.T) {
	d := parseDockerfile(t)
	if d.user != "kong" {
		t.Errorf("the image runs as %q", d.user)
	}
	type copied struct{ Dest, Chown, Chmod string }
	got := copied{d.copy.DestPath, d.copy.Chown, d.copy.Chmod}
	if diff := cmp.Diff(copied{installed, "root:root", "0755"}, got); diff != "" {
		t.Error(diff)
	}
	set, _ := kongConf(t)
	want := "install -d -o kong -g kong -m 0750 " + path.Dir(set["pluginserver_vault_auth_socket"])
	if made := d.runs[len(d.runs)-1]; made != want {
		t.Errorf("the image's last RUN is %q, want %q", made, want)
	}
	building := d.runs[len(d.runs)-2]
	for _, want := range []string{"CGO_ENABLED=0", "-trimpath", "-X main.version=", "-o " + d.copy.SourcePaths[0]} {
		if !strings.Contains(building, want) {
			t.Errorf("the image's program is built without %s: %s", want, building)
		}
	}
}

// TestImageHoldsKongsVaults, where kong.conf.example says that they must lie.
func TestImageHoldsKongsVaults(t *testing.T) {
	const tree = "/usr/local/share/lua/5.1/kong/vaults"
	if copies := "COPY --chown=root:root --chmod=0755 lua/kong/vaults " + tree + "\n"; !strings.Contains(read(t, "Dockerfile"), copies) {
		t.Errorf("the Dockerfile has no %s", copies)
	}
	if !strings.Contains(read(t, "kong.conf.example"), tree) {
		t.Errorf("kong.conf.example doesn't name %s", tree)
	}
	for _, name := range []string{"azure/init.lua", "azure/schema.lua", "hcv/init.lua", "hcv/schema.lua", "vault_auth_socket.lua"} {
		if lines := strings.Count(read(t, "lua/kong/vaults/"+name), "\n"); lines >= 100 {
			t.Errorf("%s has %d lines", name, lines)
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
		if service.Build == nil {
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

// TestWorkflowRunsWhatEverybodyRuns: all checks of CI are in .ci/run.
func TestWorkflowRunsWhatEverybodyRuns(t *testing.T) {
	var workflow struct {
		Jobs map[string]struct {
			Steps []struct{ Run string }
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, ".github/workflows/ci.yml")), &workflow); err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, job := range workflow.Jobs {
		for _, step := range job.Steps {
			if step.Run != "" {
				commands = append(commands, step.Run)
			}
		}
	}
	if diff := cmp.Diff([]string{".ci/run"}, commands); diff != "" {
		t.Errorf("the workflow's commands:\n%s", diff)
	}
	if info, err := os.Stat(file(t, ".ci/run")); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf(".ci/run can't be run: %v, %v", info, err)
	}
}

// TestBuilderGetsAllThatIsCompiled: .dockerignore excludes no package of the program.
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

// TestKongTakesKongYML: a gateway that validates it as Kong does, with the plugin's own schema,
// guards the route.
func TestKongTakesKongYML(t *testing.T) {
	g := gateway.Start(t, gateway.Options{
		Config:  read(t, "kong.yml"),
		Plugins: []string{compiled()},
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
	if name := route.Plugins[0].Name; name != path.Base(installed) {
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

// TestComposeRunsThePluginServerBesideKong: one image, and a volume for the socket,
// which Kong can't replace.
func TestComposeRunsThePluginServerBesideKong(t *testing.T) {
	set, _ := kongConf(t)
	services := compose(t).Services
	kong, server := services["kong"], services["vault-auth"]
	for name, service := range map[string]types.ServiceConfig{"kong": kong, "vault-auth": server} {
		if service.Build == nil || service.Build.Context != file(t, ".") || service.Image != kong.Image {
			t.Errorf("service %s is not the project's image %s", name, kong.Image)
		}
		socket := slices.IndexFunc(service.Volumes, func(v types.ServiceVolumeConfig) bool {
			return v.Type == "volume" && v.Source == "socket" && v.Target == path.Dir(set["pluginserver_vault_auth_socket"])
		})
		if socket < 0 || service.Volumes[socket].ReadOnly != (name == "kong") {
			t.Errorf("service %s has volumes %+v", name, service.Volumes)
		}
	}
	atKongsSocket(t, "service vault-auth", server.Entrypoint)
	atKongsSocket(t, "the health check of service vault-auth", server.HealthCheck.Test[1:])
	if waits := kong.DependsOn["vault-auth"].Condition; waits != types.ServiceConditionHealthy {
		t.Errorf("Kong starts when vault-auth is %q", waits)
	}
	// With "always", a server that has handed over its socket would take it back.
	if server.Restart != types.RestartPolicyOnFailure {
		t.Errorf("vault-auth is restarted %q", server.Restart)
	}
	if grace := time.Duration(*server.StopGracePeriod); server.StopSignal != "SIGTERM" || grace < 2*pluginserver.DefaultGrace {
		t.Errorf("vault-auth is stopped with %s, and killed after %s", server.StopSignal, grace)
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

// TestSeededCredentialOpensTheRoute does what docker compose does, without containers: it lets
// deploy/seed.sh prepare a Vault, and sends the request of docker-compose.yml's comment.
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
	g := gateway.Start(t, gateway.Options{
		Config:  config,
		Plugins: []string{compiled()},
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
