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
// while the store can't answer. Records from the file count as expired: they are used
// only while the store can't answer, and not longer than other expired ones.

const (
	// snapshotEvery is the minimum time between two snapshots with new records.
	snapshotEvery = 30 * time.Second
	// A credential that was dropped or changed must not stay in the file. The minimum
	// time is then snapshotSoon, or snapshotDutyTime times as long as the last snapshot
	// took.
	snapshotSoon     = time.Second
	snapshotDutyTime = 10
)

// snapshots writes the snapshots of one store's cache. While it has a file, a goroutine
// runs.
type snapshots struct {
	store   *credentialStore
	started time.Time // this process
	keepers *sync.Map // of all stores: the *snapshots that writes to a path
	written atomic.Pointer[time.Time]

	mu   sync.Mutex
	file snapshot.File
	stop context.CancelFunc
	done chan struct{} // closed when the goroutine has ended
	shut bool

	flushes chan chan error // see flush

	// The rest belongs to the goroutine. When it has ended, the next goroutine or close
	// takes it over.
	tried      time.Time     // when the last snapshot was begun
	took       time.Duration // how long it took
	last       newsCounts    // what the cache had counted at the last successful one
	wrote      bool          // this store has written the file
	superseded bool          // another process or store writes the file from now on
}

func newSnapshots(cs *credentialStore, started time.Time, keepers *sync.Map) *snapshots {
	return &snapshots{store: cs, started: started, keepers: keepers, flushes: make(chan chan error)}
}

// lastWritten is when the last snapshot was written, or zero.
func (s *snapshots) lastWritten() time.Time {
	if written := s.written.Load(); written != nil {
		return *written
	}
	return time.Time{}
}

// newsCounts are the counters of the cache that tell whether a new snapshot would differ
// from the last one.
type newsCounts struct {
	found   uint64
	urgent  uint64 // credentials that were dropped or changed
	evicted uint64 // credentials that were removed from memory for lack of space, and may be in the file
}

// keep makes f the file of the store's snapshots, and takes it over from any other store
// that wrote it so far. If f has no path, no more snapshots are written. keep does not wait
// for a snapshot that is being written, since its callers hold Registry.mu.
func (s *snapshots) keep(f snapshot.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut || f == s.file && (f.Path == "" || s.keeps(f)) {
		return
	}
	if s.stop != nil {
		s.stop()
	}
	s.giveUpFile()
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
		// Whatever is in memory is new for this file.
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

// keeps reports whether this store is the one that writes f.
func (s *snapshots) keeps(f snapshot.File) bool {
	keeper, _ := s.keepers.Load(f.Path)
	return keeper == s
}

// giveUpFile lets other stores write the file. mu is held.
func (s *snapshots) giveUpFile() { s.keepers.CompareAndDelete(s.file.Path, s) }

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
	s.giveUpFile()
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

// flush returns when no snapshot of this store has what was dropped from its cache. If
// another snapshot can't be written, the file is removed.
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

// renew makes sure that f has nothing that was dropped from the cache.
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

// due reports whether it is time for another snapshot.
func (s *snapshots) due() bool {
	n, since := s.counts(), time.Since(s.tried)
	return n.urgent != s.last.urgent && since >= max(snapshotSoon, snapshotDutyTime*s.took) ||
		n.found != s.last.found && since >= snapshotEvery
}

func (s *snapshots) counts() newsCounts {
	stats := s.store.cache.Stats()
	return newsCounts{found: stats.Found, urgent: stats.Dropped + stats.Changed, evicted: stats.Evicted}
}

// write writes a snapshot, unless another process or store has taken over the file. It
// logs the error that it returns.
func (s *snapshots) write(f snapshot.File) error {
	if s.superseded {
		return nil
	}
	s.tried = time.Now()
	counts := s.counts()
	h := snapshot.Header{Started: s.started, Written: s.tried, SealerKey: s.store.sealer.Key()}
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
		s.store.log.Info("this plugin server no longer writes the snapshot: one that started later, or another store of the vault object, does", "reason", "snapshot_superseded")
		return nil
	default:
		s.store.log.Error("the snapshot can't be written: a plugin server that starts while the store can't answer will know no credentials",
			"reason", "snapshot", "err", err)
	}
	return err
}

func (s *snapshots) records() iter.Seq[snapshot.Record] {
	return func(yield func(snapshot.Record) bool) {
		for item := range s.store.cache.All() {
			if !yield(snapshot.Record{Key: item.Key, Name: item.Name, ReadAt: item.ReadAt, Credential: item.Value.Stored()}) {
				return
			}
		}
	}
}

const ignored = "the snapshot is ignored; credentials are known again when they have been read from the store"

// restore fills the cache from the snapshot of an earlier process, if it can be trusted.
// It is called before the store is used.
func (s *snapshots) restore(f snapshot.File, p cache.Policy) {
	if f.Path == "" {
		return
	}
	log, all, restored := s.store.log, 0, 0
	h, err := f.Read(time.Now(), func(r snapshot.Record) {
		all++
		c := r.Credential.Credential()
		if s.store.cache.Restore(cache.Item[*credential.Credential]{Key: r.Key, Name: r.Name, Found: foundOf(c), ReadAt: r.ReadAt}, p) {
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
		s.store.sealer = sealer
		log.Info("the snapshot was read; its credentials are honoured while the store can't answer",
			"reason", "snapshot", "count", restored, "too_old", all-restored, "age", time.Since(h.Written).Round(time.Second).String())
	}
}

// checkSnapshots checks the snapshot files of the node's objects against each other.
// Objects of the same store share its cache, and so need the same file. Different stores
// need different files.
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
