package vaultauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"kong-vault-auth/clock"
	"kong-vault-auth/kongstatus"
)

const (
	// slowRead is how long reading a consumer takes if it has most likely failed: a
	// database that hangs costs pg_timeout, which is 5 s by default.
	slowRead = time.Second
	// After a slow read, known consumers aren't read again for minPause, which doubles
	// with every further slow read. It is longer than statusTimeout, so that the Status
	// API's answer comes first.
	minPause, maxPause = 8 * time.Second, 30 * time.Second

	// patience is how long a request waits for another request's read, or for the
	// Status API.
	patience = 250 * time.Millisecond

	statusFresh   = 2 * time.Second  // how long the Status API's answer is used for consumers that aren't known
	statusTimeout = 7 * time.Second  // more than pg_timeout: for so long a Status API waits for a database that hangs
	statusPause   = 10 * time.Second // between two tries while the Status API can't be asked
	minPoll       = time.Second      // between two questions while the database is down; doubles up to databaseDown

	// databaseDown is the Retry-After while Kong's database is down.
	databaseDown = 5 * time.Second
)

// Why an empty answer isn't taken for a consumer that is gone.
var (
	errSlow        = errors.New("reading Kong's database takes too long")
	errUnreachable = errors.New("the Status API says that Kong can't reach its database")
	errNoStatus    = errors.New("the Status API of Kong is not asked (VAULT_AUTH_KONG_STATUS=off), and no other known consumer of the workspace is found")
	errLate        = errors.New("the Status API of Kong takes too long")
)

// statusFunc is kongstatus.Client.Ask.
type statusFunc func(context.Context) (kongstatus.Status, error)

// databaseState is what is known of Kong's database: whether Kong's Status API says
// that it is reachable, and whether reads of it have been slow. Kong holds a
// request back until all calls of its event have ended, so a read of a database
// that hangs costs a request 5 s. That is why known consumers are read again
// by one request at a time, and by none
//
//   - while the Status API says that the database is down. It is asked when an
//     empty answer needs it, and from then on until the database is back;
//   - in a pause after a slow read, which grows;
//   - while another request's read has taken longer than patience.
type databaseState struct {
	status statusFunc // nil: Kong's Status API is not asked
	ctx    context.Context
	now    func() clock.Instant
	log    *slog.Logger

	mu      sync.Mutex
	pause   time.Duration // the latest; 0 after a read that was quick
	until   time.Duration // monotonic time at which the pause ends
	reread  *pending      // the read of a known consumer in flight; may be nil
	asking  *pending      // the question to the Status API in flight; may be nil
	asked   time.Duration // monotonic time of the question that answer belongs to
	answer  error         // nil: reachable; errUnreachable; or why the Status API couldn't be asked
	poll    time.Duration // until the next question while the database is down
	version string        // Kong's version that was checked last
}

// pending is something that a request waits for.
type pending struct {
	began time.Duration // monotonic time
	done  chan struct{} // closed at its end
}

func newDatabaseState(now func() clock.Instant, log *slog.Logger) *databaseState {
	return &databaseState{ctx: context.Background(), now: now, log: log, answer: errNoStatus}
}

// useStatus makes it ask the Status API, until ctx ends: at once for Kong's version, and
// later when needed. It must be called before the first request.
func (db *databaseState) useStatus(ctx context.Context, status statusFunc) {
	db.ctx, db.status, db.asked = ctx, status, -time.Hour
	go db.learnVersion()
}

// isDown reports whether the Status API says that the database can't be reached.
func (db *databaseState) isDown() bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	return errors.Is(db.answer, errUnreachable)
}

// beginReread reports whether a request may read a known consumer again; if so,
// it must call end afterwards. It waits while another request reads, as long as
// that isn't slow.
func (db *databaseState) beginReread() (end func(), may bool) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for late := false; ; {
		other, end := db.tryReread()
		switch {
		case end != nil:
			return end, true
		case other == nil:
			return nil, false
		case late: // the others are quick, but too many for one at a time
			return func() {}, true
		}
		select {
		case <-other.done:
		case <-limit.C:
			late = true
		}
	}
}

// tryReread begins a read, or returns the other one to wait for, or neither if
// nobody should read now.
func (db *databaseState) tryReread() (other *pending, end func()) {
	db.mu.Lock()
	defer db.mu.Unlock()
	now := db.now().Mono
	switch {
	case errors.Is(db.answer, errUnreachable) || now < db.until:
		return nil, nil
	case db.reread == nil:
		db.reread = &pending{now, make(chan struct{})}
		return nil, db.endReread
	case now-db.reread.began >= patience:
		return nil, nil
	}
	return db.reread, nil
}

func (db *databaseState) endReread() {
	db.mu.Lock()
	defer db.mu.Unlock()
	close(db.reread.done)
	db.reread = nil
}

// wasRead records how long a read took, and reports whether that was slow.
func (db *databaseState) wasRead(took time.Duration, found bool) (slow bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	now := db.now().Mono
	switch slow = took >= slowRead; {
	case slow && now >= db.until:
		db.pause = min(max(2*db.pause, minPause), maxPause)
		db.until = now + db.pause
		db.ask(now)
	case !slow && found:
		db.pause, db.until = 0, 0
	}
	return slow
}

// reachable reports whether the database can be reached, by the Status API's answer to a
// question that was asked at since or later. If there is none yet, it asks, and waits for
// up to patience. why is nil if the database is reachable, errUnreachable if it isn't, and
// otherwise says why that is not known.
func (db *databaseState) reachable(since time.Duration) (ok bool, why error) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		question, why := db.latest(since)
		if question == nil {
			return why == nil, why
		}
		select {
		case <-question.done:
		case <-limit.C:
			return false, errLate
		}
	}
}

// latest is the Status API's answer if it was asked for at since or later, or the
// question to wait for.
func (db *databaseState) latest(since time.Duration) (question *pending, why error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	now := db.now().Mono
	known := db.answer == nil || errors.Is(db.answer, errUnreachable)
	switch {
	case db.status == nil, known && db.asked >= since:
		return nil, db.answer
	case db.asking == nil && !known && now-db.asked < statusPause:
		return nil, db.answer
	case db.asking != nil && now-db.asking.began >= patience:
		return nil, errLate
	}
	db.ask(now)
	return db.asking, nil
}

// ask asks the Status API in the background, unless a question is in flight. The caller
// holds mu.
func (db *databaseState) ask(now time.Duration) {
	if db.asking == nil && db.status != nil {
		db.asking = &pending{now, make(chan struct{})}
		go db.askStatus()
	}
}

// askStatus asks the Status API, and keeps asking while the database is down.
func (db *databaseState) askStatus() {
	ctx, cancel := context.WithTimeout(db.ctx, statusTimeout)
	defer cancel()
	s, err := db.status(ctx)
	db.mu.Lock()
	defer db.mu.Unlock()
	wasDown := errors.Is(db.answer, errUnreachable)
	db.asked = db.asking.began
	close(db.asking.done)
	db.asking = nil
	switch {
	case err != nil:
		db.answer = fmt.Errorf("the Status API of Kong, which tells a consumer that is gone from a database that is down, can't be asked (see VAULT_AUTH_KONG_STATUS): %w", err)
	case !s.DatabaseReachable:
		db.answer = errUnreachable
		db.poll = min(max(2*db.poll, minPoll), databaseDown)
		time.AfterFunc(db.poll, func() {
			db.mu.Lock()
			defer db.mu.Unlock()
			db.ask(db.now().Mono)
		})
	default:
		db.answer = nil
	}
	if wasDown && !errors.Is(db.answer, errUnreachable) {
		db.poll, db.until = 0, 0
		db.log.Warn("Kong's database is no longer reported as down, consumers are read again")
	}
	db.check(s.Version)
}

// learnVersion asks the Status API until it has answered once, since a plugin server
// may start before Kong does.
func (db *databaseState) learnVersion() {
	for pause := minPoll; ; pause = min(2*pause, time.Minute) {
		ctx, cancel := context.WithTimeout(db.ctx, statusTimeout)
		s, err := db.status(ctx)
		cancel()
		if err == nil {
			db.mu.Lock()
			defer db.mu.Unlock()
			db.check(s.Version)
			return
		}
		select {
		case <-db.ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// check reports a Kong that is too old. The caller holds mu.
func (db *databaseState) check(version string) {
	if version == "" || version == db.version {
		return
	}
	db.version = version
	if (kongstatus.Status{Version: version}).OlderThan(3, 8) {
		db.log.Error("this Kong lets requests through unauthenticated when its plugin server fails or is too late: upgrade to Kong 3.8 or newer", "reason", "kong_version", "kong", version)
	}
}
