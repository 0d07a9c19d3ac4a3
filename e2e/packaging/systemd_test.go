package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/unit"
	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/control"
	"kong-vault-auth/e2e/program"
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/unixsocket/sockettest"
)

// unitFile is one of the units in deploy/: the values of each setting, by "Section.Name".
func unitFile(t *testing.T, name string) map[string][]string {
	t.Helper()
	options, err := unit.DeserializeOptions(strings.NewReader(read(t, "deploy/"+name)))
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string][]string{}
	for _, o := range options {
		settings[o.Section+"."+o.Name] = append(settings[o.Section+"."+o.Name], o.Value)
	}
	return settings
}

// setTo fails unless settings of a unit have these values.
func setTo(t *testing.T, name string, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	for key, values := range unitFile(t, name) {
		if _, asked := want[key]; asked {
			got[key] = strings.Join(values, "\n")
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("deploy/%s:\n%s", name, diff)
	}
}

func noEnvironment(string) string { return "" }

// TestUnitsFitKong: the socket is where kong.conf.example says, is there before Kong
// starts, and outlives the plugin server.
func TestUnitsFitKong(t *testing.T) {
	conf, _ := kongConf(t)
	const secrets = "VAULT_AUTH_SECRETS_LISTEN=/run/vault-auth-secrets/vault-auth.socket" // for both
	setTo(t, "vault-auth.socket", map[string]string{
		"Unit.Before":                    "kong.service",
		"Socket.ListenStream":            conf["pluginserver_vault_auth_socket"],
		"Socket.SocketGroup":             "kong",
		"Socket.SocketMode":              "0660",
		"Socket.TriggerLimitIntervalSec": "0",
	})
	setTo(t, "vault-auth.service", map[string]string{
		"Unit.Requires":               "vault-auth.socket",
		"Unit.Before":                 "kong.service",
		"Unit.StartLimitIntervalSec":  "0",
		"Service.ExecStart":           installed + " -socket-group kong",
		"Service.User":                "vault-auth",
		"Service.Environment":         control.Variable + "=" + control.Find(noEnvironment) + "\n" + secrets,
		"Service.RuntimeDirectory":    filepath.Base(filepath.Dir(control.Find(noEnvironment))) + " vault-auth-secrets",
		"Service.SupplementaryGroups": "kong",
		"Service.Restart":             "always",
		"Service.RestartSec":          "100ms",
		"Service.NoNewPrivileges":     "yes",
		"Service.ProtectSystem":       "strict",
	})
	setTo(t, "kong.service.d/vault-auth.conf", map[string]string{
		"Unit.Wants":          "vault-auth.socket vault-auth.service",
		"Unit.After":          "vault-auth.socket vault-auth.service",
		"Service.Environment": secrets,
	})
	setTo(t, "vault-auth-admin.service", map[string]string{
		"Service.ExecStart":        installed + " admin --listen unix:/run/vault-auth-admin/vault-auth-admin.socket --audit-log /var/log/vault-auth-admin/audit.jsonl",
		"Service.User":             "vault-auth",
		"Service.Environment":      "VAULT_AUTH_VAULTS_FILE=/var/lib/vault-auth/vaults.yml\n" + control.Variable + "=" + control.Find(noEnvironment),
		"Service.RuntimeDirectory": "vault-auth-admin",
		"Service.StateDirectory":   "vault-auth",
		"Service.LogsDirectory":    "vault-auth-admin",
		"Service.NoNewPrivileges":  "yes",
		"Service.ProtectSystem":    "strict",
	})
	// A namespace of users would hide the groups of Kong's workers.
	if private := unitFile(t, "vault-auth.service")["Service.PrivateUsers"]; private != nil {
		t.Errorf("PrivateUsers=%s", private)
	}
	limit := unitFile(t, "vault-auth.service")["Service.TimeoutStopSec"]
	if stop, err := time.ParseDuration(limit[0] + "s"); err != nil || stop < 2*pluginserver.DefaultGrace {
		t.Errorf("TimeoutStopSec=%s", limit)
	}
}

// TestUnitsAreSystemds: systemd knows every setting, and rates the hardening of the services as
// good.
func TestUnitsAreSystemds(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("there is no systemd-analyze")
	}
	dir := t.TempDir()
	var files []string
	for _, name := range []string{"vault-auth.service", "vault-auth-admin.service", "vault-auth.socket"} {
		// The program isn't installed here.
		text := strings.ReplaceAll(read(t, "deploy/"+name), installed, compiled())
		files = append(files, filepath.Join(dir, name))
		if err := os.WriteFile(files[len(files)-1], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", append([]string{"verify", "--man=no"}, files...)...).CombinedOutput()
	if err != nil || strings.Contains(string(out), dir) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// Of 100; 20 is systemd's "OK" at its best.
	for _, service := range files[:2] {
		out, err = exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=true", "--threshold=20", service).CombinedOutput()
		if err != nil {
			t.Errorf("systemd-analyze security %s: %v\n%s", service, err, out)
		}
	}
}

// TestSystemdPassesTheSocketOn, by systemd's own code for it, to the service's command line.
func TestSystemdPassesTheSocketOn(t *testing.T) {
	if _, err := exec.LookPath("systemd-socket-activate"); err != nil {
		t.Skip("there is no systemd-socket-activate")
	}
	socket := filepath.Join(sockettest.Dir(t), "s")
	args := words(unitFile(t, "vault-auth.service")["Service.ExecStart"][0])[1:]
	if i := slices.Index(args, "kong"); i >= 0 {
		args[i] = "0" // the group need not exist on this machine
	}
	program.Start(t, exec.Command("systemd-socket-activate", append([]string{"--listen=" + socket, compiled()}, args...)...))
	program.Eventually(t, "the plugin server answers at the socket that it was given", func() bool {
		return exec.Command(compiled(), "-check", "-socket", socket).Run() == nil
	})
}
