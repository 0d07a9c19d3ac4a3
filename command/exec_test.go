package command

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"kong-vault-auth/hashivault"
	"kong-vault-auth/kongtest"
	"kong-vault-auth/secretsocket"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/unixsocket/sockettest"
	"kong-vault-auth/vault"
)

// A command is started with its secrets although the store can't answer: the plugin server
// has them in memory, or in its snapshot.
func TestExecDuringAnOutage(t *testing.T) {
	var down atomic.Bool
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case down.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"errors":["Vault is sealed"]}`)
		case r.URL.Path == "/v1/secret/data/pg":
			_, _ = io.WriteString(w, `{"data":{"data":{"password":"p#ss"},"metadata":{"version":1}}}`)
		default:
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"errors":["permission denied"]}`)
		}
	}))
	defer store.Close()
	host, port, err := net.SplitHostPort(strings.TrimPrefix(store.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	dir := sockettest.Dir(t)
	socket, file, key := filepath.Join(dir, "secrets.socket"), filepath.Join(dir, "snapshot"), filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(strings.Repeat("0123456789abcdef", 4)), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{
		"KONG_VAULT_HCV_HOST": host, "KONG_VAULT_HCV_PORT": port, "KONG_VAULT_HCV_PROTOCOL": "http", "KONG_VAULT_HCV_KV": "v2", "KONG_VAULT_HCV_TOKEN": "hvs.x",
		"VAULT_AUTH_SECRETS_LISTEN": "off",
	}
	getenv := func(name string) string { return env[name] }
	kinds := []secretstore.Kind{hashivault.Kind}
	check := func(when, want string) {
		t.Helper()
		p := &Program{Name: "vault-auth", Kinds: kinds, Getenv: getenv, Stderr: io.Discard}
		got, err := p.resolved(t.Context(), []string{"KONG_PG_PASSWORD={vault://hcv/pg/password}"})
		if want == "" && err == nil || want != "" && (err != nil || got[0] != "KONG_PG_PASSWORD="+want) {
			t.Errorf("%s: %q, %v; want %q", when, got, err, want)
		}
	}
	check("without a plugin server", "p#ss")

	server := vault.NewRegistry(kinds, vault.Options{Getenv: getenv, SecretsSnapshot: file, SecretsSnapshotKey: key})
	stop := secretsocket.Start(t.Context(), socket, -1, server.Secrets(), slog.New(slog.DiscardHandler))
	if err := kongtest.NewClient(socket).AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	env["VAULT_AUTH_SECRETS_LISTEN"] = socket
	check("with one", "p#ss")
	down.Store(true)
	check("in an outage, with one", "p#ss")
	env["VAULT_AUTH_SECRETS_LISTEN"] = "off"
	check("in an outage, without one", "")

	stop()
	server.Close() // which writes the snapshot
	env["VAULT_AUTH_SECRETS_SNAPSHOT_FILE"], env["VAULT_AUTH_SECRETS_SNAPSHOT_KEY_FILE"] = file, key
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	check("in an outage, from the snapshot", "p#ss")
	down.Store(false)
	check("after it", "p#ss")
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("the command has written the plugin server's snapshot: %v", err)
	}
}
