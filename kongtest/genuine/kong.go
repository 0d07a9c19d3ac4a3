// Package genuine starts and stops a genuine Kong that is installed on this machine,
// for tests and benchmarks.
package genuine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

	"kong-vault-auth/kongtest/gateway"
)

// Kong is a Kong that runs. Its methods are not for concurrent use.
type Kong struct {
	program, prefix         string
	env                     []string
	proxy, h2, admin, state string
	tls                     string // empty: there is no such listener
	configs                 int    // how many have been put into effect
}

// Options say what to start.
type Options struct {
	Program string // the kong command
	// Prefix is Kong's prefix folder, which Kong makes. It must be short: the
	// path of a socket in it can't be longer than 107 bytes.
	Prefix string
	// Servers are its plugin servers. One without a start command is
	// started by the caller.
	Servers []gateway.PluginServer
	// Database is the address of a PostgreSQL that has an empty database kong of
	// a user kong without a password. Without one there is no database.
	Database string
	// TLS has the proxy listen for TLS too.
	TLS bool
	// Env are further settings, such as KONG_NGINX_WORKER_PROCESSES=2. The
	// last one of a name counts.
	Env []string
}

// Start starts Kong with listeners of its own on loopback, and waits until it
// has started. Its workers are of the caller's user. An error holds what Kong
// printed.
func Start(o Options) (k *Kong, err error) {
	// Kong can't be told to take any free port, so one that was free a moment ago
	// may be somebody else's by now.
	for range 5 {
		if k, err = start(o); err == nil || !strings.Contains(err.Error(), "Address already in use") {
			break
		}
	}
	return k, err
}

func start(o Options) (*Kong, error) {
	k := &Kong{program: o.Program, prefix: o.Prefix}
	for _, addr := range []*string{&k.proxy, &k.h2, &k.admin, &k.state, &k.tls} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		*addr = l.Addr().String()
		if err := l.Close(); err != nil {
			return nil, err
		}
	}
	plugins, servers, secure := "bundled", "", ""
	if o.TLS {
		secure = ", " + k.tls + " ssl"
	}
	k.env = append(os.Environ(),
		"KONG_PREFIX="+k.prefix,
		"KONG_DATABASE=off",
		"KONG_PROXY_LISTEN="+k.proxy+", "+k.h2+" http2"+secure,
		"KONG_ADMIN_LISTEN="+k.admin,
		"KONG_ADMIN_GUI_LISTEN=off",
		"KONG_STATUS_LISTEN="+k.state,
		"KONG_ANONYMOUS_REPORTS=off",
	)
	if os.Getuid() == 0 {
		// Otherwise their user is nobody, which root's plugin servers refuse.
		k.env = append(k.env, "KONG_NGINX_USER=root root")
	}
	for _, s := range o.Servers {
		plugins, servers = plugins+","+s.Name, servers+","+s.Name
		setting := "KONG_PLUGINSERVER_" + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
		k.env = append(k.env, setting+"_SOCKET="+s.Socket, setting+"_QUERY_CMD="+s.QueryCommand)
		if s.StartCommand != "" {
			k.env = append(k.env, setting+"_START_CMD="+s.StartCommand)
		}
	}
	k.env = append(k.env, "KONG_PLUGINS="+plugins)
	if servers != "" {
		k.env = append(k.env, "KONG_PLUGINSERVER_NAMES="+servers[1:])
	}
	if o.Database != "" {
		host, port, err := net.SplitHostPort(o.Database)
		if err != nil {
			return nil, err
		}
		k.env = append(k.env, "KONG_DATABASE=postgres", "KONG_PG_HOST="+host, "KONG_PG_PORT="+port, "KONG_PG_USER=kong", "KONG_PG_DATABASE=kong")
	}
	k.env = append(k.env, o.Env...)
	if o.Database != "" {
		if err := k.Command("migrations", "bootstrap"); err != nil {
			return nil, err
		}
	}
	return k, k.Command("start")
}

// Command runs a command of Kong's on this prefix: reload, stop, health, ...
func (k *Kong) Command(args ...string) error {
	_, err := k.Output(args...)
	return err
}

// Output is Command with what it prints to its standard output.
func (k *Kong) Output(args ...string) (string, error) {
	cmd := exec.Command(k.program, append(args, "-p", k.prefix)...)
	cmd.Env = k.env
	var out, complaints strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kong %s: %w\n%s%s", args[0], err, out.String(), complaints.String())
	}
	return out.String(), nil
}

// With is the same Kong for commands with more settings, such as
// KONG_VAULT_AZURE_VAULT_URI=https://contoso.vault.azure.net.
func (k *Kong) With(env ...string) *Kong {
	with := *k
	with.env = append(slices.Clip(k.env), env...)
	return &with
}

// Without is the same Kong for commands without some settings of its environment.
func (k *Kong) Without(names ...string) *Kong {
	without := *k
	without.env = slices.DeleteFunc(slices.Clone(k.env), func(line string) bool {
		name, _, _ := strings.Cut(line, "=")
		return slices.Contains(names, name)
	})
	return &without
}

// At is the same Kong for commands in another prefix folder, where no Kong runs: beside a
// running one, they take its settings rather than those of a file.
func (k *Kong) At(prefix string) *Kong {
	at := *k
	at.prefix = prefix
	return &at
}

// Stop stops Kong.
func (k *Kong) Stop() error { return k.Command("stop") }

// Addr is where the proxy listens for HTTP/1.1.
func (k *Kong) Addr() string { return k.proxy }

// H2Addr is where the proxy listens for HTTP/2 without TLS.
func (k *Kong) H2Addr() string { return k.h2 }

// TLSAddr is where the proxy listens for TLS, with Options.TLS.
func (k *Kong) TLSAddr() string { return k.tls }

// StatusURL is where the Status API listens.
func (k *Kong) StatusURL() string { return "http://" + k.state }

// AdminURL is where the Admin API listens.
func (k *Kong) AdminURL() string { return "http://" + k.admin }

// Log is what the error log holds so far.
func (k *Kong) Log() string {
	b, err := os.ReadFile(filepath.Join(k.prefix, "logs", "error.log"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Admin calls the Admin API with a JSON body, or none.
func (k *Kong) Admin(method, path string, body []byte) (status int, answer []byte, err error) {
	req, err := http.NewRequest(method, "http://"+k.admin+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// Version is Kong's, such as 3.9.1.
func (k *Kong) Version() (string, error) {
	status, body, err := k.Admin(http.MethodGet, "/", nil)
	if err != nil {
		return "", err
	}
	var info struct{ Version string }
	if err := json.Unmarshal(body, &info); err != nil || info.Version == "" {
		return "", fmt.Errorf("GET /: %d %s", status, body)
	}
	return info.Version, nil
}

// SetConfig puts a declarative configuration into effect with a POST to
// /config, and returns when new connections meet it. It adds a route of its
// own, /config-N, to see that. What Kong refuses is an error with its words,
// and changes nothing.
func (k *Kong) SetConfig(text string) error {
	var config map[string]any
	if err := yaml.Unmarshal([]byte(text), &config); err != nil {
		return err
	}
	k.configs++
	path := fmt.Sprintf("/config-%d", k.configs)
	routes, _ := config["routes"].([]any)
	config["routes"] = append(routes, map[string]any{
		"name": "config", "paths": []any{path},
		"plugins": []any{map[string]any{"name": "request-termination", "config": map[string]any{"status_code": 204}}},
	})
	b, err := json.Marshal(config)
	if err != nil {
		return err
	}
	status, body, err := k.Admin(http.MethodPost, "/config", b)
	if err != nil {
		return err
	}
	if status >= 300 {
		return fmt.Errorf("kong refuses the configuration: %d\n%s", status, body)
	}
	// Each on a connection of its own, so that every worker is met.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	right := 0
	return eventually("the configuration is in effect", func() bool {
		resp, err := client.Get("http://" + k.proxy + path)
		if err != nil {
			return false
		}
		resp.Body.Close()
		if right++; resp.StatusCode != http.StatusNoContent {
			right = 0
		}
		return right >= 10
	})
}

// Reload is kong reload, and waits until the old workers have ended.
func (k *Kong) Reload() error {
	old, err := k.Workers()
	if err != nil {
		return err
	}
	if err := k.Command("reload"); err != nil {
		return err
	}
	return eventually("the old workers have ended", func() bool {
		now, err := k.Workers()
		return err == nil && len(now) > 0 && !slices.ContainsFunc(now, func(pid int) bool { return slices.Contains(old, pid) })
	})
}

// Workers are the process ids of nginx's workers.
func (k *Kong) Workers() ([]int, error) {
	b, err := os.ReadFile(filepath.Join(k.prefix, "pids", "nginx.pid"))
	if err != nil {
		return nil, err
	}
	master := strings.TrimSpace(string(b))
	children, err := os.ReadFile(filepath.Join("/proc", master, "task", master, "children"))
	if err != nil {
		return nil, err
	}
	var pids []int
	for field := range strings.FieldsSeq(string(children)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

func eventually(what string, ok func() bool) error {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return nil
		}
	}
	return errors.New("not within a minute: " + what)
}
