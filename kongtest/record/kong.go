package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"kong-vault-auth/kongtest/recording"
)

// kong is a genuine Kong that this program has started.
type kong struct {
	program, prefix string
	env             []string
	version         string
	proxy, h2       string
	admin           string
	configs         int // how many have been put into effect
}

func startKong(program, dir string, probe *recording.Probe) (*kong, error) {
	k := &kong{program: program, prefix: filepath.Join(dir, "kong")}
	for _, addr := range []*string{&k.proxy, &k.h2, &k.admin} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		*addr = l.Addr().String()
		if err := l.Close(); err != nil {
			return nil, err
		}
	}
	k.env = append(os.Environ(),
		"KONG_PREFIX="+k.prefix,
		"KONG_DATABASE=off",
		"KONG_PROXY_LISTEN="+k.proxy+", "+k.h2+" http2",
		"KONG_ADMIN_LISTEN="+k.admin,
		"KONG_ADMIN_GUI_LISTEN=off",
		"KONG_STATUS_LISTEN=off",
		// One worker, so that what belongs to a worker comes in one order.
		"KONG_NGINX_WORKER_PROCESSES=1",
		"KONG_TRUSTED_IPS="+recording.TrustedClient,
		"KONG_ANONYMOUS_REPORTS=off",
		"KONG_PLUGINS=bundled,vault-auth,"+recording.Plugin,
		"KONG_PLUGINSERVER_NAMES=vault-auth,"+recording.Plugin,
		"KONG_PLUGINSERVER_VAULT_AUTH_SOCKET="+filepath.Join(dir, "vault-auth.socket"),
		"KONG_PLUGINSERVER_VAULT_AUTH_QUERY_CMD=/bin/cat "+vaultAuthDump(dir),
		"KONG_PLUGINSERVER_PROBE_SOCKET="+probe.Socket(),
		"KONG_PLUGINSERVER_PROBE_QUERY_CMD="+probe.Query(),
	)
	if err := k.command("start"); err != nil {
		return nil, err
	}
	_, body, err := k.call(http.MethodGet, "/", nil)
	if err != nil {
		return nil, errors.Join(err, k.stop())
	}
	var info struct{ Version string }
	if err := json.Unmarshal(body, &info); err != nil {
		return nil, errors.Join(err, k.stop())
	}
	k.version = info.Version
	return k, nil
}

func (k *kong) command(name string) error {
	cmd := exec.Command(k.program, name, "-p", k.prefix)
	cmd.Env = k.env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kong %s: %w\n%s", name, err, out)
	}
	return nil
}

func (k *kong) stop() error { return k.command("stop") }

func (k *kong) Addr() string   { return k.proxy }
func (k *kong) H2Addr() string { return k.h2 }

// SetConfig adds a route of its own, to see when the configuration has reached
// the worker.
func (k *kong) SetConfig(text string) error {
	var config map[string]any
	if err := yaml.Unmarshal([]byte(text), &config); err != nil {
		return err
	}
	k.configs++
	path := fmt.Sprintf("/config-%d", k.configs)
	config["routes"] = []any{map[string]any{
		"name": "config", "paths": []any{path},
		"plugins": []any{map[string]any{"name": "request-termination", "config": map[string]any{"status_code": 204}}},
	}}
	b, err := json.Marshal(config)
	if err != nil {
		return err
	}
	status, body, err := k.call(http.MethodPost, "/config", b)
	if err != nil {
		return err
	}
	if status >= 300 {
		return fmt.Errorf("POST /config: %d %s", status, body)
	}
	return eventually("the configuration is in effect", func() bool {
		resp, err := http.Get("http://" + k.proxy + path)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusNoContent
	})
}

// Reload waits until the old workers have gone.
func (k *kong) Reload() error {
	old, err := k.workers()
	if err != nil {
		return err
	}
	// A new worker reads the configuration that was in effect from Kong's own
	// database file, since there is no declarative file.
	if err := k.command("reload"); err != nil {
		return err
	}
	return eventually("the old workers are gone", func() bool {
		now, err := k.workers()
		return err == nil && len(now) > 0 && !slices.ContainsFunc(now, func(pid string) bool { return slices.Contains(old, pid) })
	})
}

// workers are the process ids of nginx's children.
func (k *kong) workers() ([]string, error) {
	b, err := os.ReadFile(filepath.Join(k.prefix, "pids", "nginx.pid"))
	if err != nil {
		return nil, err
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(b)))
	if err != nil {
		return nil, err
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	return strings.Fields(string(children)), err
}

func eventually(what string, ok func() bool) error {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return nil
		}
	}
	return errors.New("in vain for a minute: " + what)
}
