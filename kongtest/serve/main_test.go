package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"kong-vault-auth/kongtest/gateway"
	"kong-vault-auth/kongtest/internal/testbuild"
)

const config = `
_format_version: "3.0"
services:
- url: %s
  routes:
  - paths: [/]
    plugins: [{name: wireplugin, config: {mode: %s}}]
`

// binaries holds the program and a plugin for it, built once.
var binaries string

func TestMain(m *testing.M) {
	os.Exit(testbuild.Run(m, &binaries, ".", "../testdata/wireplugin"))
}

func TestProgramServesReloadsAndStops(t *testing.T) {
	dir := t.TempDir()
	upstream := httptest.NewServer(http.NotFoundHandler())
	defer upstream.Close()
	file := filepath.Join(dir, "kong.yml")
	write := func(mode string) {
		if err := os.WriteFile(file, fmt.Appendf(nil, config, upstream.URL, mode), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("pass")
	cmd := exec.Command(filepath.Join(binaries, "serve"), "-config", file, "-listen", "127.0.0.1:0", "-plugin", filepath.Join(binaries, "wireplugin"))
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	lines := bufio.NewReader(stdout)
	ready, err := lines.ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(ready), "ready on ")
	if err != nil || !ok {
		t.Fatalf("%q, %v", ready, err)
	}
	if status := status(t, url); status != 404 {
		t.Errorf("%d before the reload", status)
	}
	write("exit")
	cmd.Process.Signal(syscall.SIGHUP)
	logged := bufio.NewReader(stderr)
	for starts := 0; starts < 2; { // of the plugin server
		line, err := logged.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		starts += strings.Count(line, "[notice] Starting wireplugin")
	}
	go io.Copy(io.Discard, logged)
	for status(t, url) != 403 {
		http.DefaultClient.CloseIdleConnections() // the old workers may still have answered
	}
	cmd.Process.Signal(syscall.SIGTERM)
	rest, _ := io.ReadAll(lines)
	if err := cmd.Wait(); err != nil || len(rest) > 0 {
		t.Errorf("ended with %v after %q", err, rest)
	}
}

func status(t *testing.T, url string) int {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

func TestProgramRefusesABadConfiguration(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "kong.yml")
	text := strings.ReplaceAll(fmt.Sprintf(config, "http://127.0.0.1", "pass"), "mode:", "mood:")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(binaries, "serve"), "-config", file, "-plugin", filepath.Join(binaries, "wireplugin"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.Run()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), "in 'mood': unknown field") {
		t.Errorf("%v, %s", cmd.ProcessState, &stderr)
	}
}

func TestKongsVariablesAreHonoured(t *testing.T) {
	env := map[string]string{
		"KONG_PLUGINSERVER_NAMES":                "vault-auth, other",
		"KONG_PLUGINSERVER_VAULT_AUTH_SOCKET":    "/run/v.socket",
		"KONG_PLUGINSERVER_VAULT_AUTH_START_CMD": "v -start",
		"KONG_PLUGINSERVER_VAULT_AUTH_QUERY_CMD": "v -dump",
		"KONG_PLUGINSERVER_OTHER_QUERY_CMD":      "o -dump",
		"KONG_NGINX_MAIN_ENV":                    "A; env B",
		"KONG_PREFIX":                            "/kong",
		"KONG_PROXY_LISTEN":                      "0.0.0.0:8443 ssl, 0.0.0.0:8000 reuseport",
		"KONG_DECLARATIVE_CONFIG":                "/etc/kong.yml",
	}
	got, _, err := options(nil, func(k string) string { return env[k] })
	if err != nil {
		t.Fatal(err)
	}
	want := gateway.Options{
		ConfigFile: "/etc/kong.yml", Listen: "0.0.0.0:8000", Prefix: "/kong", MainEnv: "A; env B", MaxRetries: -1,
		PluginServers: []gateway.PluginServer{
			{Name: "vault-auth", Socket: "/run/v.socket", StartCommand: "v -start", QueryCommand: "v -dump"},
			{Name: "other", Socket: "/usr/local/kong/other.socket", QueryCommand: "o -dump"},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(gateway.Options{}, "ErrorLog"), cmpopts.EquateComparable()); diff != "" {
		t.Error(diff)
	}
}
