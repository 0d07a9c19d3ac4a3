package command

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/rogpeppe/go-internal/testscript"

	"kong-vault-auth/azurevault"
	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/blocklist"
	"kong-vault-auth/certificatetest"
	"kong-vault-auth/control"
	"kong-vault-auth/hashivault"
	"kong-vault-auth/kongtest/genuine"
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
			switch name {
			case "vault":
				return os.Getenv("VAULTD_BIN") != "", nil
			case "kong":
				return os.Getenv("E2E_KONG") != "", nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"plugin-server": pluginServer,
			"redis-server":  redisServer,
			"node":          newNode,
			"node-accepts":  nodeAccepts,
			"admin-api":     adminAPI,
			"certificate":   certificate,
			"await-socket":  func(ts *testscript.TestScript, _ bool, args []string) { awaitSocket(ts, args[0]) },
			"vault-server":  vaultServer,
			"azure":         azure,
			"kong":          kong,
			"kong-admin":    kongAdmin,
			"exits":         exits,
			"secret-of":     secretOf,
			"envfile":       envFile,
			"token-of":      tokenOf,
			"unwrap":        unwrap,
			"free-port":     freePort,
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir) // for ~/.vault-token
			env.Setenv("USER", "olga")
			env.Values[nodesKey{}] = map[string]*otherNode{}
			env.Setenv("VAULTD_BIN", os.Getenv("VAULTD_BIN"))
			env.Setenv("E2E_KONG", os.Getenv("E2E_KONG"))
			output := filepath.Join(env.WorkDir, ".output")
			env.Setenv("OUTPUT", output)
			env.Defer(func() { checkSecrets(t, filepath.Base(env.WorkDir), output, env.WorkDir) })
			return os.Mkdir(output, 0o700)
		},
	})
}

// checkSecrets looks for every secret of a script in everything that its commands have
// written. The only one that may be there is a new secret token, once, where the output
// says so.
func checkSecrets(t *testing.T, script, output, work string) {
	all := ""
	files, _ := filepath.Glob(output + "/*")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
		}
		all += string(b)
	}
	shown := shownSecret.FindAllStringSubmatch(all, -1)
	once := map[string]bool{}
	for _, m := range shown {
		once[m[1]] = true
		if n := strings.Count(all, m[1]); n != 1 {
			t.Errorf("%s: a secret token is shown %d times", script, n)
		}
	}
	secrets := []string{clientSecret, "plugins-own-secret"}
	kept, _ := filepath.Glob(work + "/*.json*")
	for _, name := range append(kept, work+"/.root-token", work+"/.vault-token") {
		b, _ := os.ReadFile(name)
		for _, m := range keptSecret.FindAllStringSubmatch(string(b), -1) {
			secrets = append(secrets, m[1])
		}
		if strings.HasSuffix(name, "-token") && len(b) > 0 {
			secrets = append(secrets, strings.TrimSpace(string(b)))
		}
	}
	for _, secret := range secrets {
		if strings.Contains(all, secret) && !once[secret] {
			t.Errorf("%s: a command has written the secret %s", script, secret)
		}
	}
}

var (
	shownSecret = regexp.MustCompile(`(?m)(?:^Secret token +|"secret_token":")([0-9A-Za-z_]{32,})`)
	keptSecret  = regexp.MustCompile(`"secret_token":"([^"]+)"`)
)

// secretOf sets a variable to the newest secret token of an access token in a file of
// --secret-file:
//
//	secret-of SECRET new.jsonl mobile-1
func secretOf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: secret-of VARIABLE FILE ACCESS_TOKEN")
	}
	found := ""
	for line := range strings.Lines(ts.ReadFile(args[1])) {
		var pair struct {
			AccessToken string `json:"access_token"`
			SecretToken string `json:"secret_token"`
		}
		ts.Check(json.Unmarshal([]byte(line), &pair))
		if pair.AccessToken == args[2] {
			found = pair.SecretToken
		}
	}
	if found == "" {
		ts.Fatalf("%s has no secret token of %s", args[1], args[2])
	}
	ts.Setenv(args[0], found)
}

// envFile expands the script's variables in files of the script, such as the port of a
// server in vaults.yml.
func envFile(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
		ts.Check(os.Chmod(ts.MkAbs(name), 0o600))
	}
}

// tokenOf sets a variable to the token that Vault has created in an answer:
//
//	token-of VAULT_TOKEN created.json
func tokenOf(ts *testscript.TestScript, neg bool, args []string) {
	var created struct {
		Auth struct {
			Token string `json:"client_token"`
		} `json:"auth"`
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &created))
	ts.Setenv(args[0], created.Auth.Token)
}

// unwrap unwraps the wrapping token of a command's result, which works once, and sets a
// variable to the secret token:
//
//	unwrap SECRET result.json
func unwrap(ts *testscript.TestScript, neg bool, args []string) {
	var result struct {
		WrappingToken string `json:"wrapping_token"`
		AccessToken   string `json:"access_token"`
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &result))
	var unwrapped struct {
		Data struct {
			AccessToken string `json:"access_token"`
			SecretToken string `json:"secret_token"`
		} `json:"data"`
	}
	for _, once := range []bool{true, false} {
		req, err := http.NewRequest("POST", ts.Getenv("VAULT_ADDR")+"/v1/sys/wrapping/unwrap", nil)
		ts.Check(err)
		req.Header.Set("X-Vault-Token", result.WrappingToken)
		resp, err := http.DefaultClient.Do(req)
		ts.Check(err)
		if (resp.StatusCode == http.StatusOK) != once {
			ts.Fatalf("unwrapping answers %d", resp.StatusCode)
		}
		if once {
			ts.Check(json.NewDecoder(resp.Body).Decode(&unwrapped))
		}
		resp.Body.Close()
	}
	if unwrapped.Data.AccessToken != result.AccessToken || unwrapped.Data.SecretToken == "" {
		ts.Fatalf("it is the secret token of %q, not of %q", unwrapped.Data.AccessToken, result.AccessToken)
	}
	ts.Setenv(args[0], unwrapped.Data.SecretToken)
}

// exits runs a command that must end with this status:
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

// vaultServer starts a Vault server for the rest of the script, with KV v2 at secret/. It
// sets VAULT_ADDR and PORT to its address and ROOT to its root token.
func vaultServer(ts *testscript.TestScript, neg bool, args []string) {
	server, err := startVault("-audit", ts.MkAbs("audit.log"))
	ts.Check(err)
	ts.Defer(server.stop)
	ts.Setenv("VAULT_ADDR", server.Addr)
	ts.Setenv("PORT", server.port())
	ts.Setenv("ROOT", server.RootToken)
	ts.Check(os.WriteFile(ts.MkAbs(".root-token"), []byte(server.RootToken), 0o600))
}

// pluginServer starts a plugin server for the rest of the script, with the script's
// environment, and sets VAULT_AUTH_CONTROL. It has looked up an access token in an object:
//
//	plugin-server hcv ac-alice
func pluginServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: plugin-server OBJECT ACCESS-TOKEN")
	}
	var blocked *blocklist.List
	if file := ts.Getenv(blocklist.FileVariable); file != "" {
		blocked = blocklist.Open(file, ts.Getenv(blocklist.KeyVariable), slog.New(slog.DiscardHandler))
	}
	r := vault.NewRegistry([]secretstore.Kind{hashivault.Kind, azurevault.Kind}, vault.Options{Getenv: environment(ts), Blocked: blocked})
	ts.Defer(r.Close)
	o, _, err := r.Open("plugin", vault.Config{Vault: args[0]})
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	_, err = o.Lookup(ctx, args[1], "secret", nil)
	ts.Logf("lookup: %v", err)
	dir, err := os.MkdirTemp("", "control") // the path of a socket must be short
	ts.Check(err)
	path := filepath.Join(dir, "s")
	stop := control.Start(ctx, path, (&control.Server{Objects: r, Blocks: blocked}).Handler(), slog.New(slog.DiscardHandler))
	ts.Defer(func() {
		stop()
		cancel()
		os.RemoveAll(dir)
	})
	awaitSocket(ts, path)
	ts.Setenv("VAULT_AUTH_CONTROL", path)
}

// environment is a copy of the script's environment, for what reads it while the script
// continues.
func environment(ts *testscript.TestScript) func(name string) string {
	ts.Check(ts.Exec("env", "-0"))
	values := map[string]string{}
	for _, line := range strings.Split(ts.ReadFile("stdout"), "\x00") {
		name, value, _ := strings.Cut(line, "=")
		values[name] = value
	}
	return func(name string) string { return values[name] }
}

// adminAPI runs "vault-auth admin" for the rest of the script, with the environment that
// the script has now, and sets ADDRESS to where it listens. Files must be absolute:
//
//	admin-api --listen unix:$WORK/s
func adminAPI(ts *testscript.TestScript, neg bool, args []string) {
	written, err := os.CreateTemp(ts.Getenv("OUTPUT"), "*")
	ts.Check(err)
	said, stderr := io.Pipe()
	p := &Program{
		Name: "vault-auth", Kinds: []secretstore.Kind{hashivault.Kind, azurevault.Kind}, Getenv: environment(ts), Now: time.Now,
		Stdout: written, Stderr: io.MultiWriter(written, stderr),
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() {
		ended <- p.Run(ctx, append([]string{"admin"}, args...))
		stderr.Close()
	}()
	lines := bufio.NewScanner(said)
	address, listens := "", false
	for !listens && lines.Scan() {
		_, address, listens = strings.Cut(lines.Text(), "the Admin API listens at ")
	}
	go func() { _, _ = io.Copy(io.Discard, said) }()
	ts.Defer(func() {
		cancel()
		if status := <-ended; status != 0 {
			ts.Fatalf("vault-auth admin ended with status %d", status)
		}
		written.Close()
	})
	if !listens {
		ts.Fatalf("the Admin API doesn't listen")
	}
	ts.Setenv("ADDRESS", address)
}

// certificate writes a certificate for 127.0.0.1, its own CA, to cert.pem, and its key to
// key.pem.
func certificate(ts *testscript.TestScript, neg bool, args []string) {
	_, _, err := certificatetest.SelfSigned("127.0.0.1").WriteFiles(ts.MkAbs("."))
	ts.Check(err)
}

// awaitSocket waits until somebody listens at a socket.
func awaitSocket(ts *testscript.TestScript, path string) {
	w, err := fsnotify.NewWatcher()
	ts.Check(err)
	defer w.Close()
	ts.Check(w.Add(filepath.Dir(path)))
	for {
		if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
			return
		}
		select {
		case <-w.Events:
		case err := <-w.Errors:
			ts.Check(err)
		}
	}
}

// vaultAPI is a program for scripts that sends a request to Vault as root, and prints the
// answer:
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

// freePort sets a variable to a port of 127.0.0.1 that nobody listens at:
//
//	free-port PORT
func freePort(ts *testscript.TestScript, neg bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	defer l.Close()
	ts.Setenv(args[0], fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
}

// kong starts a genuine Kong without a database, with one consumer, and sets
// KONG_ADMIN_URL to its Admin API.
func kong(ts *testscript.TestScript, neg bool, args []string) {
	prefix, err := os.MkdirTemp("", "va")
	ts.Check(err)
	k, err := genuine.Start(genuine.Options{Program: os.Getenv("E2E_KONG"), Prefix: prefix})
	ts.Check(err)
	ts.Defer(func() {
		_ = k.Stop()
		_ = os.RemoveAll(prefix)
	})
	ts.Check(k.SetConfig(`
_format_version: "3.0"
consumers:
- {id: 3fd1eea1-885a-4011-b986-289943ff8177, username: mobile-app, custom_id: customer/4711}
- {username: another, custom_id: customer/47}
`))
	ts.Setenv("KONG_ADMIN_URL", k.AdminURL())
}

// kongAdmin starts the part of Kong's Admin API that knows one consumer, and sets
// KONG_ADMIN_URL. If the argument is a status, that is its only answer.
func kongAdmin(ts *testscript.TestScript, neg bool, args []string) {
	const mobileApp = `{"id":"3fd1eea1-885a-4011-b986-289943ff8177","username":"mobile-app","custom_id":"customer/4711"}`
	status, _ := strconv.Atoi(strings.Join(args, ""))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case status != 0:
			w.WriteHeader(status)
		case r.URL.Path == "/consumers/mobile-app", r.URL.Path == "/consumers/3fd1eea1-885a-4011-b986-289943ff8177":
			_, _ = io.WriteString(w, mobileApp)
		case r.URL.Path == "/consumers" && r.URL.Query().Get("custom_id") == "customer/4711":
			_, _ = io.WriteString(w, `{"data":[`+mobileApp+`],"next":null}`)
		case r.URL.Path == "/consumers":
			_, _ = io.WriteString(w, `{"data":[],"next":null}`)
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"message":"Not found"}`)
		}
	}))
	ts.Defer(server.Close)
	ts.Setenv("KONG_ADMIN_URL", server.URL)
}

// The application of the simulated Azure.
const (
	clientID     = "22222222-2222-2222-2222-222222222222"
	clientSecret = "cl1ent~s3cret"
)

// azure starts a simulated Azure for the rest of the script, with an application that
// the variables AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET log in as. It
// may do what the arguments say: get, list, set. VAULT_URI is the key vault's, and
// NAME=VALUE puts a secret there.
func azure(ts *testscript.TestScript, neg bool, args []string) {
	app := akvsim.App{ClientID: clientID, ObjectID: "44444444-4444-4444-4444-444444444444", Secret: clientSecret}
	sim := akvsim.New(akvsim.Options{})
	for _, may := range args {
		if name, value, isSecret := strings.Cut(may, "="); isSecret {
			sim.Put(name, value, nil)
			continue
		}
		permission, known := map[string]akvsim.Permission{"get": akvsim.Get, "list": akvsim.List, "set": akvsim.Set}[may]
		if !known {
			ts.Fatalf("usage: azure [get] [list] [set] [NAME=VALUE...]")
		}
		app.May |= permission
	}
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
