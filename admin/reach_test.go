package admin

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"kong-vault-auth/control"
	"kong-vault-auth/unixsocket/sockettest"
	"kong-vault-auth/vault"
)

// pluginServer starts a plugin server on this node, with env's environment and some more
// variables.
func pluginServer(t *testing.T, e *env, variables map[string]string) {
	r := vault.NewRegistry(e.server.Kinds, vault.Options{Getenv: func(name string) string {
		if value, set := variables[name]; set {
			return value
		}
		return e.getenv[name]
	}})
	t.Cleanup(r.Close)
	path := filepath.Join(sockettest.Dir(t), "s")
	e.getenv[control.Variable] = path
	t.Cleanup(control.Start(context.Background(), path, (&control.Server{Objects: r}).Handler(), slog.New(slog.DiscardHandler)))
	for _, err := os.Lstat(path); err != nil; _, err = os.Lstat(path) {
		runtime.Gosched()
	}
}

// An answer says that the change is in force on this node, or why it isn't.
func TestAnswersSayWhereAChangeIsInForce(t *testing.T) {
	const inForce, nobody = "in force on this node now", "no plugin server was found on this node"
	reference := strings.ReplaceAll(kongAuth, pluginToken, "{vault://env/ONLY_OURS}")
	for name, tt := range map[string]struct {
		server  map[string]string // nil: there is none
		body    string
		want    string // of the vault object
		wantKey string // of a credential
	}{
		"without a plugin server": {nil, kongAuth, nobody, nobody},
		"with one":                {map[string]string{}, kongAuth, inForce, inForce},
		"with another file":       {map[string]string{"VAULT_AUTH_VAULTS_FILE": "/other.yml"}, kongAuth, "it is in the vaults file, but not in force", "the store has the change, but"},
		"with another environment": {
			map[string]string{}, reference, "it is in the vaults file, but not in force: the plugin server at", "the store has the change, but",
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			if tt.server != nil {
				pluginServer(t, e, tt.server)
			}
			if got := e.send("POST", "/vault-auth", tt.body).Header().Get(reachHeader); !strings.HasPrefix(got, tt.want) {
				t.Errorf("a vault object: %q", got)
			}
			if got := e.send("POST", "/vault-auth/kong-auth/credentials/alex", "").Header().Get(reachHeader); !strings.HasPrefix(got, tt.wantKey) {
				t.Errorf("a credential: %q", got)
			}
			if got := e.send("DELETE", "/vault-auth/kong-auth?force=true", "").Header().Get(reachHeader); tt.server == nil && !strings.HasPrefix(got, nobody) {
				t.Errorf("deleted: %q", got)
			}
		})
	}
}
