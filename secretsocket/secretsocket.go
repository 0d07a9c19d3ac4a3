// Package secretsocket is the local socket at which Kong's vault strategies
// (lua/kong/vaults) ask for secrets: HTTP/1.0 or 1.1 over a unix socket, one
//
//	POST /secret
//	{"vault": "azure", "config": {...}, "environ": {...}, "resource": "secret-name", "version": 2}
//
// for each, which is answered with 200 and {"value": "...", "ttl": 60} (ttl only if
// there is one), or with {"error": "..."}: 404 where there is no such secret by the
// store's own word, 403 where this node doesn't hand it out, 400 where the question
// can't be understood, and 503 where the store can't say.
package secretsocket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/net/netutil"

	"kong-vault-auth/cache"
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/vault"
)

// Bounds of what a peer can cause.
const (
	maxQuestion = 256 << 10 // bytes
	maxConns    = 128
	timeout     = 10 * time.Second // of a question and its answer
)

// Resolver is what answers: *vault.Secrets.
type Resolver interface {
	Ask(ctx context.Context, a vault.Ask) (vault.Answer, error)
}

// Path is where to listen, by the setting VAULT_AUTH_SECRETS_LISTEN: an absolute
// path, perhaps behind "unix:"; off is nowhere (empty), and an empty setting stands
// for a path beside the plugin's own socket.
func Path(setting, pluginSocket string) (string, error) {
	switch path := strings.TrimPrefix(setting, "unix:"); {
	case setting == "off":
		return "", nil
	case setting == "":
		return strings.TrimSuffix(pluginSocket, ".socket") + "-secrets.socket", nil
	case !filepath.IsAbs(path):
		return "", fmt.Errorf("it must be off, or the whole path of a socket, such as /run/vault-auth/vault-auth-secrets.socket, not %.100q", setting)
	default:
		return filepath.Clean(path), nil
	}
}

// Serve answers questions at path until ctx ends. Only processes of this process's
// user and of the group gid (if it is negative: this process's) are answered, and
// root's.
func Serve(ctx context.Context, path string, gid int, r Resolver, log *slog.Logger) error {
	if gid < 0 {
		gid = os.Getgid()
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s is there already, and is not a socket: choose another path", path)
	}
	l, err := pluginserver.ListenSocket(path, 0o660, gid)
	if err != nil {
		return err
	}
	s := &http.Server{
		Handler:     Handler(r),
		ReadTimeout: timeout, WriteTimeout: 2 * timeout, IdleTimeout: timeout, MaxHeaderBytes: 8 << 10,
		ErrorLog: stdlog.New(io.Discard, "", 0), // of peers that have gone away
	}
	defer context.AfterFunc(ctx, func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = s.Shutdown(ending) // what is under way after that is lost
	})()
	if err := s.Serve(netutil.LimitListener(&checked{l, pluginserver.PeerCheck(os.Getuid(), gid), log}, maxConns)); ctx.Err() == nil {
		return err
	}
	return nil
}

// checked is a listener that only lets peers through which may connect.
type checked struct {
	net.Listener
	allow func(*net.UnixConn) error
	log   *slog.Logger
}

// Accept returns the next connection of such a peer.
func (l *checked) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if err = l.allow(c.(*net.UnixConn)); err == nil {
			return c, nil
		}
		l.log.Error("connection to the secrets socket refused", "reason", "peer", "err", err)
		c.Close()
	}
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

// Handler answers questions by r.
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
	_, _ = w.Write(b) // a peer that has gone away is not answered
}
