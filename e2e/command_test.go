package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kong-vault-auth/control"
	"kong-vault-auth/pluginserver/servertest"
)

// operator runs the operator's commands on a gateway's node.
type operator struct {
	*testEnv
	env    []string
	output servertest.Buffer // everything that the commands have written
}

// operates returns an operator whose commands get env, the store's root token, and the control
// socket of the gateway's plugin server.
func (w *testEnv) operates(g gateway, env ...string) *operator {
	w.Helper()
	return &operator{testEnv: w, env: append(append(os.Environ(),
		"VAULT_TOKEN="+w.vault.Token, control.Variable+"="+control.Beside(g.Socket()), quickExit), env...)}
}

// types runs a command, which must end with the status, and returns its standard output.
func (o *operator) types(status int, args ...string) string {
	o.Helper()
	cmd := exec.Command(filepath.Join(plugins, "vault-auth"), args...)
	cmd.Env = o.env
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		o.Fatal(err)
	}
	_, _ = o.output.Write([]byte(stdout.String() + stderr.String()))
	if got := cmd.ProcessState.ExitCode(); got != status {
		o.Fatalf("%s: status %d\n%s%s", strings.Join(args, " "), got, &stdout, &stderr)
	}
	return stdout.String()
}

// kept is the newest pair in a file that --secret-file names.
func (o *operator) kept(file string) pair {
	o.Helper()
	b, err := os.ReadFile(file)
	o.must(err)
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	var line struct {
		AccessToken string `json:"access_token"`
		SecretToken string `json:"secret_token"`
	}
	o.must(json.Unmarshal([]byte(lines[len(lines)-1]), &line))
	return pair{line.AccessToken, line.SecretToken}
}

// TestRotateWithGraceRefusesNobody: during and after "credential rotate --grace", clients with
// the old secret token and with the new one are accepted, under load.
func TestRotateWithGraceRefusesNobody(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	env := w.node(object{"ttl": 3600})
	g := w.startUnderWatch(w.guarded("/", object{"vault": "hcv"}), env, &[]string{w.token})
	o := w.operates(g, env...)
	secrets := filepath.Join(t.TempDir(), "secrets.jsonl")
	o.types(0, "credential", "create", "--vault", "hcv", "--consumer", aliceID, "--secret-file", secrets)
	p := o.kept(secrets)
	w.warm(g, []pair{p})

	r := &rotating{access: p.access, valid: []string{p.secret}}
	f := startFlow(w, g, 3, r.use)
	for i := range rotations {
		f.await(t, 50)
		old := r.valid[0]
		r.holds(old) // the one that this rotation leaves in force
		said := o.types(0, "credential", "rotate", "--vault", "hcv", p.access, "--grace", "1h", "--secret-file", secrets)
		next := o.kept(secrets)
		if next.secret == old || !strings.Contains(o.output.String(), "in force on this node now") {
			t.Errorf("rotation %d: %s", i, said)
		}
		r.holds(next.secret, old)
		f.await(t, 50)
		for _, secret := range []string{next.secret, old} {
			if a := w.ask(g, pair{p.access, secret}); a.Status != 200 {
				t.Errorf("rotation %d: %d %s", i, a.Status, a.Body)
			}
		}
	}
	f.stop().all200(t, "rotations by the command")
}
