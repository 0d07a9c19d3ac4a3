package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
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
	// Prefix is Kong's prefix folder, which holds the plugin's socket.
	Prefix() string
	// Log is what the error log holds so far.
	Log() string
	// Stop does what "kong stop" does.
	Stop() error
}

// patience bounds every wait for something that has to happen, generously:
// how long it takes is not what is tested.
const patience = 30 * time.Second

// genuineKong is the kong program to test with; without one it is kongtest.
var genuineKong = os.Getenv("E2E_KONG")

// start starts a gateway with a configuration and an environment
// (NAME=value), and waits until the plugin server listens.
func start(t *testing.T, kongYML string, env ...string) gateway {
	t.Helper()
	// For the query command, and through nginx for the plugin server.
	mainEnv := quickExit
	if passed := lookup(env, "KONG_NGINX_MAIN_ENV"); passed != "" {
		mainEnv = passed + "; env " + quickExit
	}
	env = append(slices.Clip(env), quickExit, "KONG_NGINX_MAIN_ENV="+mainEnv)
	run := startKongtest
	if genuineKong != "" {
		run = startKong
	}
	g, err := run(t, kongYML, env)
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
	eventually(t, "the plugin server listens", func() bool { return listening(g) })
	return g
}

// quickExit is for programs with the race detector, which else wait for a
// second before they exit.
const quickExit = "GORACE=atexit_sleep_ms=0"

func listening(g gateway) bool {
	conn, err := net.Dial("unix", filepath.Join(g.Prefix(), "vault-auth.socket"))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// lookup is the value of a variable in an environment; the last one counts.
func lookup(env []string, name string) string {
	for _, line := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			return value
		}
	}
	return ""
}

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !ok() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("in vain for %s: %s", patience, what)
		}
	}
}

// pluginServers are the process ids of a gateway's plugin servers, old and
// new, by their command lines in /proc.
func pluginServers(t *testing.T, g gateway) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	wanted := fmt.Appendf(nil, "vault-auth\x00-kong-prefix\x00%s\x00", g.Prefix())
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
