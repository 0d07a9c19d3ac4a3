package control

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"kong-vault-auth/blocklist"
	"kong-vault-auth/credential"
)

const (
	pathBlock  = "/v1/block"  // POST BlockRequest: Reach
	pathBlocks = "/v1/blocks" // GET: []blocklist.Entry
)

// BlockRequest says which credential or consumer to block or to unblock. Exactly one of the
// first three fields is set.
type BlockRequest struct {
	AccessToken string  `json:"access_token,omitempty"` // in every store
	Fingerprint string  `json:"fingerprint,omitempty"`
	Consumer    string  `json:"consumer,omitempty"`    // by id or username
	Label       string  `json:"label,omitempty"`       // a note, shown in the list
	For         Seconds `json:"for_seconds,omitempty"` // 0: until it is lifted
	Lift        bool    `json:"lift,omitempty"`        // unblock
}

// ErrNoBlocks is matched by the error of a plugin server that has no list of blocks.
var ErrNoBlocks = errors.New("blocks are not set up (set VAULT_AUTH_BLOCKS_FILE and VAULT_AUTH_EVENTS_KEY_FILE for the plugin server)")

// Digester makes the target of an access token: a *blocklist.List, or Keys.
type Digester interface {
	Token(accessToken string) (blocklist.Target, error)
}

// Entry returns the request as an entry of a list.
func (q BlockRequest) Entry(l Digester, now time.Time) (e blocklist.Entry, err error) {
	e.At, e.Lifted, e.Label = now, q.Lift, q.Label
	given := 0
	for _, name := range []string{q.AccessToken, q.Fingerprint, q.Consumer} {
		if name != "" {
			given++
		}
	}
	switch {
	case given != 1:
		return e, badRequest(errors.New("exactly one of access_token, fingerprint and consumer must be given"))
	case q.For < 0 || q.For > 1e9:
		return e, badRequest(errors.New("a block lasts for a positive time of at most 30 years"))
	case q.AccessToken != "":
		if err := credential.CheckAccessToken(q.AccessToken); err != nil {
			return e, badRequest(err)
		}
		if e.Target, err = l.Token(q.AccessToken); err != nil {
			return e, err
		}
	case q.Fingerprint != "":
		e.Target = blocklist.Target{Kind: blocklist.ByFingerprint, Value: q.Fingerprint}
	default:
		e.Target = blocklist.Target{Kind: blocklist.ByConsumer, Value: q.Consumer}
	}
	if q.For > 0 && !q.Lift {
		e.Until = now.Add(q.For.Duration())
	}
	if err := e.Check(now); err != nil {
		return e, badRequest(err)
	}
	return e, nil
}

func (s *Server) block(ctx context.Context, q BlockRequest) (Reach, error) {
	if s.Blocks == nil {
		return Reach{}, ErrNoBlocks
	}
	e, err := q.Entry(s.Blocks, time.Now())
	if err != nil {
		return Reach{}, err
	}
	news, err := s.Blocks.Add(e)
	r := Reach{Here: err == nil, Block: true}
	if s.Fleet != nil && len(news) > 0 {
		others := s.Fleet.Blocked(ctx, news)
		r.Others = &others
	}
	return r, err
}

func (s *Server) blocks() ([]blocklist.Entry, error) {
	if s.Blocks == nil {
		return nil, ErrNoBlocks
	}
	return Active(s.Blocks, time.Now()), s.Blocks.Problem()
}

// Active returns the entries that are in force at a time.
func Active(l *blocklist.List, now time.Time) []blocklist.Entry {
	return slices.DeleteFunc(l.Entries(), func(e blocklist.Entry) bool { return !e.Active(now) })
}

// Block blocks or unblocks a credential or a consumer in this node's plugin server before it
// returns. No store is asked. Its error matches ErrNotRunning if there is no plugin server.
func (c *Client) Block(ctx context.Context, q BlockRequest) (r Reach, err error) {
	return r, c.call(ctx, http.MethodPost, pathBlock, q, &r)
}

// Blocks returns the entries that are in force. Its error matches ErrNotRunning if there is
// no plugin server.
func (c *Client) Blocks(ctx context.Context) (all []blocklist.Entry, err error) {
	return all, c.call(ctx, http.MethodGet, pathBlocks, nil, &all)
}
