package command

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"kong-vault-auth/azurevault/akvsim"
)

// process is the command as a process of its own, with a home of its own. It isn't
// started yet.
func process(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	link := filepath.Join(dir, "vault-auth") // the name by which testscript.Main knows it
	if err := os.Symlink(program, link); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), link, args...)
	cmd.Env = append([]string{"OUTPUT=" + dir, "HOME=" + dir}, env...)
	return cmd
}

// vaultsFile writes a vaults file, and returns the variable that names it.
func vaultsFile(t *testing.T, contents string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "vaults.yml")
	if err := os.WriteFile(name, []byte(contents), 0o600); err != nil {
		t.Fatal(err)
	}
	return "VAULT_AUTH_VAULTS_FILE=" + name
}

// simulatedAzure starts an Azure with one application. env is the environment of an
// operator who logs in as that, with the vault object kong-auth.
func simulatedAzure(t *testing.T) (sim *akvsim.Sim, env []string) {
	t.Helper()
	sim = akvsim.New(akvsim.Options{})
	sim.AddApp(akvsim.App{ClientID: clientID, ObjectID: "44444444-4444-4444-4444-444444444444", Secret: clientSecret, May: akvsim.Get | akvsim.List | akvsim.Set})
	server, err := sim.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, server.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	return sim, append(server.Environ(ca), vaultsFile(t, "vaults: [{name: azure, prefix: kong-auth, config: {vault_uri: https://contoso.vault.azure.net}}]"),
		"AZURE_TENANT_ID="+akvsim.Tenant, "AZURE_CLIENT_ID="+clientID, "AZURE_CLIENT_SECRET="+clientSecret)
}

// realVault is a running Vault server, with a KV v2 engine at secret/.
type realVault struct {
	Addr      string `json:"addr"`
	RootToken string `json:"root_token"`
	cmd       *exec.Cmd
}

// startVault starts the program that VAULTD_BIN names.
func startVault(flags ...string) (*realVault, error) {
	v := &realVault{cmd: exec.Command(os.Getenv("VAULTD_BIN"), append([]string{"-addr", "127.0.0.1:0"}, flags...)...)}
	out, err := v.cmd.StdoutPipe()
	if err == nil {
		err = v.cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	if err := json.NewDecoder(out).Decode(v); err != nil {
		v.stop()
		return nil, fmt.Errorf("the Vault server is not ready: %w", err)
	}
	return v, nil
}

func (v *realVault) stop() {
	_ = v.cmd.Process.Signal(syscall.SIGTERM)
	_ = v.cmd.Wait()
}

func (v *realVault) port() string {
	u, _ := url.Parse(v.Addr)
	return u.Port()
}
