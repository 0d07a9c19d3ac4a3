package hashivault

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"
)

// standingTimeout bounds one question about a token. It is asked for everyone
// who waits for the answer, so no single lookup's deadline applies.
const standingTimeout = 2 * time.Second

// tokenInfo is what auth/token/lookup-self tells.
type tokenInfo struct {
	TTL              int      `json:"ttl"`          // seconds left; 0: it never expires
	CreationTTL      int      `json:"creation_ttl"` // seconds it was made for
	Renewable        bool     `json:"renewable"`
	Policies         []string `json:"policies"`
	IdentityPolicies []string `json:"identity_policies"`
}

func (i tokenInfo) policies() []string { return slices.Concat(i.Policies, i.IdentityPolicies) }

// auth is the same in the form in which a login tells it.
func (i tokenInfo) auth(token string) *api.SecretAuth {
	return &api.SecretAuth{ClientToken: token, LeaseDuration: i.TTL, Renewable: i.Renewable}
}

func (c *conn) lookupSelf(ctx context.Context, token string) (info tokenInfo, a *answer, err error) {
	a, err = c.ofLogin(ctx, http.MethodGet, token, "auth/token/lookup-self")
	if err == nil && a.status == http.StatusOK {
		err = a.data(&info)
	}
	return info, a, err
}

// mountInfo is what sys/internal/ui/mounts tells, to any token that has some
// right below the mount.
type mountInfo struct {
	Path    string `json:"path"`
	Type    string `json:"type"`
	Options struct {
		Version string `json:"version"`
	} `json:"options"`
}

// kv is the version of the KV engine.
func (m mountInfo) kv() string {
	if m.Options.Version == "2" {
		return kv2
	}
	return kv1
}

func (c *conn) lookupMount(ctx context.Context, token string) (info mountInfo, a *answer, err error) {
	a, err = c.get(ctx, token, "sys/internal/ui/mounts/"+c.mount)
	if err == nil && a.status == http.StatusOK {
		err = a.data(&info)
	}
	return info, a, err
}

func (a *answer) data(v any) error {
	r, isVault := a.decode()
	if !isVault || !isObject(r.Data) || json.Unmarshal(r.Data, v) != nil {
		return errNotVault
	}
	return nil
}

// standing is what Vault thinks of a token: it has been accepted or refused.
type standing struct {
	accepted bool
	token    tokenInfo // zero where the token may not look itself up
}

// askStanding finds out whether Vault still accepts a token. A 403 alone doesn't
// tell: it is the answer to a dead token and to a missing policy alike, in words
// that differ from version to version. A live token may look itself up if it has
// the policy default; one without it is still known by the mount's own refusal.
func (c *conn) askStanding(ctx context.Context, token string) (standing, error) {
	info, a, err := c.lookupSelf(ctx, token)
	switch {
	case err != nil:
		return standing{}, transportFailure("look up the Vault token", err)
	case a.status == http.StatusOK:
		return standing{accepted: true, token: info}, nil
	case a.status != http.StatusForbidden || !a.isRefusal():
		return standing{}, a.readFailure("look up the Vault token", unsaid)
	}
	_, a, err = c.lookupMount(ctx, token)
	switch {
	case err != nil:
		return standing{}, transportFailure("look up the mount "+c.mount, err)
	case a.status == http.StatusOK:
		return standing{accepted: true}, nil
	case a.status != http.StatusForbidden || !a.isRefusal():
		return standing{}, a.readFailure("look up the mount "+c.mount, unsaid)
	}
	return standing{accepted: strings.Contains(string(a.body), "preflight capability check")}, nil
}

// isRefusal tells a 403 of Vault's from one of a firewall or proxy before it.
func (a *answer) isRefusal() bool {
	r, isVault := a.decode()
	return isVault && len(r.Errors) > 0
}

// unsaid leaves out what Vault says.
func unsaid(string) string { return "" }

// inquiry asks one question at a time on behalf of many. Whoever comes while an
// answer is under way waits for the next one, since what has just been refused
// may have died after that question was put.
type inquiry struct {
	mu   sync.Mutex // guards both
	next *question  // not put yet, so it may be joined
	last *question  // put, and perhaps answered
}

type question struct {
	done   chan struct{} // closed when there is an answer
	answer standing
	err    error
}

func (q *inquiry) ask(ctx context.Context, put func(context.Context) (standing, error)) (standing, error) {
	q.mu.Lock()
	mine := q.next
	if mine == nil {
		mine = &question{done: make(chan struct{})}
		q.next = mine
		go q.put(context.WithoutCancel(ctx), mine, q.last, put)
	}
	q.mu.Unlock()
	select {
	case <-mine.done:
		return mine.answer, mine.err
	case <-ctx.Done():
		return standing{}, transportFailure("look up the Vault token", ctx.Err())
	}
}

func (q *inquiry) put(ctx context.Context, mine, before *question, put func(context.Context) (standing, error)) {
	if before != nil {
		<-before.done
	}
	q.mu.Lock()
	q.next, q.last = nil, mine
	q.mu.Unlock()
	defer close(mine.done)
	ctx, cancel := context.WithTimeout(ctx, standingTimeout)
	defer cancel()
	mine.answer, mine.err = put(ctx)
}
