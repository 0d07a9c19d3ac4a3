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

// auditFile is where the audit log is written to. If its last line could not be written,
// changes are refused until a line can be.
type auditFile struct {
	io.Writer
	failed atomic.Bool
}

func (f *auditFile) Write(b []byte) (int, error) {
	n, err := f.Writer.Write(b)
	f.failed.Store(err != nil)
	return n, err
}

var errNoAudit = errors.New("no change is made while the audit log can't be written: make room for it")

// audited refuses requests that change something while the audit log can't be written.
func (s *Server) audited(h handler) handler {
	return func(r *request) (int, any, error) {
		if r.Method != http.MethodGet && s.auditFile.failed.Load() {
			r.change.action = "refused" // writing its line shows whether there is room again
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

// vaultOf is the vault object in the path of a request that was refused before the object
// was looked up. Text that can't be a name is left out: it may be a secret in the wrong
// place.
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

// maxAuditName limits the length of names in audit lines, if no object has them.
const maxAuditName = 64

type whoKey struct{}

// who is the sender of a request: uid:0 through a unix socket, token:NAME otherwise.
func who(ctx context.Context) string {
	name, _ := ctx.Value(whoKey{}).(string)
	return name
}

// withWho adds the sender to the context of a request.
func withWho(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, whoKey{}, name)
}
