package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"

	"kong-vault-auth/vault"
)

// change is what a request changes, for the audit log.
type change struct {
	action      string // credential.create, vault.delete, …; empty: nothing
	vault       string // the vault object's name, if it is known
	fingerprint string // the credential's, never its access token
}

// auditFile is where the audit log goes. As long as its last line could not be written,
// nothing is changed.
type auditFile struct {
	io.Writer
	failed atomic.Bool
}

func (f *auditFile) Write(b []byte) (int, error) {
	n, err := f.Writer.Write(b)
	f.failed.Store(err != nil)
	return n, err
}

var errNoAudit = errors.New("nothing is changed as long as the audit log can't be written: make room for it")

// audited has h answer, unless it changes something and that could not be recorded.
func (s *Server) audited(h handler) handler {
	return func(r *request) (int, any, error) {
		if r.Method != http.MethodGet && s.auditFile.failed.Load() {
			r.change.action = "refused" // its line finds out whether there is room again
			return 0, nil, unavailable(errNoAudit)
		}
		return h(r)
	}
}

// newAudit makes a log with a line of JSON for each change.
func newAudit(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// record writes the audit line of a request that changes something, or was meant to.
func (s *Server) record(r *request, status int) {
	if r.change.action == "" {
		return
	}
	if r.change.vault == "" {
		r.change.vault = s.vaultOf(r)
	}
	s.audit.Info(r.change.action, "who", who(r.Context()), "vault", r.change.vault, "fingerprint", r.change.fingerprint, "status", status)
}

// vaultOf is the vault object that the path of a request names which was refused before it
// was looked for. What can't be a name may be a secret in the wrong place.
func (s *Server) vaultOf(r *request) string {
	name := r.PathValue("vault")
	if s.file != nil {
		if o, err := s.file.Object(name); err == nil {
			return o.Name
		}
	}
	if !vault.IsObjectName(name) || len(name) > maxAuditName {
		return ""
	}
	return name
}

// maxAuditName is the length in bytes of the longest name of a vault object that is in an
// audit line although there is no such object.
const maxAuditName = 64

type whoKey struct{}

// who has sent a request: uid:0 through a unix socket, token:NAME otherwise.
func who(ctx context.Context) string {
	name, _ := ctx.Value(whoKey{}).(string)
	return name
}

// withWho says who has sent the requests of a context.
func withWho(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, whoKey{}, name)
}
