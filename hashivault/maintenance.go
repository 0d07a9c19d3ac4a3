package hashivault

import (
	"context"
	"net/http"
	"slices"
	"time"
)

// maintenance is the background work for one session while it is in use.
type maintenance struct {
	*sessions
	s         *session
	life      lifetime
	lookupDue <-chan time.Time // look the token up
	retry     <-chan time.Time // log in again with the files' present content
	retries   int              // of that login
}

// maintain renews a session's token for as long as it can. It returns the session
// that replaces it, or nil if one must be acquired or ctx is done.
func (l *sessions) maintain(ctx context.Context, s *session) *session {
	t := &maintenance{sessions: l, s: s}
	defer t.life.stop()
	if s.auth != nil {
		t.life.watch(l.conn.api, s.auth)
	}
	if s.fixed && s.token != "" || l.settings.kv != "" {
		t.lookupDue = time.After(0)
	}
	for {
		if !t.life.expires.IsZero() {
			s.ends.Store(t.life.expires.UnixNano())
		}
		var next *session
		expiring := false
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
			if s.refused.Load() {
				return nil
			}
			next = t.recheckKV(ctx)
		case <-l.files:
			t.retries = 0
			next = t.renewSession(ctx)
		case <-t.retry:
			next = t.renewSession(ctx)
		case <-t.lookupDue:
			t.lookUp(ctx)
		case r := <-t.life.renewed:
			t.life.noteRenewal(r)
			l.noteAccepted(s)
		case err := <-t.life.stopped:
			if expiring = t.life.watcherStopped(err); t.life.retry != nil {
				l.conn.redial()
				l.log.Warn("the Vault token could not be renewed; the renewal will be retried", "reason", "renewal", "err", apiFailure("renew the Vault token", err, s.token))
			}
		case <-t.life.retry:
			t.life.renew()
		case <-t.life.nearEnd:
			expiring = true
		}
		switch {
		case next != nil:
			return next
		case expiring && !s.fixed:
			return nil
		case expiring:
			l.log.Warn("the Vault token can no longer be renewed and will soon expire: "+l.settings.method.remedy(), "reason", "token_expiry")
		}
	}
}

// recheckKV asks for the KV version again. If it has changed, it returns the session
// to continue with.
func (t *maintenance) recheckKV(ctx context.Context) *session {
	if t.settings.kv != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	kv, failure := t.askKV(ctx, t.s.grant)
	if failure != nil || kv == t.s.kv {
		return nil
	}
	next := &session{grant: t.s.grant, kv: kv, fixed: t.s.fixed}
	t.publish(next)
	return next
}

// renewSession obtains a session with the files' present content. If that fails, the
// current session stays.
func (t *maintenance) renewSession(ctx context.Context) *session {
	t.retry = nil
	next, failure := t.newSession(ctx, true)
	if failure == nil {
		t.publish(next)
		return next
	}
	if ctx.Err() == nil {
		t.conn.redial()
		t.retries++
		t.retry = time.After(retryPause(failure, t.retries))
		t.log.Warn("a file has changed, but no Vault token can be obtained with it; the current token stays in use", "reason", failure.Reason, "err", failure)
	}
	return nil
}

// lookupRetry is the pause before the next lookup when Vault couldn't answer.
const lookupRetry = 10 * time.Second

// lookUp asks for the ttl of a configured token, and compares the configured KV
// version with that of the mount.
func (t *maintenance) lookUp(ctx context.Context) {
	t.lookupDue = nil
	limited, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	if !t.lookUpToken(limited) || !t.checkVersion(limited) {
		t.conn.redial()
		t.lookupDue = time.After(lookupRetry)
	}
}

// lookUpToken reports whether Vault could answer.
func (t *maintenance) lookUpToken(ctx context.Context) (ok bool) {
	if !t.s.fixed || t.s.token == "" || t.life.client != nil {
		return true
	}
	info, a, err := t.conn.lookupSelf(ctx, t.s.token)
	switch {
	case err != nil:
		return false
	case a.status != http.StatusOK:
		return a.status == http.StatusForbidden // reads will show whether the token works
	}
	t.noteAccepted(t.s)
	if slices.Contains(info.Policies, "root") {
		t.log.Warn("the Vault token has the policy root: give the plugin one that can only read its records", "reason", "root_token")
	}
	if info.TTL > 0 {
		t.life.expires = time.Now().Add(time.Duration(info.TTL) * time.Second)
	}
	switch wait, expires := untilWarning(info); {
	case !expires:
	case info.Renewable:
		t.life.watch(t.conn.api, info.auth(t.s.token))
	case wait > 0:
		t.lookupDue = time.After(wait)
	default:
		t.log.Warn("the Vault token can't be renewed and has reached 80 % of its life: "+t.settings.method.remedy(),
			"reason", "token_expiry", "expires_in", time.Duration(info.TTL)*time.Second)
	}
	return true
}

// untilWarning is the time until 80 % of a token's ttl have passed.
func untilWarning(info tokenInfo) (wait time.Duration, expires bool) {
	if info.TTL <= 0 {
		return 0, false
	}
	life := max(info.CreationTTL, info.TTL)
	return time.Duration(info.TTL)*time.Second - time.Duration(life)*time.Second/5, true
}

// checkVersion reports whether Vault could answer. For a KV v1 engine, a path of v2
// looks like any missing secret, so nothing else would reveal the mistake.
func (t *maintenance) checkVersion(ctx context.Context) (ok bool) {
	if t.settings.kv == "" {
		return true
	}
	info, a, err := t.conn.lookupMount(ctx, t.s.token)
	if err != nil {
		return false
	}
	if a.status == http.StatusOK && info.kv() != t.settings.kv {
		t.log.Error("kv doesn't agree with the mount, so no credential will be found",
			"reason", "kv_version", "mount", t.settings.mount, "kv", t.settings.kv, "mount_has", info.kv())
	}
	return true
}
