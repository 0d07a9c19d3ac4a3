package hashivault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kong-vault-auth/secretstore"
	"kong-vault-auth/securefile"
)

// session is one Vault token in use.
type session struct {
	grant
	kv       string       // the version to read with
	fixed    bool         // the token is configured, not obtained by a login
	accepted atomic.Bool  // Vault has accepted the token
	refused  atomic.Bool  // Vault has refused the token, and another is being obtained
	check    sharedCheck  // of the token's status
	ends     atomic.Int64 // the token's expiry in Unix nanoseconds; 0: never, or unknown
	recent   secretstore.RecentReads
}

// loginInterval is the minimum time between two logins: Vault may grant tokens that
// expire immediately.
const loginInterval = 500 * time.Millisecond

// sessions owns a store's Vault token. One goroutine obtains, renews and replaces
// it, so there is one login at a time, however many reads are refused.
type sessions struct {
	conn     *conn
	settings settings
	log      *slog.Logger
	stop     context.CancelFunc
	held     *grant        // a token of an attempt that failed at a later step; only the goroutine uses it until done
	done     chan struct{} // closed when the goroutine has ended
	files    chan struct{} // a file of the method has changed
	wake     chan struct{} // current has been refused, or its kv is in doubt

	mu       sync.Mutex           // guards the rest
	current  *session             // what reads use; nil before the first login and after a refusal
	changed  chan struct{}        // closed when any of these changes
	failure  *secretstore.Failure // of the last attempt to obtain a token; nil after a success
	failures int                  // in a row, until Vault accepts a token
	revoked  bool                 // Vault refuses the last current token
	retryAt  time.Time            // the earliest time of the next attempt
}

func startSessions(s settings, c *conn, log *slog.Logger) *sessions {
	ctx, stop := context.WithCancel(context.Background())
	l := &sessions{
		conn: c, settings: s, log: log, stop: stop,
		done: make(chan struct{}), files: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		changed: make(chan struct{}),
	}
	if files := slices.Concat(s.method.files(), s.dialing.files()); len(files) > 0 {
		slices.Sort(files)
		go securefile.NewWatch(slices.Compact(files)...).Run(ctx, l.fileChanged)
	}
	go l.run(ctx)
	return l
}

// get returns the session to read with. It waits, as long as ctx allows, while one
// is being obtained. During the backoff after a failure it fails immediately.
func (l *sessions) get(ctx context.Context) (*session, error) {
	for {
		l.mu.Lock()
		current, failure, pause, changed := l.current, l.failure, time.Until(l.retryAt), l.changed
		l.mu.Unlock()
		if current != nil {
			return current, nil
		}
		if failure != nil && pause > 0 {
			return nil, withRetryAfter(failure, pause)
		}
		select {
		case <-changed:
		case <-l.done:
			return nil, closedFailure()
		case <-ctx.Done():
			if failure == nil {
				failure = &secretstore.Failure{Op: "log in to Vault", Reason: "login", Err: errors.New("the login is still under way")}
			}
			return nil, withRetryAfter(failure, time.Second)
		}
	}
}

// loginEnds is when the token in use expires, as far as Vault has said.
func (l *sessions) loginEnds() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == nil || l.current.ends.Load() == 0 {
		return time.Time{}
	}
	return time.Unix(0, l.current.ends.Load())
}

// withRetryAfter adds the time after which a retry makes sense.
func withRetryAfter(f *secretstore.Failure, pause time.Duration) *secretstore.Failure {
	w := *f
	w.Wait = max(w.Wait, pause)
	return &w
}

func closedFailure() *secretstore.Failure {
	return &secretstore.Failure{Op: "read", Reason: "closed", Err: errClosed}
}

// replace returns another session than s, whose token Vault has refused. The first
// caller triggers a login, and the others wait for the same one. It returns refusal
// if no other token is available. A token that was refused before it ever worked
// counts as a failed login.
func (l *sessions) replace(ctx context.Context, s *session, refusal *secretstore.Failure) (*session, error) {
	another := l.settings.method.another(s.token)
	l.mu.Lock()
	if l.current == s {
		if !another {
			l.mu.Unlock()
			return nil, refusal
		}
		s.refused.Store(true)
		l.current, l.revoked = nil, true
		if !s.accepted.Load() {
			// Not refusal itself, which is about one record.
			f := *refusal
			f.Op = "use the Vault token"
			l.countFailure(&f)
		}
		l.notify()
		l.wakeUp()
	}
	l.mu.Unlock()
	return l.get(ctx)
}

// noteAccepted records that Vault accepts the session's token.
func (l *sessions) noteAccepted(s *session) {
	if s.accepted.CompareAndSwap(false, true) {
		l.mu.Lock()
		l.failures = 0
		l.mu.Unlock()
	}
}

// requestKVCheck makes the goroutine ask for the KV version again, unless it is
// configured.
func (l *sessions) requestKVCheck() {
	if l.settings.kv == "" {
		l.wakeUp()
	}
}

func (l *sessions) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// notify wakes everyone who waits in get. l.mu is held.
func (l *sessions) notify() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// countFailure starts the backoff or extends it. l.mu is held.
func (l *sessions) countFailure(f *secretstore.Failure) {
	l.failures++
	if f.Reason == "file" || f.Reason == "login" {
		// Vault has not been asked since, so its last answer remains valid.
		f.LoginRefused = f.LoginRefused || l.revoked
	}
	l.failure = f
	l.retryAt = time.Now().Add(max(f.Wait, retryPause(f, l.failures)))
}

// retryPause is the backoff, from half a second. A Vault that could not answer is
// asked again every few seconds, to end the outage soon. One that has rejected the
// login is asked only every minute, since it may lock the role out.
func retryPause(f *secretstore.Failure, failures int) time.Duration {
	longest := 5 * time.Second
	if f.Reason == "login" || f.Reason == "token" {
		longest = time.Minute
	}
	return backoff(failures, longest)
}

// backoff is a pause that doubles with each try. Its jitter keeps many gateways from
// retrying at the same moment.
func backoff(tries int, longest time.Duration) time.Duration {
	pause := min(longest, 500*time.Millisecond<<min(tries-1, 10))
	return pause/2 + rand.N(pause/2)
}

func (l *sessions) run(ctx context.Context) {
	defer close(l.done)
	for ctx.Err() == nil {
		s := l.acquire(ctx)
		for s != nil {
			s = l.maintain(ctx, s)
		}
	}
}

// acquire obtains a session, with as many attempts as that needs, and publishes it.
// It returns nil when ctx is done.
func (l *sessions) acquire(ctx context.Context) *session {
	for {
		filesChanged := l.waitForRetry(ctx)
		if ctx.Err() != nil {
			return nil
		}
		s, err := l.newSession(ctx, filesChanged)
		if err == nil {
			l.publish(s)
			return s
		}
		if ctx.Err() != nil {
			return nil
		}
		l.conn.redial()
		l.log.Warn("no Vault token could be obtained", "reason", err.Reason, "err", err)
		l.mu.Lock()
		l.countFailure(err)
		l.notify()
		l.mu.Unlock()
	}
}

// waitForRetry waits until the next attempt may be made, and reports whether a
// changed file ended the wait.
func (l *sessions) waitForRetry(ctx context.Context) (filesChanged bool) {
	l.mu.Lock()
	rest := time.Until(l.retryAt)
	l.mu.Unlock()
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-l.files:
		return true
	}
	return false
}

// newSession obtains a token and, unless it is configured, the version of the KV
// engine.
func (l *sessions) newSession(ctx context.Context, filesChanged bool) (*session, *secretstore.Failure) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	g, failure := l.obtain(ctx, filesChanged)
	if failure != nil {
		return nil, failure
	}
	kv := l.settings.kv
	if kv == "" {
		if kv, failure = l.askKV(ctx, g); failure != nil {
			l.held = &g
			return nil, failure
		}
	}
	return &session{grant: g, kv: kv, fixed: g.auth == nil}, nil
}

// obtain returns the token of an attempt that failed at a later step, or else another
// one. The former is kept because its secret id may not work twice.
func (l *sessions) obtain(ctx context.Context, filesChanged bool) (grant, *secretstore.Failure) {
	if l.held != nil {
		g := *l.held
		l.held = nil
		if !filesChanged {
			return g, nil
		}
		_ = l.revoke(g)
	}
	g, err := l.settings.method.obtain(ctx, l.conn, filesChanged)
	if err != nil {
		var f *secretstore.Failure
		if !errors.As(err, &f) {
			f = &secretstore.Failure{Op: "log in to Vault", Reason: "login", Err: err}
		}
		return grant{}, f
	}
	if g.warning != nil {
		l.log.Error("the Vault token will be lost at the next reload", "reason", "token_sink_file", "err", g.warning)
	}
	if g.auth != nil {
		l.log.Info("obtained a Vault token", "ttl", time.Duration(g.auth.LeaseDuration)*time.Second, "renewable", g.auth.Renewable)
	}
	return g, nil
}

// askKV asks Vault for the version of the KV engine. If the token may not ask, v1 is
// assumed, as in Kong.
func (l *sessions) askKV(ctx context.Context, g grant) (string, *secretstore.Failure) {
	op := "ask for the KV version of " + l.settings.mount
	info, a, err := l.conn.lookupMount(ctx, g.token)
	switch {
	case err != nil:
		return "", transportFailure(op, err)
	case a.status == http.StatusOK:
		return info.kv(), nil
	case a.hasErrors() && (a.status == http.StatusForbidden || a.status == http.StatusNotFound):
		l.log.Warn("the token may not see the mount, so its KV version is assumed to be v1: set kv, or let the token read below the mount",
			"reason", "kv_version", "mount", l.settings.mount)
		return kv1, nil
	}
	return "", a.failure(op, redactAll)
}

// publish makes s the session of reads and revokes the previous one. Reads that are
// still using that one will be refused, and repeated.
func (l *sessions) publish(s *session) {
	l.mu.Lock()
	old := l.current
	l.current, l.failure, l.revoked, l.retryAt = s, nil, false, time.Now().Add(loginInterval)
	l.notify()
	l.mu.Unlock()
	if old != nil && old.token != s.token {
		_ = l.revoke(old.grant) // otherwise it expires with its ttl
	}
}

// revoke ends a token that nobody else uses.
func (l *sessions) revoke(g grant) error {
	if !g.revoke {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	a, err := l.conn.send(ctx, request{method: http.MethodPut, path: "auth/token/revoke-self", token: g.token, login: true})
	switch {
	case err != nil:
		return transportFailure("revoke the Vault token", err)
	case a.status < 300, a.status == http.StatusBadRequest: // a batch token: there is nothing to revoke
		return nil
	case a.status == http.StatusForbidden:
		if status, err := l.conn.tokenStatus(ctx, g.token); err == nil && !status.accepted {
			return nil // it had expired, or was revoked
		}
	}
	return a.failure("revoke the Vault token", redactAll)
}

// close ends the goroutine and the token.
func (l *sessions) close() error {
	l.stop()
	<-l.done
	l.mu.Lock()
	current := l.current
	l.current = nil
	l.mu.Unlock()
	g := grant{}
	if current != nil {
		g = current.grant
	} else if l.held != nil {
		g = *l.held
	}
	if err := l.revoke(g); err != nil {
		return fmt.Errorf("the Vault token remains valid until its ttl has passed: %w", err)
	}
	return nil
}

// fileChanged is called by the file watch.
func (l *sessions) fileChanged(file string) {
	if slices.Contains(l.settings.dialing.files(), file) {
		if err := l.conn.reload(); err != nil {
			l.log.Warn("a certificate or key has changed, but can't be used yet", "reason", "file", "err", err)
		}
	}
	if slices.Contains(l.settings.method.files(), file) {
		select {
		case l.files <- struct{}{}:
		default:
		}
	}
}
