// Package blocklist keeps the credentials and consumers that are refused whatever their
// store says, so that a leaked one can be stopped while the store is down.
//
// A list lives in a file of the node, which is signed with a key from another file
// (HMAC-SHA-256) and watched. A file that can't be trusted is reported and changes
// nothing: what is known to be blocked stays blocked. Entries name credentials by
// fingerprint, or by a keyed digest of the access token, which holds for every store;
// no token is in the file.
//
// Nodes exchange their entries. Of two entries about the same target, the one that was
// made later counts, whichever arrives first, so an old message can't undo a newer
// decision.
package blocklist

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kong-vault-auth/credential"
	"kong-vault-auth/securefile"
)

// List is the list of what is blocked. A nil List blocks nothing. It is safe for
// concurrent use.
type List struct {
	path, keyFile string
	log           *slog.Logger
	now           func() time.Time
	active        atomic.Pointer[active] // nil: nothing is blocked

	mu      sync.Mutex // guards the rest, and changes of active
	keys    *Keys      // nil: the key couldn't be read yet
	entries map[Target]Entry
	known   bool  // the file has been read, or there was none
	problem error // see Problem
}

// active is what requests are compared with. It never changes. The times are the ends
// of blocks; zero: none.
type active struct {
	keys      *Keys
	ids       map[credential.ShortID]time.Time
	tokens    map[[digestLen]byte]time.Time
	consumers map[string]time.Time
}

// Open reads the list from the file at path, which is signed with the key in keyFile. A
// problem with either is logged, and Watch tries again when the file has changed. Without
// a path the list is in memory only: a node of a fleet gets it from Redis when it starts.
func Open(path, keyFile string, log *slog.Logger) *List {
	l := &List{path: path, keyFile: keyFile, log: log, now: time.Now, entries: map[Target]Entry{}}
	l.reload()
	return l
}

// Watch reads the files again when they have changed, until ctx ends.
func (l *List) Watch(ctx context.Context) {
	files := []string{l.keyFile}
	if l.path != "" {
		files = append(files, l.path)
	}
	w := securefile.NewWatch(files...)
	l.reload() // they may have changed before the watch began
	w.Run(ctx, func(string) { l.reload() })
}

// Problem returns why the file can't be used as it is now, or nil.
func (l *List) Problem() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.problem
}

func (l *List) reload() {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.problem
	if err := l.load(); err == nil {
		if before != nil {
			l.log.Info("the list of blocked credentials can be used again", "reason", "blocks")
		}
	} else if before == nil || before.Error() != err.Error() {
		l.log.Error("the list of blocked credentials can't be read or isn't signed with this key; the blocks in memory stay in force", "reason", "blocks", "err", err)
	}
}

// load merges the file's entries into the list. mu is held.
func (l *List) load() error {
	l.problem = func() error {
		keys, err := ReadKeys(l.keyFile)
		if err != nil {
			return err
		}
		entries, err := l.read(keys)
		if err != nil {
			return err
		}
		l.keys, l.known = keys, true
		l.merge(entries)
		return nil
	}()
	return l.problem
}

// read returns the file's entries, none if there is no file yet.
func (l *List) read(keys *Keys) ([]Entry, error) {
	if l.path == "" {
		return nil, nil
	}
	entries, exists, err := keys.read(l.path, l.now())
	if err == nil && !exists && len(l.entries) > 0 {
		err = fmt.Errorf("%s is gone; it is written again with the next block", l.path)
	}
	return entries, err
}

// merge adds the entries that supersede what is known of their targets, and returns
// those. mu is held.
func (l *List) merge(entries []Entry) (news []Entry) {
	now := l.now()
	for _, e := range entries {
		before, known := l.entries[e.Target]
		if !e.outdated(now) && (!known || e.supersedes(before)) {
			l.entries[e.Target] = e
			news = append(news, e)
		}
	}
	maps.DeleteFunc(l.entries, func(_ Target, e Entry) bool { return e.outdated(now) })
	l.active.Store(l.activeNow())
	return news
}

func (l *List) activeNow() *active {
	a := &active{
		keys: l.keys, ids: map[credential.ShortID]time.Time{}, tokens: map[[digestLen]byte]time.Time{}, consumers: map[string]time.Time{},
	}
	for _, e := range l.entries {
		if !e.Active(l.now()) {
			continue
		}
		switch e.Kind {
		case ByFingerprint:
			id, _ := credential.ParseFingerprint(e.Value)
			a.ids[id] = e.Until
		case ByToken:
			if l.keys == nil {
				continue // until the key can be read
			}
			b, _ := hex.DecodeString(e.Value)
			a.tokens[[digestLen]byte(b)] = e.Until
		case ByConsumer:
			a.consumers[e.Value] = e.Until
		}
	}
	if len(a.ids)+len(a.tokens)+len(a.consumers) == 0 {
		return nil
	}
	return a
}

// Credential reports whether a store's credential of an access token is blocked. It
// takes no lock and allocates nothing.
func (l *List) Credential(n credential.Naming, accessToken string) bool {
	if l == nil {
		return false
	}
	a := l.active.Load()
	if a == nil {
		return false
	}
	if len(a.ids) > 0 {
		if until, found := a.ids[n.ShortID(accessToken)]; found && l.holds(until) {
			return true
		}
	}
	if len(a.tokens) > 0 {
		if until, found := a.tokens[a.keys.tokens.Sum(accessToken)]; found && l.holds(until) {
			return true
		}
	}
	return false
}

// Consumer reports whether a consumer of Kong's is blocked.
func (l *List) Consumer(id, username string) bool {
	if l == nil {
		return false
	}
	a := l.active.Load()
	if a == nil || len(a.consumers) == 0 {
		return false
	}
	if until, found := a.consumers[id]; found && l.holds(until) {
		return true
	}
	until, found := a.consumers[username]
	return found && username != "" && l.holds(until)
}

func (l *List) holds(until time.Time) bool { return until.IsZero() || l.now().Before(until) }

// Entries returns all known entries, including those that no longer block, by target.
func (l *List) Entries() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(maps.Values(l.entries), byTarget)
}

// Token returns the target that stands for an access token in all stores.
func (l *List) Token(accessToken string) (Target, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keys == nil {
		return Target{}, fmt.Errorf("tokens can't be blocked: %w", l.problem)
	}
	return l.keys.Token(accessToken)
}

// errUnknown means that the file can't be read, and that this process has never read it.
var errUnknown = errors.New("the file can't be read, so nothing can be added to it (fix it, or remove the file to start without any blocks)")

// Add adds entries, of this node or another, and returns those that count. They are in
// force in this process when it returns, and in the file unless it returns an error.
func (l *List) Add(entries ...Entry) (news []Entry, err error) {
	for _, e := range entries {
		if err := e.Check(l.now()); err != nil {
			return nil, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.path == "" {
		return l.merge(entries), nil
	}
	unlock, _, lockErr := securefile.Lock(l.path)
	if lockErr == nil {
		defer unlock()
	}
	loadErr := l.load() // another process may have added something
	news = l.merge(entries)
	switch {
	case lockErr != nil:
		err = lockErr
	case !l.known:
		err = fmt.Errorf("%w: %w", loadErr, errUnknown)
	case len(news) == 0 && loadErr == nil:
		return nil, nil
	default:
		err = l.keys.write(l.path, slices.Collect(maps.Values(l.entries)))
	}
	if err != nil {
		return news, fmt.Errorf("the list of blocked credentials could not be written, so a restart would lose the change: %w", err)
	}
	l.problem = nil
	return news, nil
}
