package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kong-vault-auth/e2e/program"
	"kong-vault-auth/unixsocket/sockettest"
)

// gateway is a Kong that runs the compiled plugin.
type gateway interface {
	// URL is where the proxy listens for HTTP/1.1.
	URL() string
	// H2URL is where the proxy listens for HTTP/2 without TLS.
	H2URL() string
	// Configure replaces the declarative configuration, as a POST to
	// Kong's /config does. What Kong refuses is an error with Kong's words,
	// and changes nothing.
	Configure(kongYML string) error
	// Reload does what "kong reload" does.
	Reload() error
	// Server is vault-auth, or nil if Kong has started it.
	Server() *pluginServer
	// Socket is where Kong finds vault-auth.
	Socket() string
	// Log is what the error log holds so far.
	Log() string
	// Stop does what "kong stop" does.
	Stop() error
}

// genuineKong is the kong program to test with; empty: kongtest.
var genuineKong = os.Getenv("E2E_KONG")

// start starts a gateway with a configuration and an environment (NAME=value),
// and with a plugin server of its own in the same environment.
func start(t *testing.T, kongYML string, env ...string) gateway {
	t.Helper()
	return startBy(t, apart, kongYML, env...)
}

// startBy is start with a choice of who starts the plugin server. It returns when
// that one listens.
func startBy(t *testing.T, by supervisor, kongYML string, env ...string) gateway {
	t.Helper()
	// For the query command and the plugin server, and through nginx for one that
	// Kong starts.
	mainEnv := quickExit
	if passed := lookup(env, "KONG_NGINX_MAIN_ENV"); passed != "" {
		mainEnv = passed + "; env " + quickExit
	}
	env = append(slices.Clip(env), quickExit, "KONG_NGINX_MAIN_ENV="+mainEnv)
	prefix := sockettest.Dir(t)
	run := startKongtest
	if genuineKong != "" {
		run = startKong
	}
	g, err := run(t, kongYML, prefix, deploy(t, by, prefix, env), env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Stop(); err != nil {
			t.Errorf("stop the gateway: %v", err)
		}
		if t.Failed() {
			t.Logf("the gateway's error log:\n%s", g.Log())
		}
	})
	program.Eventually(t, "the plugin server listens", func() bool { return program.Listens("unix", g.Socket()) })
	return g
}

// quickExit keeps programs with the race detector from waiting for a second before they exit.
const quickExit = "GORACE=atexit_sleep_ms=0"

// lookup is the value of a variable in an environment; the last one counts.
func lookup(env []string, name string) string {
	for _, line := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			return value
		}
	}
	return ""
}

// pluginServers are the process ids of a gateway's plugin servers, old and
// new ones of Kong's by their command lines in /proc.
func pluginServers(t *testing.T, g gateway) []int {
	t.Helper()
	if s := g.Server(); s != nil {
		return []int{s.pid()}
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	wanted := fmt.Appendf(nil, "vault-auth\x00-kong-prefix\x00%s\x00", filepath.Dir(g.Socket()))
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// A process that has just ended can't be read.
		if line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline")); err == nil && bytes.Contains(line, wanted) {
			pids = append(pids, pid)
		}
	}
	return pids
}
