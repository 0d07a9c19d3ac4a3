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
	kv      string       // the version to read with
	fixed   bool         // the token was given, not obtained by a login
	proven  atomic.Bool  // Vault has accepted the token
	refused atomic.Bool  // Vault has refused it, and another is being obtained
	inquiry inquiry      // about the token's standing
	ends    atomic.Int64 // Unix nanoseconds; 0: never, or nobody has said
	recent  secretstore.RecentReads
}

// loginInterval is the least time from one login to the next: tokens may be
// granted that end at once.
const loginInterval = 500 * time.Millisecond

// sessions owns a store's Vault token. One goroutine obtains it, has it renewed,
// and replaces it; so there is one login at a time, however many reads find the
// token refused.
type sessions struct {
	conn     *conn
	settings settings
	log      *slog.Logger
	stop     context.CancelFunc
	held     *grant        // obtained, but of no use yet; the goroutine's own until done
	done     chan struct{} // closed when the goroutine has ended
	files    chan struct{} // a file of the method has changed
	wake     chan struct{} // current has been refused, or its kv is in doubt

	mu       sync.Mutex           // guards the rest
	current  *session             // what reads use; nil before the first login and after a refusal
	changed  chan struct{}        // closed when any of these changes
	failure  *secretstore.Failure // of the last attempt to obtain a token; nil after a success
	failures int                  // in a row, until a token has proved itself
	revoked  bool                 // Vault refuses the token that was current last
	retryAt  time.Time            // no attempt before
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

// get returns the session to read with. While one is being obtained it waits, as
// long as ctx allows; during the pause after a failure it fails at once.
func (l *sessions) get(ctx context.Context) (*session, error) {
	for {
		l.mu.Lock()
		current, failure, pause, changed := l.current, l.failure, time.Until(l.retryAt), l.changed
		l.mu.Unlock()
		if current != nil {
			return current, nil
		}
		if failure != nil && pause > 0 {
			return nil, waiting(failure, pause)
		}
		select {
		case <-changed:
		case <-l.done:
			return nil, closedFailure()
		case <-ctx.Done():
			if failure == nil {
				failure = &secretstore.Failure{Op: "log in to Vault", Reason: "login", Err: errors.New("the login is still under way")}
			}
			return nil, waiting(failure, time.Second)
		}
	}
}

// loginEnds is when the token in use ends, as far as Vault has said.
func (l *sessions) loginEnds() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == nil || l.current.ends.Load() == 0 {
		return time.Time{}
	}
	return time.Unix(0, l.current.ends.Load())
}

// waiting is a failure with the time after which asking again makes sense.
func waiting(f *secretstore.Failure, pause time.Duration) *secretstore.Failure {
	w := *f
	w.Wait = max(w.Wait, pause)
	return &w
}

func closedFailure() *secretstore.Failure {
	return &secretstore.Failure{Op: "read", Reason: "closed", Err: errClosed}
}

// replace returns another session than s, whose token Vault has refused. Whoever
// comes first has a token obtained, the others wait for the same one. It returns
// refusal if there is no other token to be had, or not yet: a token that was
// refused before it had ever worked counts as a failed login.
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
		if !s.proven.Load() {
			// Not refusal itself, which speaks of one record.
			f := *refusal
			f.Op = "use the Vault token"
			l.countFailure(&f)
		}
		l.announce()
		l.nudge()
	}
	l.mu.Unlock()
	return l.get(ctx)
}

// prove notes that Vault accepts the session's token.
func (l *sessions) prove(s *session) {
	if s.proven.CompareAndSwap(false, true) {
		l.mu.Lock()
		l.failures = 0
		l.mu.Unlock()
	}
}

// doubtKV has the mount asked again for its version, where that was found out.
func (l *sessions) doubtKV() {
	if l.settings.kv == "" {
		l.nudge()
	}
}

func (l *sessions) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// announce tells everyone in get that something has changed. l.mu is held.
func (l *sessions) announce() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// countFailure opens or lengthens the pause. l.mu is held.
func (l *sessions) countFailure(f *secretstore.Failure) {
	l.failures++
	if f.Reason == "file" || f.Reason == "login" {
		// Vault wasn't asked anything since, so what it said last stands.
		f.LoginRefused = f.LoginRefused || l.revoked
	}
	l.failure = f
	l.retryAt = time.Now().Add(max(f.Wait, pauseAfter(f, l.failures)))
}

// pauseAfter grows from half a second. A Vault that could not answer is asked
// again every few seconds, for every one of them is an outage; one that has
// turned the login down only every minute, since it may lock the role out.
func pauseAfter(f *secretstore.Failure, failures int) time.Duration {
	longest := 5 * time.Second
	if f.Reason == "login" || f.Reason == "token" {
		longest = time.Minute
	}
	return growing(failures, longest)
}

// growing is a pause that doubles with each try, with jitter, so that many
// gateways don't ask in step.
func growing(tries int, longest time.Duration) time.Duration {
	pause := min(longest, 500*time.Millisecond<<min(tries-1, 10))
	return pause/2 + rand.N(pause/2)
}

func (l *sessions) run(ctx context.Context) {
	defer close(l.done)
	for ctx.Err() == nil {
		s := l.acquire(ctx)
		for s != nil {
			s = l.tend(ctx, s)
		}
	}
}

// acquire obtains a session, however many attempts it takes, and publishes it.
// It returns nil when ctx is done.
func (l *sessions) acquire(ctx context.Context) *session {
	for {
		afresh := l.pause(ctx)
		if ctx.Err() != nil {
			return nil
		}
		s, err := l.open(ctx, afresh)
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
		l.announce()
		l.mu.Unlock()
	}
}

// pause waits until another attempt may be made, and reports whether a changed
// file ended it early.
func (l *sessions) pause(ctx context.Context) (afresh bool) {
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

// open obtains a token and, where the configuration doesn't say, the version of
// the KV engine.
func (l *sessions) open(ctx context.Context, afresh bool) (*session, *secretstore.Failure) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	g, failure := l.obtain(ctx, afresh)
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

// obtain returns the token held from an attempt that failed later on, or another
// one: it may have taken a secret id that can't be used again.
func (l *sessions) obtain(ctx context.Context, afresh bool) (grant, *secretstore.Failure) {
	if l.held != nil {
		g := *l.held
		l.held = nil
		if !afresh {
			return g, nil
		}
		_ = l.revoke(g)
	}
	g, err := l.settings.method.obtain(ctx, l.conn, afresh)
	if err != nil {
		var f *secretstore.Failure
		if !errors.As(err, &f) {
			f = &secretstore.Failure{Op: "log in to Vault", Reason: "login", Err: err}
		}
		return grant{}, f
	}
	if g.caveat != nil {
		l.log.Error("the Vault token will be lost at the next reload", "reason", "token_sink_file", "err", g.caveat)
	}
	if g.auth != nil {
		l.log.Info("obtained a Vault token", "ttl", time.Duration(g.auth.LeaseDuration)*time.Second, "renewable", g.auth.Renewable)
	}
	return g, nil
}

// askKV finds out the version of the KV engine. Where the token may not ask, it
// is v1, as for Kong.
func (l *sessions) askKV(ctx context.Context, g grant) (string, *secretstore.Failure) {
	op := "ask for the KV version of " + l.settings.mount
	info, a, err := l.conn.lookupMount(ctx, g.token)
	switch {
	case err != nil:
		return "", transportFailure(op, err)
	case a.status == http.StatusOK:
		return info.kv(), nil
	case a.isRefusal() && (a.status == http.StatusForbidden || a.status == http.StatusNotFound):
		l.log.Warn("the token may not see the mount, so its KV version is taken to be v1: set kv, or let the token read below the mount",
			"reason", "kv_version", "mount", l.settings.mount)
		return kv1, nil
	}
	return "", a.failure(op, unsaid)
}

// publish gives a session to reads and revokes the one before it. Reads that are
// still under way with that one will find it refused, and be repeated.
func (l *sessions) publish(s *session) {
	l.mu.Lock()
	old := l.current
	l.current, l.failure, l.revoked, l.retryAt = s, nil, false, time.Now().Add(loginInterval)
	l.announce()
	l.mu.Unlock()
	if old != nil && old.token != s.token {
		_ = l.revoke(old.grant) // it has a ttl
	}
}

// revoke ends a token of our own.
func (l *sessions) revoke(g grant) error {
	if !g.revoke {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	a, err := l.conn.ofLogin(ctx, http.MethodPut, g.token, "auth/token/revoke-self")
	switch {
	case err != nil:
		return transportFailure("revoke the Vault token", err)
	case a.status < 300, a.status == http.StatusBadRequest: // a batch token: there is nothing to revoke
		return nil
	case a.status == http.StatusForbidden:
		if stands, err := l.conn.askStanding(ctx, g.token); err == nil && !stands.accepted {
			return nil // it was dead already
		}
	}
	return a.failure("revoke the Vault token", unsaid)
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
		return fmt.Errorf("the Vault token lives on until its ttl has passed: %w", err)
	}
	return nil
}

// fileChanged is told by the file watch.
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
