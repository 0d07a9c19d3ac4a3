package vault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kong-vault-auth/cache"
	"kong-vault-auth/credential"
	"kong-vault-auth/snapshot"
)

// With snapshot_file, the cache is also kept in a file, for a plugin server that starts
// while the store can't answer. Records from the file are treated like records past
// their ttl: they are used only while the store can't answer, and no longer than those.

const (
	// snapshotEvery is the minimum time between two snapshots with new records.
	snapshotEvery = 30 * time.Second
	// A credential that was dropped or changed must not stay in the file: the next
	// snapshot then comes after snapshotSoon, or after snapshotDutyTime times the
	// duration of the last one.
	snapshotSoon     = time.Second
	snapshotDutyTime = 10
)

// snapshots writes those of one store's cache.
type snapshots struct {
	live    *live
	started time.Time // this process
	keepers *sync.Map // of all stores: who writes to a path, a *snapshots
	written atomic.Pointer[time.Time]

	mu   sync.Mutex
	file snapshot.File
	stop context.CancelFunc
	done chan struct{} // closed when the goroutine has ended
	shut bool

	flushes chan chan error // see flush

	// The rest belongs to the goroutine, and to the next one or close when that has
	// ended.
	tried      time.Time
	took       time.Duration
	last       newsCounts // what the cache had counted at the last one
	wrote      bool       // the file is this process's
	superseded bool       // somebody else keeps the file from now on
}

func newSnapshots(l *live, started time.Time, keepers *sync.Map) *snapshots {
	return &snapshots{live: l, started: started, keepers: keepers, flushes: make(chan chan error)}
}

// newsCounts are what the cache has counted of what makes news.
type newsCounts struct {
	found   uint64
	urgent  uint64 // credentials that are gone or are others now
	evicted uint64 // credentials that are gone from memory, and may be in the file
}

// keep makes f the file of the store's snapshots. If it has no path, none are written
// any more. A file that another store has kept so far is taken over from it. keep does
// not wait for a snapshot that is being written, since its callers hold Registry.mu.
func (s *snapshots) keep(f snapshot.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut || f == s.file && (f.Path == "" || s.keeps(f)) {
		return
	}
	if s.stop != nil {
		s.stop()
	}
	s.drop()
	if s.file = f; f.Path == "" {
		return
	}
	s.keepers.Store(f.Path, s)
	ctx, cancel := context.WithCancel(context.Background())
	before, done := s.done, make(chan struct{})
	s.stop, s.done = cancel, done
	go func() {
		defer close(done)
		if before != nil {
			<-before
		}
		// What has been found for another file is news for this one.
		s.tried, s.last, s.wrote, s.superseded = time.Time{}, newsCounts{}, false, false
		s.run(ctx, f)
	}()
}

// current is the file of the store's snapshots.
func (s *snapshots) current() snapshot.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file
}

// keeps reports whether f is this store's to write.
func (s *snapshots) keeps(f snapshot.File) bool {
	keeper, _ := s.keepers.Load(f.Path)
	return keeper == s
}

// drop leaves the file to others. mu is held.
func (s *snapshots) drop() { s.keepers.CompareAndDelete(s.file.Path, s) }

// close writes a last snapshot, if there is news. The cache is closed.
func (s *snapshots) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut = true
	if s.done != nil {
		s.stop()
		<-s.done
	}
	if n := s.counts(); s.file.Path != "" && (n.found != s.last.found || n.urgent != s.last.urgent) {
		_ = s.write(s.file) // it has been logged
	}
	s.drop()
	s.file = snapshot.File{}
}

func (s *snapshots) run(ctx context.Context, f snapshot.File) {
	ticks := time.NewTicker(snapshotSoon)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case reply := <-s.flushes:
			reply <- s.renew(f)
		case <-ticks.C:
			if ctx.Err() == nil && s.due() {
				_ = s.write(f) // it has been logged
			}
		}
	}
}

// flush returns once what has been dropped from the cache is in no snapshot of this
// process. Where that can't be written, there is none.
func (s *snapshots) flush() error {
	for {
		s.mu.Lock()
		kept, done := s.file.Path != "" && !s.shut, s.done
		s.mu.Unlock()
		if !kept {
			return nil
		}
		reply := make(chan error, 1)
		select {
		case s.flushes <- reply:
			return <-reply
		case <-done: // another goroutine keeps another file, or it is being closed
		}
	}
}

// renew makes sure that f holds nothing that the cache has dropped.
func (s *snapshots) renew(f snapshot.File) error {
	if n := s.counts(); s.wrote && n.urgent == s.last.urgent && n.evicted == s.last.evicted {
		return nil
	}
	err := s.write(f)
	if err == nil {
		return nil
	}
	if gone := os.Remove(f.Path); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		return fmt.Errorf("the snapshot %s still has credentials that were dropped, and could not be removed (remove it): %w", f.Path, errors.Join(err, gone))
	}
	return nil
}

func (s *snapshots) due() bool {
	n, since := s.counts(), time.Since(s.tried)
	return n.urgent != s.last.urgent && since >= max(snapshotSoon, snapshotDutyTime*s.took) ||
		n.found != s.last.found && since >= snapshotEvery
}

func (s *snapshots) counts() newsCounts {
	stats := s.live.cache.Stats()
	return newsCounts{found: stats.Found, urgent: stats.Dropped + stats.Changed, evicted: stats.Evicted}
}

// write writes a snapshot, unless somebody else has taken over the file. It logs what
// it returns.
func (s *snapshots) write(f snapshot.File) error {
	if s.superseded {
		return nil
	}
	s.tried = time.Now()
	counts := s.counts()
	h := snapshot.Header{Started: s.started, Written: s.tried, SealerKey: s.live.sealer.Key()}
	err := snapshot.ErrSuperseded
	if s.keeps(f) {
		err = f.Write(h, s.records())
	}
	s.took = time.Since(s.tried)
	switch {
	case err == nil:
		s.last, s.wrote = counts, true
		s.written.Store(&h.Written)
	case errors.Is(err, snapshot.ErrSuperseded):
		s.superseded = true
		s.live.log.Info("this plugin server no longer writes the snapshot: one that started later, or another store of the vault object, does", "reason", "snapshot_superseded")
		return nil
	default:
		s.live.log.Error("the snapshot can't be written: a plugin server that starts while the store can't answer will know nobody",
			"reason", "snapshot", "err", err)
	}
	return err
}

func (s *snapshots) records() iter.Seq[snapshot.Record] {
	return func(yield func(snapshot.Record) bool) {
		for item := range s.live.cache.All() {
			if !yield(snapshot.Record{Key: item.Key, Name: item.Name, ReadAt: item.ReadAt, Credential: item.Value.Stored()}) {
				return
			}
		}
	}
}

const ignored = "the snapshot is ignored; credentials are known again when they have been read from the store"

// restore takes what an earlier process has left, if there is anything that can
// be trusted. The store has no other users yet.
func (s *snapshots) restore(f snapshot.File, p cache.Policy) {
	if f.Path == "" {
		return
	}
	log, all, restored := s.live.log, 0, 0
	h, err := f.Read(time.Now(), func(r snapshot.Record) {
		all++
		c := r.Credential.Credential()
		if s.live.cache.Restore(cache.Item[*credential.Credential]{Key: r.Key, Name: r.Name, Found: foundOf(c), ReadAt: r.ReadAt}, p) {
			restored++
		}
	})
	var sealer *credential.Sealer
	if err == nil {
		sealer, err = credential.RestoreSealer(h.SealerKey)
	}
	switch {
	case errors.Is(err, snapshot.ErrNone):
	case err != nil:
		log.Warn(ignored, "reason", "snapshot_ignored", "err", err)
	case restored == 0 && all > 0:
		log.Warn(ignored, "reason", "snapshot_ignored", "err", f.Path+": all of it is older than ttl and resurrect_ttl", "written", h.Written.UTC().Format(time.RFC3339))
	default:
		s.live.sealer = sealer
		log.Info("the snapshot was read; what is in it is honoured while the store can't answer",
			"reason", "snapshot", "count", restored, "too_old", all-restored, "age", time.Since(h.Written).Round(time.Second).String())
	}
}

// checkSnapshots checks the node's objects against each other: a store has one
// cache, whichever object it is opened for first, and so one snapshot, and no
// two stores can have the same.
func checkSnapshots(objects ...map[string]Definition) error {
	all := map[string]Definition{}
	for _, defined := range objects {
		maps.Copy(all, defined)
	}
	names := slices.Sorted(maps.Keys(all))
	for i, name := range names {
		for _, other := range names[:i] {
			a, b := all[name], all[other]
			same := a.identity() == b.identity() && a.digest(nil) == b.digest(nil)
			switch mine, theirs := a.snapshot(), b.snapshot(); {
			case same && mine != theirs:
				return configError(name, "snapshot_file", fmt.Errorf(
					"it is the same store as %s: give both the same snapshot_file and snapshot_key_file, or neither", other))
			case !same && mine.Path != "" && mine.Path == theirs.Path:
				return configError(name, "snapshot_file", fmt.Errorf("%s, which is another store, has the same files: give each its own", other))
			}
		}
	}
	return nil
}
