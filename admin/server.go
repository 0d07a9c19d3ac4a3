package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kong-vault-auth/control"
	"kong-vault-auth/kongadmin"
	"kong-vault-auth/manage"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/vault"
)

const (
	// maxBody limits a request's body, in bytes. The largest field is a certificate.
	maxBody = 64 << 10
	// requestTimeout limits the work for one request.
	requestTimeout = 30 * time.Second
)

// Server answers the Admin API's requests.
type Server struct {
	Kinds      []secretstore.Kind // the kinds of secret store
	Version    string
	Getenv     func(string) string // the environment
	TokenFile  string              // holds the Vault token to write with; may be empty
	NoLiterals bool                // the vaults file may hold references to secrets, but no secrets
	Now        func() time.Time
	Audit      io.Writer // takes a line for each change
	Log        *slog.Logger

	alone     *control.Alone    // tells other nodes of changes if no plugin server runs here
	file      *vault.ObjectFile // nil: the environment names no vaults file
	audit     *slog.Logger
	auditFile *auditFile
	openAPI   []byte
}

// reachHeader is the header that says where a change is in force.
const reachHeader = "X-Vault-Auth-Reach"

// mux returns the API as an HTTP handler. Serve decides who may use it.
func (s *Server) mux() (http.Handler, error) {
	s.alone = &control.Alone{Getenv: s.Getenv, Objects: s.defined}
	var err error
	if s.openAPI, err = openAPIDocument(); err != nil {
		return nil, err
	}
	if path := s.Getenv("VAULT_AUTH_VAULTS_FILE"); path != "" {
		s.file = vault.NewObjectFile(path, s.Kinds, s.Getenv, s.NoLiterals)
	}
	s.auditFile = &auditFile{Writer: s.Audit}
	s.audit = newAudit(s.auditFile)
	m := http.NewServeMux()
	for path, methods := range s.routes() {
		for _, prefix := range []string{"/vault-auth", "/vaults"} { // Kong's tutorial of 2019 has the second
			m.Handle(prefix+path, s.route(methods))
		}
	}
	m.Handle("/openapi.json", s.route(map[string]handler{http.MethodGet: s.document}))
	m.Handle("/", s.route(nil))
	return m, nil
}

func (s *Server) routes() map[string]map[string]handler {
	return map[string]map[string]handler{
		"":                                   {http.MethodGet: s.listObjects, http.MethodPost: s.createObject},
		"/{vault}":                           {http.MethodGet: s.showObject, http.MethodPatch: s.patchObject, http.MethodPut: s.putObject, http.MethodDelete: s.deleteObject},
		"/{vault}/credentials":               {http.MethodGet: s.list, http.MethodPost: s.create},
		"/{vault}/credentials/{consumer}":    {http.MethodPost: s.create},
		"/{vault}/credentials/token/{token}": {http.MethodGet: s.show, http.MethodPatch: s.update, http.MethodDelete: s.revoke},
		"/{vault}/credentials/token/{token}/rotate": {http.MethodPost: s.rotate},
	}
}

// request is a request, with what handlers note about it.
type request struct {
	*http.Request
	change change // zero if it changes nothing
	reach  string // where the change is in force
}

// handler answers a request. If body is nil, the answer has none.
type handler func(r *request) (status int, body any, err error)

// route answers the requests of one path.
func (s *Server) route(methods map[string]handler) http.Handler {
	allowed := make([]string, 0, len(methods))
	for m := range methods {
		allowed = append(allowed, m)
	}
	slices.Sort(allowed)
	return http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
		h, known := methods[hr.Method]
		switch {
		case methods == nil:
			reply(w, http.StatusNotFound, message{"Not found"})
			return
		case !known:
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			reply(w, http.StatusMethodNotAllowed, message{"Method not allowed"})
			return
		}
		ctx, cancel := context.WithTimeout(hr.Context(), requestTimeout)
		defer cancel()
		r := &request{Request: hr.WithContext(ctx)}
		r.Body = http.MaxBytesReader(w, hr.Body, maxBody)
		status, body, err := s.answer(s.audited(h), r)
		if err != nil {
			status, body = statusOf(err), message{err.Error()}
		}
		s.record(r, status)
		if r.reach != "" {
			w.Header().Set(reachHeader, r.reach)
		}
		reply(w, status, body)
	})
}

// errInternal is the error that a client gets for a panic.
var errInternal = errors.New("an unexpected error occurred; the program's log has it")

// answer calls a handler, and turns a panic into an error, so that the request still gets
// an answer and an audit line.
func (s *Server) answer(h handler, r *request) (status int, body any, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.Log.Error("answering a request failed", "reason", "panic", "method", r.Method, "err", fmt.Sprintf("%T", p))
			err = errInternal
		}
	}()
	return h(r)
}

// message is the body of an answer with an error, as in Kong.
type message struct {
	Message string `json:"message"`
}

func reply(w http.ResponseWriter, status int, body any) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if body == nil {
		w.WriteHeader(status)
		return
	}
	h.Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	if raw, ok := body.([]byte); ok {
		_, _ = w.Write(raw)
		return
	}
	_ = json.NewEncoder(w).Encode(body) // an error means that the client has gone
}

// document is the OpenAPI document.
func (s *Server) document(*request) (int, any, error) { return http.StatusOK, s.openAPI, nil }

// kong is a client of Kong's Admin API, or nil if the environment doesn't name it.
func (s *Server) kong() (*kongadmin.Client, error) {
	k, err := kongadmin.New(s.Getenv)
	if err != nil {
		return nil, unavailable(err)
	}
	return k, nil
}

// with calls f with the vault object whose name or id is in the path.
func (s *Server) with(r *request, f func(*manage.Vault) error) error {
	name := r.PathValue("vault")
	defined, err := s.defined()
	if err != nil {
		return unavailable(err)
	}
	if s.file != nil && !slices.Contains(defined.Names(), name) {
		o, err := s.file.Object(name)
		switch {
		case err == nil:
			name = o.Name
		case !errors.Is(err, vault.ErrNoObject):
			return err
		}
	}
	if !slices.Contains(defined.Names(), name) {
		return vault.NoObject(name, defined.Names())
	}
	r.change.vault = name
	o, err := defined.Object(name)
	if err != nil {
		return unavailable(err)
	}
	w, err := defined.OpenWriter(o, s.TokenFile)
	if err != nil {
		return unavailable(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			s.Log.Warn("logging out of the secret store failed", "vault", name, "reason", "close", "err", err)
		}
	}()
	return f(&manage.Vault{Name: name, Writer: w, Fingerprint: o.Fingerprint, Now: s.Now})
}

func (s *Server) defined() (*vault.Defined, error) {
	return vault.NewDefined(s.Kinds, vault.Options{Getenv: s.Getenv, UserAgent: "kong-vault-auth/" + s.Version})
}

// changed makes the plugin server of this node forget a credential that was changed. If
// that fails, the change itself has still been made, so it is only reported.
func (s *Server) changed(r *request, v *manage.Vault, accessToken string) {
	node := control.NewClient(control.Find(s.Getenv))
	node.Alone = s.alone
	reach, err := node.Changed(r.Context(), v.Name, accessToken)
	if err != nil {
		s.Log.Warn("a change could not be reported to the plugin server of this node", "vault", v.Name, "reason", "control", "err", err)
		r.reach = "the store has the change, but this node may still use what it has cached: " + oneLine(err.Error())
		return
	}
	r.reach = reach.String()
}

// changedVaults makes the plugin server of this node read the vaults file before the
// client gets its answer, and notes whether that worked.
func (s *Server) changedVaults(r *request) {
	file, err := filepath.Abs(s.Getenv("VAULT_AUTH_VAULTS_FILE"))
	if err == nil {
		err = control.NewClient(control.Find(s.Getenv)).ChangedVaults(r.Context(), file)
	}
	switch {
	case err == nil:
		r.reach = "in force on this node now"
	case errors.Is(err, control.ErrNotRunning):
		r.reach = "no plugin server was found on this node"
	default:
		s.Log.Warn("the plugin server of this node does not use the vaults file as it is now", "vault", r.change.vault, "reason", "control", "err", err)
		r.reach = "it is in the vaults file, but not in force: " + oneLine(err.Error())
	}
}

// oneLine makes text fit for a header.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
