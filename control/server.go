// Package control is the local API at which the operator's commands and the Admin API
// speak to the plugin server of their node: to ask for the state of its vault objects, and
// to make it forget credentials at once.
//
// It is HTTP on a unix socket of mode 0600, with JSON in both directions. Only the plugin
// server's own user and root may connect, by the kernel's word. Requests of Kong's clients
// never reach it.
//
// Whoever has changed a credential in a store calls [Client.Changed].
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"kong-vault-auth/blocklist"
	"kong-vault-auth/credential"
	"kong-vault-auth/fleet"
	"kong-vault-auth/localhttp"
	"kong-vault-auth/vault"
)

// The paths of the operations.
const (
	pathStatus = "/v1/status" // GET: []vault.Status
	pathDrop   = "/v1/drop"   // POST dropRequest: Reach
	pathVaults = "/v1/vaults" // POST vaultsRequest: nothing
)

// maxRequest bounds a request's body, in bytes.
const maxRequest = 16 << 10

// dropRequest says what to forget: one credential of an object, by its token or its
// fingerprint, or all of the object's.
type dropRequest struct {
	Object      string `json:"object"` // empty, with an access token: all objects
	AccessToken string `json:"access_token,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
	All         bool   `json:"all,omitempty"` // all of the object's
}

// vaultsRequest names the vaults file to read again.
type vaultsRequest struct {
	File string `json:"file"`
}

// Server answers requests at the control socket.
type Server struct {
	Objects *vault.Registry
	Blocks  *blocklist.List // nil: blocks are not set up
	Fleet   *fleet.Node     // nil: there are no other nodes to tell
}

// Handler returns the operations as HTTP.
func (s *Server) Handler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET "+pathStatus, func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Objects.Status(), nil) })
	m.HandleFunc("POST "+pathDrop, operation(s.drop))
	m.HandleFunc("POST "+pathVaults, operation(func(_ context.Context, q vaultsRequest) (struct{}, error) {
		return struct{}{}, s.Objects.ReadVaultsFile(q.File)
	}))
	m.HandleFunc("POST "+pathBlock, operation(s.block))
	m.HandleFunc("GET "+pathBlocks, func(w http.ResponseWriter, _ *http.Request) {
		all, err := s.blocks()
		reply(w, all, err)
	})
	return m
}

// drop forgets credentials, and returns when that is done.
func (s *Server) drop(ctx context.Context, q dropRequest) (Reach, error) {
	d, err := s.dropped(q)
	var bad badRequestError
	if errors.As(err, &bad) || errors.Is(err, vault.ErrUnknownObject) {
		return Reach{}, err
	}
	r := Reach{Here: err == nil, Dropped: d.Count, Within: seconds(d.Bound)}
	if s.Fleet != nil { // also if this node could not forget all of it
		others := s.Fleet.Changed(ctx, d.Changes)
		r.Others = &others
	}
	return r, err
}

func (s *Server) dropped(q dropRequest) (vault.Dropped, error) {
	switch {
	case q.All && q.AccessToken == "" && q.Fingerprint == "" && q.Object != "":
		return s.Objects.DropObject(q.Object)
	case !q.All && q.AccessToken == "" && q.Fingerprint != "":
		id, err := credential.ParseFingerprint(q.Fingerprint)
		if err != nil {
			return vault.Dropped{}, badRequest(err)
		}
		return s.Objects.DropFingerprint(q.Object, id)
	case !q.All && q.AccessToken != "" && q.Fingerprint == "":
		if err := credential.CheckAccessToken(q.AccessToken); err != nil {
			return vault.Dropped{}, badRequest(err)
		}
		return s.Objects.DropCredential(q.Object, q.AccessToken)
	}
	return vault.Dropped{}, badRequest(errors.New("exactly one of access_token, fingerprint and, with an object, all must be given"))
}

// badRequestError says that the request itself is wrong.
type badRequestError struct{ error }

func badRequest(err error) error { return badRequestError{err} }

// failure is the body of an answer to a request that failed.
type failure struct {
	Message string `json:"message"`
}

// operation makes a handler of a function. It refuses unknown fields: a request of a newer
// command must not be carried out in part.
func operation[Q, A any](do func(context.Context, Q) (A, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q Q
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
		d.DisallowUnknownFields()
		if err := d.Decode(&q); err != nil {
			reply(w, nil, badRequest(errors.New("the request can't be read: "+decodeProblem(err))))
			return
		}
		a, err := do(r.Context(), q)
		reply(w, a, err)
	}
}

// decodeProblem says what is wrong with a request without repeating any of it.
func decodeProblem(err error) string {
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok && len(name) < 40 {
		return "this plugin server doesn't know the field " + name + ", it is of another version than the command"
	}
	return "it is not the JSON that is expected, or too large"
}

func reply(w http.ResponseWriter, answer any, err error) {
	status := http.StatusOK
	var bad badRequestError
	switch {
	case err == nil:
	case errors.As(err, &bad):
		status = http.StatusBadRequest
	case errors.Is(err, vault.ErrUnknownObject):
		status = http.StatusNotFound
	case errors.Is(err, ErrNoBlocks):
		status = http.StatusNotImplemented
	default:
		status = http.StatusInternalServerError
	}
	if err != nil {
		answer = failure{fmt.Sprint(err)}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

const (
	// farewell is for an operation that is under way when the server stops.
	farewell = 2 * time.Second
	// answerTimeout bounds an operation, with the snapshots that it writes.
	answerTimeout = time.Minute
)

// Start serves h on a socket at path until ctx ends or stop is called, which waits for
// the end; an empty path is nowhere. It never fails, since requests must be answered
// whether or not an operator can be: a path that can't be listened on is tried again, and the
// log says so. Another plugin server may take the path over.
func Start(ctx context.Context, path string, h http.Handler, log *slog.Logger) (stop func()) {
	s := &localhttp.Server{
		Address: localhttp.Unix(path),
		Handler: http.TimeoutHandler(h, answerTimeout, `{"message":"it took too long"}`),
		Timeout: answerTimeout + 5*time.Second, Farewell: farewell, MaxConns: 16,
		Mode: 0o600, Group: -1, Guarded: true,
		Failed: func(err error) {
			log.Error("the control socket can't be served, it is tried again every second (set "+Variable+" to a path in a folder of this user's, or to "+Off+")",
				"reason", "control", "socket", path, "err", err)
		},
		Refused: func(err error) {
			log.Error("connection to the control socket refused", "reason", "peer", "err", err)
		},
	}
	return s.Start(ctx)
}
