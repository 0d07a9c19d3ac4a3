package hashivault

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"
)

// tokenStatusTimeout limits one check of a token. Many lookups share a check, so the
// deadline of a single one doesn't apply.
const tokenStatusTimeout = 2 * time.Second

// tokenInfo is the answer of auth/token/lookup-self.
type tokenInfo struct {
	TTL              int      `json:"ttl"`          // remaining seconds; 0: it never expires
	CreationTTL      int      `json:"creation_ttl"` // seconds at its creation
	Renewable        bool     `json:"renewable"`
	Policies         []string `json:"policies"`
	IdentityPolicies []string `json:"identity_policies"`
}

func (i tokenInfo) policies() []string { return slices.Concat(i.Policies, i.IdentityPolicies) }

// auth is the token in the form of a login's answer.
func (i tokenInfo) auth(token string) *api.SecretAuth {
	return &api.SecretAuth{ClientToken: token, LeaseDuration: i.TTL, Renewable: i.Renewable}
}

func (c *conn) lookupSelf(ctx context.Context, token string) (info tokenInfo, a *answer, err error) {
	a, err = c.send(ctx, request{path: "auth/token/lookup-self", token: token, login: true})
	if err == nil && a.status == http.StatusOK {
		err = a.data(&info)
	}
	return info, a, err
}

// mountInfo is the answer of sys/internal/ui/mounts. Any token that may do something
// below the mount may read it.
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
	a, err = c.send(ctx, request{path: "sys/internal/ui/mounts/" + c.mount, token: token})
	if err == nil && a.status == http.StatusOK {
		err = a.data(&info)
	}
	return info, a, err
}

// tokenStatus says whether Vault accepts a token.
type tokenStatus struct {
	accepted bool
	token    tokenInfo // zero if the token may not look itself up
}

// tokenStatus asks whether Vault still accepts a token. A 403 alone doesn't say:
// Vault answers 403 both for an expired token and for a missing policy, with
// messages that differ between versions. A valid token may look itself up if it has
// the policy default; without it, the mount's answer shows that the token is valid.
func (c *conn) tokenStatus(ctx context.Context, token string) (tokenStatus, error) {
	info, a, err := c.lookupSelf(ctx, token)
	switch {
	case err != nil:
		return tokenStatus{}, transportFailure("look up the Vault token", err)
	case a.status == http.StatusOK:
		return tokenStatus{accepted: true, token: info}, nil
	case !a.forbidden():
		return tokenStatus{}, a.readFailure("look up the Vault token", redactAll)
	}
	_, a, err = c.lookupMount(ctx, token)
	switch {
	case err != nil:
		return tokenStatus{}, transportFailure("look up the mount "+c.mount, err)
	case a.status == http.StatusOK:
		return tokenStatus{accepted: true}, nil
	case !a.forbidden():
		return tokenStatus{}, a.readFailure("look up the mount "+c.mount, redactAll)
	}
	return tokenStatus{accepted: strings.Contains(string(a.body), "preflight capability check")}, nil
}

// redactAll drops Vault's messages.
func redactAll(string) string { return "" }

// sharedCheck makes one check of a token at a time, for many callers. A caller that
// comes while a check is running waits for the next one: the token may have expired
// after the running check began.
type sharedCheck struct {
	mu   sync.Mutex // guards both
	next *checkCall // not started yet, so callers may join it
	last *checkCall // running or done
}

type checkCall struct {
	done   chan struct{} // closed when there is an answer
	answer tokenStatus
	err    error
}

func (q *sharedCheck) do(ctx context.Context, check func(context.Context) (tokenStatus, error)) (tokenStatus, error) {
	q.mu.Lock()
	mine := q.next
	if mine == nil {
		mine = &checkCall{done: make(chan struct{})}
		q.next = mine
		go q.run(context.WithoutCancel(ctx), mine, q.last, check)
	}
	q.mu.Unlock()
	select {
	case <-mine.done:
		return mine.answer, mine.err
	case <-ctx.Done():
		return tokenStatus{}, transportFailure("look up the Vault token", ctx.Err())
	}
}

func (q *sharedCheck) run(ctx context.Context, mine, before *checkCall, check func(context.Context) (tokenStatus, error)) {
	if before != nil {
		<-before.done
	}
	q.mu.Lock()
	q.next, q.last = nil, mine
	q.mu.Unlock()
	defer close(mine.done)
	ctx, cancel := context.WithTimeout(ctx, tokenStatusTimeout)
	defer cancel()
	mine.answer, mine.err = check(ctx)
}
