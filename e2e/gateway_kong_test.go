package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// genuine is a Kong of the machine: the program that E2E_KONG names.
type genuine struct {
	deployment
	t      *testing.T
	prefix string
	env    []string
	proxy  string // address for HTTP/1.1
	h2     string // address for HTTP/2 without TLS
	admin  string // address of the Admin API
}

// startKong starts it as its documentation says for external plugins.
func startKong(t *testing.T, kongYML, prefix string, d deployment, env []string) (_ gateway, err error) {
	k := &genuine{deployment: d, t: t, prefix: prefix}
	for _, addr := range []*string{&k.proxy, &k.h2, &k.admin} {
		if *addr, err = freeAddr(); err != nil {
			return nil, err
		}
	}
	if err := k.declare(kongYML); err != nil {
		return nil, err
	}
	k.env = append(os.Environ(),
		"KONG_PREFIX="+prefix,
		"KONG_DATABASE=off",
		"KONG_DECLARATIVE_CONFIG="+k.path("declared.yml"),
		"KONG_PROXY_LISTEN="+k.proxy+", "+k.h2+" http2",
		"KONG_ADMIN_LISTEN="+k.admin,
		"KONG_ADMIN_GUI_LISTEN=off",
		"KONG_STATUS_LISTEN=off",
		"KONG_NGINX_WORKER_PROCESSES=2",
		"KONG_PLUGINS=bundled,vault-auth,early-auth",
		"KONG_PLUGINSERVER_NAMES=vault-auth,early-auth",
	)
	if os.Getuid() == 0 {
		// Else its workers are nobody, who may not speak to root's plugin servers.
		k.env = append(k.env, "KONG_NGINX_USER=root root")
	}
	for _, server := range d.servers {
		setting := "KONG_PLUGINSERVER_" + strings.ToUpper(strings.ReplaceAll(server.Name, "-", "_"))
		k.env = append(k.env, setting+"_SOCKET="+server.Socket, setting+"_QUERY_CMD="+server.QueryCommand)
		if server.StartCommand != "" {
			k.env = append(k.env, setting+"_START_CMD="+server.StartCommand)
		}
	}
	k.env = append(k.env, env...)
	if err := k.command("start", "-p", prefix); err != nil {
		return nil, err
	}
	return k, nil
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (k *genuine) path(name string) string { return k.prefix + "/" + name }

func (k *genuine) declare(kongYML string) error {
	return os.WriteFile(k.path("declared.yml"), []byte(kongYML), 0o600)
}

func (k *genuine) command(args ...string) error {
	cmd := exec.Command(genuineKong, args...)
	cmd.Env = k.env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kong %s: %w\n%s", args[0], err, out)
	}
	return nil
}

func (k *genuine) URL() string   { return "http://" + k.proxy }
func (k *genuine) H2URL() string { return "http://" + k.h2 }

func (k *genuine) Configure(kongYML string) error {
	resp, err := http.Post("http://"+k.admin+"/config", "application/json", bytes.NewReader([]byte(kongYML)))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("Kong refuses the configuration: %s\n%s", resp.Status, body)
	}
	// For the next reload.
	return k.declare(kongYML)
}

func (k *genuine) Reload() error { return k.command("reload", "-p", k.prefix) }

func (k *genuine) Log() string {
	b, err := os.ReadFile(k.path("logs/error.log"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (k *genuine) Stop() error { return k.command("stop", "-p", k.prefix) }
