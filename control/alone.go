package control

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"kong-vault-auth/blocklist"
	"kong-vault-auth/credential"
	"kong-vault-auth/fleet"
	"kong-vault-auth/vault"
)

// Alone tells the plugin servers of other machines about changes when none runs on this
// one: on an operator's laptop, or in a CronJob's pod. It does nothing without
// VAULT_AUTH_EVENTS. It is safe for concurrent use.
type Alone struct {
	Getenv  func(string) string
	Objects func() (*vault.Defined, error) // those of this environment

	mu     sync.Mutex // guards the rest
	node   *fleet.Node
	failed error // why node is nil
	tried  time.Time
}

// tryEvery is how often Redis is tried again while many changes are made.
const tryEvery = 10 * time.Second

func (a *Alone) able() bool { return a != nil && a.Getenv(fleet.URLVariable) != "" }

// changed sends what a plugin server would have dropped.
func (a *Alone) changed(ctx context.Context, q dropRequest) Reach {
	if !a.able() {
		return Reach{}
	}
	r := Reach{Others: &fleet.Reach{}}
	d, err := a.changes(q)
	r.Within = seconds(d.Bound)
	var n *fleet.Node
	if err == nil {
		n, err = a.connection(ctx)
	}
	if err != nil {
		r.Problem = err.Error()
		return r
	}
	*r.Others = n.Changed(ctx, d.Changes)
	return r
}

func (a *Alone) changes(q dropRequest) (vault.Dropped, error) {
	objects, err := a.Objects()
	if err != nil {
		return vault.Dropped{}, err
	}
	d, err := objects.Changed(q.Object, q.AccessToken)
	if err != nil || q.Fingerprint == "" {
		return d, err
	}
	id, err := credential.ParseFingerprint(q.Fingerprint)
	d.Changes = vault.Changes{Credentials: map[credential.ShortID]bool{id: true}}
	return d, err
}

// Blocked sends blocks, or the end of blocks.
func (a *Alone) Blocked(ctx context.Context, entries ...blocklist.Entry) Reach {
	r := Reach{Block: true}
	if !a.able() {
		return r
	}
	r.Others = &fleet.Reach{}
	n, err := a.connection(ctx)
	if err != nil {
		r.Problem = err.Error()
		return r
	}
	*r.Others = n.Blocked(ctx, entries)
	return r
}

// connection returns the connection to Redis, and makes it on first use. It is used without
// the lock, so that callers don't wait for each other's messages.
func (a *Alone) connection(ctx context.Context) (*fleet.Node, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.node == nil && time.Since(a.tried) >= tryEvery {
		a.node, a.failed = a.dial(ctx)
		a.tried = time.Now()
	}
	if a.node == nil {
		return nil, a.failed
	}
	return a.node, nil
}

func (a *Alone) dial(ctx context.Context) (*fleet.Node, error) {
	settings, err := fleet.ParseSettings(a.Getenv)
	if err != nil {
		return nil, err
	}
	n, err := fleet.Dial(ctx, fleet.Options{
		Settings: settings, KeyFile: a.Getenv(blocklist.KeyVariable), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, fmt.Errorf("%s: Redis can't be used: %w", fleet.URLVariable, err)
	}
	return n, nil
}
