package hashivault

import (
	"context"
	"net/http"
	"slices"
	"time"
)

// tending is what goes on beside one session while it is in use.
type tending struct {
	*sessions
	s     *session
	life  lifetime
	look  <-chan time.Time // look the token up
	again <-chan time.Time // try once more to log in with what the files hold
	tries int              // of again
}

// tend keeps a session alive. It returns the session that takes its place, or
// nil if one has to be acquired or ctx is done.
func (l *sessions) tend(ctx context.Context, s *session) *session {
	t := &tending{sessions: l, s: s}
	defer t.life.stop()
	if s.auth != nil {
		t.life.watch(l.conn.api, s.auth)
	}
	if s.fixed && s.token != "" || l.settings.kv != "" {
		t.look = time.After(0)
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
			next = t.otherVersion(ctx)
		case <-l.files:
			t.tries = 0
			next = t.startAfresh(ctx)
		case <-t.again:
			next = t.startAfresh(ctx)
		case <-t.look:
			t.lookUp(ctx)
		case r := <-t.life.renewed:
			t.life.noteRenewal(r)
			l.prove(s)
		case err := <-t.life.stopped:
			if expiring = t.life.over(err); t.life.again != nil {
				l.conn.redial()
				l.log.Warn("the Vault token could not be renewed, and will be tried again", "reason", "renewal", "err", apiFailure("renew the Vault token", err, s.token))
			}
		case <-t.life.again:
			t.life.renew()
		case <-t.life.near:
			expiring = true
		}
		switch {
		case next != nil:
			return next
		case expiring && !s.fixed:
			return nil
		case expiring:
			l.log.Warn("the Vault token can't be renewed any further and will soon expire: "+l.settings.method.remedy(), "reason", "token_expiry")
		}
	}
}

// otherVersion asks again for the KV version, and returns the session to go on
// with if it has changed.
func (t *tending) otherVersion(ctx context.Context) *session {
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

// startAfresh obtains a session with what the files hold now. If that fails, the
// one at hand goes on.
func (t *tending) startAfresh(ctx context.Context) *session {
	t.again = nil
	next, failure := t.open(ctx, true)
	if failure == nil {
		t.publish(next)
		return next
	}
	if ctx.Err() == nil {
		t.conn.redial()
		t.tries++
		t.again = time.After(pauseAfter(failure, t.tries))
		t.log.Warn("a file has changed, but no Vault token can be obtained with it; the one at hand is kept", "reason", failure.Reason, "err", failure)
	}
	return nil
}

// lookAgain is how long a look at a token waits for another, when Vault couldn't
// say.
const lookAgain = 10 * time.Second

// lookUp learns how long a given token lives, and compares the configured KV
// version with the mount's own.
func (t *tending) lookUp(ctx context.Context) {
	t.look = nil
	limited, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	if !t.lookUpToken(limited) || !t.checkVersion(limited) {
		t.conn.redial()
		t.look = time.After(lookAgain)
	}
}

// lookUpToken reports whether Vault could say.
func (t *tending) lookUpToken(ctx context.Context) (ok bool) {
	if !t.s.fixed || t.s.token == "" || t.life.client != nil {
		return true
	}
	info, a, err := t.conn.lookupSelf(ctx, t.s.token)
	switch {
	case err != nil:
		return false
	case a.status != http.StatusOK:
		return a.status == http.StatusForbidden // reads will tell
	}
	t.prove(t.s)
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
		t.look = time.After(wait)
	default:
		t.log.Warn("the Vault token can't be renewed and has reached 80 % of its life: "+t.settings.method.remedy(),
			"reason", "token_expiry", "expires_in", time.Duration(info.TTL)*time.Second)
	}
	return true
}

// untilWarning is how long until 80 % of a token's life have passed.
func untilWarning(info tokenInfo) (wait time.Duration, expires bool) {
	if info.TTL <= 0 {
		return 0, false
	}
	life := max(info.CreationTTL, info.TTL)
	return time.Duration(info.TTL)*time.Second - time.Duration(life)*time.Second/5, true
}

// checkVersion reports whether Vault could say. A KV v1 engine answers the paths
// of v2 as it answers any secret it doesn't have, so nothing else would tell.
func (t *tending) checkVersion(ctx context.Context) (ok bool) {
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
