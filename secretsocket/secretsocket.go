// Package secretsocket is the local socket at which Kong's vault strategies
// (lua/kong/vaults) ask for secrets: HTTP/1.0 or 1.1 over a unix socket, one
//
//	POST /secret
//	{"vault": "azure", "config": {...}, "environ": {...}, "resource": "secret-name", "version": 2}
//
// for each. The answer is 200 and {"value": "...", "ttl": 60} (ttl only if the vault has
// one), or {"error": "..."} with 404 if the store says that there is no such secret, 403 if
// this node doesn't hand it out, 400 if the question is invalid, and 503 if the store can't
// answer.
package secretsocket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"kong-vault-auth/cache"
	"kong-vault-auth/localhttp"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/unixsocket"
	"kong-vault-auth/vault"
)

// Limits for peers.
const (
	maxQuestion = 256 << 10 // bytes
	maxConns    = 128
	timeout     = 10 * time.Second // of a question and its answer
)

// Resolver answers questions: *vault.Secrets.
type Resolver interface {
	Ask(ctx context.Context, a vault.Ask) (vault.Answer, error)
}

// Path returns where to listen, given the setting VAULT_AUTH_SECRETS_LISTEN: an absolute
// path, which may stand behind "unix:", or off. An empty setting means a path beside the
// plugin's own socket, and an empty path nowhere.
func Path(setting, pluginSocket string) (string, error) {
	switch setting {
	case "off":
		return "", nil
	case "":
		return strings.TrimSuffix(pluginSocket, ".socket") + "-secrets.socket", nil
	}
	path, err := unixsocket.ParsePath(setting, "/run/vault-auth/vault-auth-secrets.socket")
	if err != nil {
		return "", fmt.Errorf("%w; off turns it off", err)
	}
	return path, nil
}

// Start answers questions at path until ctx ends or stop is called, which waits for the
// end; an empty path is nowhere. Only processes of this process's user and of the group gid
// (if it is negative: this process's) are answered, and root's. It never fails, since
// requests must be served whether or not Kong's vaults can be: a path that can't be
// listened on is tried again, and the log says so.
func Start(ctx context.Context, path string, gid int, r Resolver, log *slog.Logger) (stop func()) {
	if gid < 0 {
		gid = os.Getgid()
	}
	s := &localhttp.Server{
		Address: localhttp.Unix(path), Handler: Handler(r),
		Timeout: timeout, Farewell: time.Second, MaxConns: maxConns,
		Mode: 0o660, Group: gid, Guarded: true,
		Failed: func(err error) {
			log.Warn("the secrets socket can't be served, it is tried again every second: Kong's vaults azure and hcv don't work (set VAULT_AUTH_SECRETS_LISTEN to another path, or to off)",
				"reason", "secrets_socket", "socket", path, "err", err)
		},
		Refused: func(err error) {
			log.Error("connection to the secrets socket refused", "reason", "peer", "err", err)
		},
	}
	return s.Start(ctx)
}

// question is an Ask as it is sent.
type question struct {
	Vault    string            `json:"vault"`
	Config   json.RawMessage   `json:"config"`
	Environ  map[string]string `json:"environ"`
	Resource string            `json:"resource"`
	Version  int               `json:"version"`
}

type answer struct {
	Value string   `json:"value,omitempty"`
	TTL   *float64 `json:"ttl,omitempty"`
	Error string   `json:"error,omitempty"`
}

// Handler answers questions with r.
func Handler(r Resolver) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /secret", func(w http.ResponseWriter, req *http.Request) {
		var q question
		body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxQuestion))
		if err == nil {
			err = json.Unmarshal(body, &q)
		}
		if err != nil {
			respond(w, http.StatusBadRequest, answer{Error: "the question can't be read as JSON"})
			return
		}
		a, err := r.Ask(req.Context(), vault.Ask(q))
		if err != nil {
			respond(w, status(err), answer{Error: err.Error()})
			return
		}
		respond(w, http.StatusOK, answer{Value: a.Value, TTL: a.TTL})
	})
	return mux
}

func status(err error) int {
	switch {
	case errors.Is(err, cache.ErrAbsent):
		return http.StatusNotFound
	case errors.Is(err, vault.ErrForbidden):
		return http.StatusForbidden
	case errors.Is(err, secretstore.ErrConfig):
		return http.StatusBadRequest
	}
	return http.StatusServiceUnavailable
}

func respond(w http.ResponseWriter, status int, a answer) {
	b, _ := json.Marshal(a) // strings and a number can always be marshalled
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // the peer may have gone away
}
