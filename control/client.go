package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"syscall"
	"time"

	"kong-vault-auth/unixsocket"
	"kong-vault-auth/vault"
)

// ErrNotRunning is matched by errors that say that no plugin server listens at the socket.
var ErrNotRunning = errors.New("no plugin server listens")

// ErrRequest, ErrRefused and ErrNoAnswer are matched by the other errors of a Client that
// concern the call itself: it is invalid, this user may not connect, or there was no answer.
var (
	ErrRequest  = errors.New("the request can't be taken")
	ErrRefused  = errors.New("only the plugin server's user and root are let in")
	ErrNoAnswer = errors.New("the plugin server doesn't answer")
)

// causes are what the statuses of answers match; ErrNoBlocks is in block.go.
var causes = map[int]error{
	http.StatusBadRequest:     ErrRequest,
	http.StatusNotFound:       vault.ErrUnknownObject,
	http.StatusNotImplemented: ErrNoBlocks,
}

// callError is an error in the plugin server's words.
type callError struct {
	text  string
	cause error
}

func (e *callError) Error() string { return e.text }

func (e *callError) Unwrap() error { return e.cause }

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 8 << 20

// Client speaks to the plugin server of this node. Make one with NewClient.
type Client struct {
	path string
	http http.Client

	// Alone tells the other nodes when no plugin server runs on this machine; nil: they are
	// not told.
	Alone *Alone
}

// NewClient returns a client of the plugin server whose control socket is at path; see Find.
func NewClient(path string) *Client {
	return &Client{path: path, http: http.Client{Timeout: answerTimeout + 10*time.Second, Transport: unixsocket.Transport(path)}}
}

// Changed must be called by whoever has created, rotated, revoked or edited a credential in a
// store: after the store has accepted the change, and before reporting that it is done:
//
//	reach, err := control.NewClient(control.Find(getenv)).Changed(ctx, object, accessToken)
//	if err != nil {
//		// The store has the change, but this node may still use what it has cached: warn.
//	}
//	fmt.Fprintln(out, reach) // "in force on this node now; …"
//
// object is the vault object's name, as the node's vaults file or environment has it.
// When Changed returns, the plugin server of this node has forgotten the credential, in
// memory and in its snapshot, and lookups that had begun before can't bring it back. It is
// not an error if no plugin server runs: Reach says so, and Alone has told the other nodes.
// With VAULT_AUTH_EVENTS the other nodes have been told as well, and Reach says which of
// them have forgotten it within a second.
//
// The access token is not stored, logged or sent beyond this node.
func (c *Client) Changed(ctx context.Context, object, accessToken string) (Reach, error) {
	return c.drop(ctx, dropRequest{Object: object, AccessToken: accessToken})
}

// ChangedFingerprint is Changed for a credential of which only the fingerprint is known.
func (c *Client) ChangedFingerprint(ctx context.Context, object, fingerprint string) (Reach, error) {
	return c.drop(ctx, dropRequest{Object: object, Fingerprint: fingerprint})
}

// ChangedObject is Changed for all credentials of an object: after an import, say.
func (c *Client) ChangedObject(ctx context.Context, object string) (Reach, error) {
	return c.drop(ctx, dropRequest{Object: object, All: true})
}

// ChangedVaults must be called by whoever has changed the vaults file. When it returns, the
// plugin server of this node uses the file. Its error says why it doesn't, and matches
// ErrNotRunning if there is no plugin server.
func (c *Client) ChangedVaults(ctx context.Context, file string) error {
	return c.call(ctx, http.MethodPost, pathVaults, vaultsRequest{file}, &struct{}{})
}

func (c *Client) drop(ctx context.Context, q dropRequest) (r Reach, err error) {
	err = c.call(ctx, http.MethodPost, pathDrop, q, &r)
	if errors.Is(err, ErrNotRunning) {
		return c.Alone.changed(ctx, q), nil
	}
	return r, err
}

// Status is what the plugin server knows of its vault objects. Its error matches
// ErrNotRunning if there is no plugin server.
func (c *Client) Status(ctx context.Context) (s []vault.Status, err error) {
	return s, c.call(ctx, http.MethodGet, pathStatus, nil, &s)
}

func (c *Client) call(ctx context.Context, method, path string, request, answer any) error {
	var body io.Reader
	if request != nil {
		b, err := json.Marshal(request)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://vault-auth"+path, body)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return c.explain(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return &callError{fmt.Sprintf("the plugin server at %s: %v", c.path, err), ErrNoAnswer}
	}
	if resp.StatusCode != http.StatusOK {
		var f failure
		if json.Unmarshal(b, &f) != nil || f.Message == "" {
			f.Message = "it answered " + resp.Status + " (is it of another version than this command?)"
		}
		return &callError{fmt.Sprintf("the plugin server at %s: %s", c.path, f.Message), causes[resp.StatusCode]}
	}
	if err := json.Unmarshal(b, answer); err != nil {
		return fmt.Errorf("the plugin server at %s: its answer can't be read (is it of another version than this command?)", c.path)
	}
	return nil
}

func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w at %s (start it, or set %s to its control socket)", ErrNotRunning, c.path, Variable)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF):
		return &callError{fmt.Sprintf("the plugin server at %s lets only its own user and root in: run the command as that user (%v)", c.path, err), ErrRefused}
	}
	return &callError{fmt.Sprintf("the plugin server at %s: %v", c.path, err), ErrNoAnswer}
}
