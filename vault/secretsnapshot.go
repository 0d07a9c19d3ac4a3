package vault

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"kong-vault-auth/cache"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/snapshot"
)

// secretsOf stands for a store's identity in the seal of this snapshot, which has secrets
// of all stores.
const secretsOf = "secrets of references"

// secretSnapshot keeps the cached secrets of all stores in a sealed file, for a process
// that starts while a store can't answer. The zero value keeps nothing. It is simpler than
// snapshots, with which it shares the file format: there is one file for the life of the
// process, secrets are never dropped from the cache by others, and nothing must be flushed.
type secretSnapshot struct {
	file snapshot.File

	mu      sync.Mutex
	before  map[string][]snapshot.Record // of an earlier process, by the identity of their store, until that is opened
	written uint64                       // what the caches had counted when the last snapshot was written
	stop    func()                       // ends the goroutine that writes; nil if there is none
	done    sync.WaitGroup
}

// readSnapshot reads the snapshot of an earlier process. keyFile has the key. It is called
// before anything is resolved.
func (s *Secrets) readSnapshot(path, keyFile string) {
	k := &s.snapshot
	k.file = snapshot.File{Path: path, KeyFile: keyFile, Store: secretsOf}
	k.before = map[string][]snapshot.Record{}
	log := s.registry.options.Logger.With("snapshot", path)
	count := 0
	_, err := k.file.Read(time.Now(), func(r snapshot.Record) {
		if r.Secret != nil {
			k.before[r.Secret.Store] = append(k.before[r.Secret.Store], r)
			count++
		}
	})
	switch {
	case errors.Is(err, snapshot.ErrNone):
	case err != nil:
		clear(k.before)
		log.Warn("the snapshot of secrets is ignored", "reason", "snapshot_ignored", "err", err)
	default:
		log.Info("the snapshot of secrets was read", "reason", "snapshot", "count", count)
	}
}

// keepSnapshot starts writing what is cached to the file that readSnapshot has read.
func (s *Secrets) keepSnapshot() {
	k := &s.snapshot
	ctx, stop := context.WithCancel(context.Background())
	k.stop = stop
	k.done.Go(func() {
		ticks := time.NewTicker(snapshotSoon)
		defer ticks.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
				s.writeSnapshot()
			}
		}
	})
}

// restore fills the cache of a store that was just opened from the snapshot of an earlier
// process. Secrets.mu is held.
func (k *secretSnapshot) restore(identity string, c *cache.Cache[secretstore.Secret], p cache.Policy) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.before[identity] {
		found := cache.Found[secretstore.Secret]{Value: secretstore.Secret{Value: r.Secret.Value, Expires: r.Secret.Expires}, Expires: r.Secret.Expires}
		c.Restore(cache.Item[secretstore.Secret]{Key: r.Key, Name: r.Name, Found: found, ReadAt: r.ReadAt}, p)
	}
	delete(k.before, identity)
}

// writeSnapshot writes what is cached, if that has changed since the last snapshot.
// Records of the earlier process stay in the file until their store is opened.
func (s *Secrets) writeSnapshot() {
	k := &s.snapshot
	s.mu.Lock()
	stores := slices.Collect(maps.Values(s.stores))
	s.mu.Unlock()
	counted := uint64(0)
	for _, store := range stores {
		stats := store.cache.Stats()
		counted += stats.Found + stats.Dropped
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.file.Path == "" || counted == k.written {
		return
	}
	err := k.file.Write(snapshot.Header{Started: s.registry.started, Written: time.Now()}, k.records(stores))
	if err == nil || errors.Is(err, snapshot.ErrSuperseded) {
		k.written = counted
		return
	}
	s.registry.options.Logger.Error("the snapshot of secrets can't be written", "reason", "snapshot", "err", err)
}

// records are the contents of a snapshot. stores are the open ones.
func (k *secretSnapshot) records(stores []*secretStore) iter.Seq[snapshot.Record] {
	return func(yield func(snapshot.Record) bool) {
		for _, before := range k.before {
			for _, r := range before {
				if !yield(r) {
					return
				}
			}
		}
		for _, store := range stores {
			for item := range store.cache.All() {
				secret := &snapshot.Secret{Store: store.identity, Value: item.Value.Value, Expires: item.Value.Expires}
				if !yield(snapshot.Record{Key: item.Key, Name: item.Name, ReadAt: item.ReadAt, Secret: secret}) {
					return
				}
			}
		}
	}
}

// closeSnapshot ends the writing with a last snapshot.
func (s *Secrets) closeSnapshot() {
	if s.snapshot.stop == nil {
		return
	}
	s.snapshot.stop()
	s.snapshot.done.Wait()
	s.writeSnapshot()
}
