package command

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"kong-vault-auth/azurevault"
	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/control"
	"kong-vault-auth/hashivault"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/vault"
)

// TestScripts types the commands as users do, against a real Vault (vault-server)
// and the simulated Azure (azure).
func TestScripts(t *testing.T) {
	if os.Getenv("VAULTD_BIN") == "" {
		t.Log("VAULTD_BIN is not set, so what needs a real Vault is skipped; make test sets it")
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Condition: func(name string) (bool, error) {
			if name == "vault" {
				return os.Getenv("VAULTD_BIN") != "", nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"vault-server":  vaultServer,
			"azure":         azure,
			"exits":         exits,
			"plugin-server": pluginServer,
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir) // for ~/.vault-token
			env.Setenv("VAULTD_BIN", os.Getenv("VAULTD_BIN"))
			return nil
		},
	})
}

// exits runs a command, which must end with that status:
//
//	exits 3 vault-auth credential show nobody
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND [ARG...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	status := 0
	if exit, ok := err.(*exec.ExitError); ok {
		status = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got := fmt.Sprint(status); got != args[0] {
		ts.Fatalf("exit status %s, want %s", got, args[0])
	}
}

// vaultServer starts a Vault server for the rest of the script, KV version 2 at
// secret/, and sets VAULT_ADDR, HOST and PORT to its address and ROOT to its root
// token.
func vaultServer(ts *testscript.TestScript, neg bool, args []string) {
	cmd := exec.Command(os.Getenv("VAULTD_BIN"), "-addr", "127.0.0.1:0", "-audit", ts.MkAbs("audit.log"))
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	var ready struct {
		Addr      string `json:"addr"`
		RootToken string `json:"root_token"`
	}
	ts.Check(json.NewDecoder(out).Decode(&ready))
	_, port, _ := strings.Cut(strings.TrimPrefix(ready.Addr, "http://"), ":")
	ts.Setenv("VAULT_ADDR", ready.Addr)
	ts.Setenv("PORT", port)
	ts.Setenv("ROOT", ready.RootToken)
}

// pluginServer is a plugin server for the rest of the script, with the script's
// environment, and sets VAULT_AUTH_CONTROL. It has looked up the named access token, if
// any, in the named object:
//
//	plugin-server hcv ac-alice
func pluginServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: plugin-server OBJECT ACCESS-TOKEN")
	}
	r := vault.NewRegistry([]secretstore.Kind{hashivault.Kind, azurevault.Kind}, vault.Options{Getenv: ts.Getenv})
	ts.Defer(r.Close)
	o, _, err := r.Open("plugin", vault.Config{Vault: args[0]})
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	_, err = o.Lookup(ctx, args[1], "secret", nil)
	ts.Logf("lookup: %v", err)
	dir, err := os.MkdirTemp("", "control") // the path of a socket must be short
	ts.Check(err)
	path := filepath.Join(dir, "s")
	stop := control.Start(ctx, path, (&control.Server{Objects: r}).Handler(), slog.New(slog.DiscardHandler))
	ts.Defer(func() {
		stop()
		cancel()
		os.RemoveAll(dir)
	})
	for _, err := os.Lstat(path); err != nil; _, err = os.Lstat(path) {
		runtime.Gosched()
	}
	ts.Setenv("VAULT_AUTH_CONTROL", path)
}

// vaultAPI is a program for scripts that sends a request to Vault, as the user whom
// VAULT_TOKEN names or else root, and prints the answer:
//
//	vault-api POST sys/mounts/plain '{"type":"kv"}'
func vaultAPI() {
	method, path, body := os.Args[1], os.Args[2], ""
	if len(os.Args) > 3 {
		body = os.Args[3]
	}
	req, err := http.NewRequest(method, os.Getenv("VAULT_ADDR")+"/v1/"+path, strings.NewReader(body))
	if err == nil {
		req.Header.Set("X-Vault-Token", os.Getenv("ROOT"))
		var resp *http.Response
		if resp, err = http.DefaultClient.Do(req); err == nil {
			_, _ = io.Copy(os.Stdout, resp.Body)
			if resp.StatusCode >= 300 {
				err = fmt.Errorf("status %d", resp.StatusCode)
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// The application of the simulated Azure.
const (
	clientID     = "22222222-2222-2222-2222-222222222222"
	clientSecret = "cl1ent~s3cret"
)

// azure starts a simulated Azure for the rest of the script, with an application that
// the variables AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET log in as. It
// may do what the arguments say: get, list, set. VAULT_URI is the key vault's.
func azure(ts *testscript.TestScript, neg bool, args []string) {
	app := akvsim.App{ClientID: clientID, ObjectID: "44444444-4444-4444-4444-444444444444", Secret: clientSecret}
	for _, may := range args {
		permission, known := map[string]akvsim.Permission{"get": akvsim.Get, "list": akvsim.List, "set": akvsim.Set}[may]
		if !known {
			ts.Fatalf("usage: azure [get] [list] [set]")
		}
		app.May |= permission
	}
	sim := akvsim.New(akvsim.Options{})
	sim.AddApp(app)
	server, err := sim.Start("127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = server.Close() })
	ca := filepath.Join(ts.Getenv("WORK"), "azure-ca.pem")
	ts.Check(os.WriteFile(ca, server.CA(), 0o600))
	for _, variable := range server.Environ(ca) {
		name, value, _ := strings.Cut(variable, "=")
		ts.Setenv(name, value)
	}
	ts.Setenv("VAULT_URI", akvsim.VaultURI)
	ts.Setenv("AZURE_TENANT_ID", akvsim.Tenant)
	ts.Setenv("AZURE_CLIENT_ID", clientID)
	ts.Setenv("AZURE_CLIENT_SECRET", clientSecret)
}
