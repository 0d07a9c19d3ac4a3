package blocklist

import (
	"cmp"
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

// List is what is blocked. A nil List blocks nothing. It is safe for concurrent use.
type List struct {
	path, keyFile string
	log           *slog.Logger
	now           func() time.Time
	active        atomic.Pointer[active] // nil: nothing is blocked

	mu      sync.Mutex // guards the rest, and changes of active
	keys    *Keys      // nil: the key couldn't be read yet
	entries map[Target]Entry
	known   bool  // what the file held has been read, or there was no file
	problem error // why the file, as it is now, can't be used
}

// active is what requests are compared with. It never changes. The times are those
// until which something is blocked; zero: for good.
type active struct {
	keys      *Keys
	ids       map[credential.ShortID]time.Time
	tokens    map[[digestLen]byte]time.Time
	consumers map[string]time.Time
}

// Open reads the list in a file that is signed with the key in another. What is wrong
// with either is logged, and Watch tries again when it has changed. Without a path the
// list is in memory only: a node of a fleet gets it from Redis again when it starts.
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
	l.reload() // what has changed since it was read
	w.Run(ctx, func(string) { l.reload() })
}

// Problem is why the file, as it is now, can't be used; nil: it can.
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

// load takes in what the files hold. mu is held.
func (l *List) load() error {
	l.problem = func() error {
		keys, err := ReadKeys(l.keyFile)
		if err != nil {
			return err
		}
		entries, err := l.kept(keys)
		if err != nil {
			return err
		}
		l.keys, l.known = keys, true
		l.merge(entries)
		return nil
	}()
	return l.problem
}

// kept is what the file holds; nothing, if there is none.
func (l *List) kept(keys *Keys) ([]Entry, error) {
	if l.path == "" {
		return nil, nil
	}
	entries, there, err := keys.read(l.path, l.now())
	if err == nil && !there && len(l.entries) > 0 {
		err = fmt.Errorf("%s is gone; it is written again with the next block", l.path)
	}
	return entries, err
}

// merge takes in entries, each if it counts more than what is known of its target, and
// returns those. mu is held.
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
		if until, found := a.tokens[a.keys.digest(accessToken)]; found && l.holds(until) {
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

// Entries are all that are known, those that block nothing any more too, by target.
func (l *List) Entries() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(maps.Values(l.entries), func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Value, b.Value))
	})
}

// Token is the target that stands for an access token in all stores.
func (l *List) Token(accessToken string) (Target, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keys == nil {
		return Target{}, fmt.Errorf("tokens can't be blocked: %w", l.problem)
	}
	return l.keys.Token(accessToken)
}

// errUnknown is a file that can't be read by a process that doesn't know its contents.
var errUnknown = errors.New("the file can't be read, so nothing can be added to it (fix it, or remove the file to start without any blocks)")

// Add adds entries, those of other nodes too, and returns those that count: they are in
// force here and in the file when it returns. If the file can't be written, they are in
// force in this process, and the error says so.
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
		return news, fmt.Errorf("the list of blocked credentials could not be written, a restart would lose the change: %w", err)
	}
	l.problem = nil
	return news, nil
}
