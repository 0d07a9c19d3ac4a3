package vault

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/snapshot"
)

// errDown is a store that can't answer.
var errDown = &secretstore.Failure{Op: "read", Reason: "network", Err: errors.New("connection refused")}

// node is a machine on which plugin servers start, one after the other or side by side.
// Its environment defines the object hcv, with a snapshot.
type node struct {
	*testing.T
	file snapshot.File
	env  []string
	log  logbook
}

func onNode(t *testing.T, test func(*node)) {
	file := snapshot.File{Path: filepath.Join(t.TempDir(), "snapshot"), KeyFile: filepath.Join(t.TempDir(), "key")}
	writeFile(t, file.KeyFile, strings.Repeat("0f", 32))
	synctest.Test(t, func(t *testing.T) {
		test(&node{T: t, file: file, env: []string{
			"KONG_VAULT_HCV_TOKEN", "hvs.node", "KONG_VAULT_HCV_RESURRECT_TTL", "600",
			"KONG_VAULT_HCV_SNAPSHOT_FILE", file.Path, "KONG_VAULT_HCV_SNAPSHOT_KEY_FILE", file.KeyFile,
		}})
	})
}

// server starts a plugin server whose store has someRecords and fails with err, and opens
// the object.
func (n *node) server(err error) (*Registry, *Object, *fakeStore) {
	n.Helper()
	stores := &fakeStores{records: someRecords()}
	r := newRegistry(n.T, stores, &n.log, n.env...)
	o, _ := mustOpen(n.T, r, "plugin", Config{Vault: "hcv"})
	s := stores.all()[0]
	s.fail(err)
	return r, o, s
}

// serverWith starts a plugin server that knows these credentials and has written a snapshot
// of them. It may then be killed.
func (n *node) serverWith(accessTokens ...string) (*Registry, *Object, *fakeStore) {
	n.Helper()
	r, o, s := n.server(nil)
	for _, token := range accessTokens {
		wantAccepted(n.T, o, token, "right")
	}
	time.Sleep(untilSnapshot)
	return r, o, s
}

// written is when the snapshot was written.
func (n *node) written() time.Time {
	n.Helper()
	f := n.file
	f.Store = (&Definition{Config: inlineHCV(n.T, nil).Inline}).identity()
	h, err := f.Read(time.Now(), func(snapshot.Record) {})
	if err != nil && !errors.Is(err, snapshot.ErrNone) {
		n.Fatal(err)
	}
	return h.Written
}

func wantUnavailable(t *testing.T, o *Object, access, secret string) {
	t.Helper()
	var unavailable *UnavailableError
	if _, err := o.Lookup(t.Context(), access, secret, nil); !errors.As(err, &unavailable) {
		t.Errorf("Lookup of %s = %v, want it to be unavailable", access, err)
	}
}

// untilSnapshot is the time after which a snapshot has everything that is urgent.
const untilSnapshot = 2 * time.Second

func TestWhoIsInTheSnapshotIsKnownToAStartDuringAnOutage(t *testing.T) {
	onNode(t, func(n *node) {
		n.serverWith("ac-alice")

		_, o, _ := n.server(errDown)
		wantAccepted(n.T, o, "ac-alice", "right")
		wantUnavailable(n.T, o, "ac-bob", "right")
		wantUnavailable(n.T, o, "ac-alice", "wrong")
		time.Sleep(10 * time.Minute)
		wantAccepted(n.T, o, "ac-alice", "right")
		time.Sleep(time.Minute) // its ttl and resurrect_ttl are over
		wantUnavailable(n.T, o, "ac-alice", "right")
	})
}

func TestWhatTheSnapshotHoldsIsNoAnswerWhileTheStoreHasOne(t *testing.T) {
	onNode(t, func(n *node) {
		n.serverWith("ac-alice", "ac-bob")

		_, o, s := n.server(nil)
		s.change(func() { delete(s.records, "ac-alice") })
		wantRefused(n.T, o, "ac-alice", "right", secretstore.ReasonNotFound)
		wantAccepted(n.T, o, "ac-bob", "right")
		if s.readCount() != 2 {
			n.Errorf("%d reads", s.readCount())
		}
		s.fail(errDown)
		time.Sleep(6 * time.Second) // past neg_ttl
		wantUnavailable(n.T, o, "ac-alice", "right")
	})
}

func TestSnapshotsAreWrittenWhenThereIsNews(t *testing.T) {
	onNode(t, func(n *node) {
		start := time.Now()
		r, o, s := n.server(nil)
		want := func(after time.Duration) {
			n.Helper()
			synctest.Wait()
			if got := n.written(); !got.Equal(start.Add(after)) {
				n.Errorf("after %s, the snapshot is of %s, want %s", time.Since(start), got.Sub(start), after)
			}
			if stats := r.Stats(); len(stats) == 1 && !stats[0].Snapshot.Equal(start.Add(after)) {
				n.Errorf("after %s, Stats has %+v", time.Since(start), stats)
			}
		}
		s.put(carol())
		time.Sleep(10*time.Second + time.Millisecond)
		if !n.written().IsZero() {
			n.Error("a snapshot of nothing")
		}
		wantAccepted(n.T, o, "ac-alice", "right")
		time.Sleep(time.Second)
		want(11 * time.Second)
		wantAccepted(n.T, o, "ac-bob", "right")
		time.Sleep(29 * time.Second)
		want(11 * time.Second)
		time.Sleep(time.Second)
		want(41 * time.Second)
		time.Sleep(18 * time.Second)
		want(41 * time.Second) // no news

		s.change(func() { delete(s.records, "ac-bob") })
		time.Sleep(2 * time.Minute)
		wantRefused(n.T, o, "ac-bob", "right", secretstore.ReasonNotFound)
		time.Sleep(time.Second)
		want(180 * time.Second) // at once, since a credential was dropped

		wantAccepted(n.T, o, "ac-carol", "right")
		r.Close()
		want(180*time.Second + time.Millisecond)
	})
}

// carol is the record of the pair ac-carol, right.
func carol() credential.Record {
	r := alice()
	r.AccessToken = "ac-carol"
	return r
}

func TestTheSnapshotOfAStopIsWholeAndKeepsNobodyWhoIsGone(t *testing.T) {
	onNode(t, func(n *node) {
		r, o, s := n.serverWith("ac-alice", "ac-bob")
		s.change(func() { delete(s.records, "ac-alice") })
		time.Sleep(time.Minute)
		wantRefused(n.T, o, "ac-alice", "right", secretstore.ReasonNotFound)
		r.Close()

		_, o, _ = n.server(errDown)
		wantUnavailable(n.T, o, "ac-alice", "right")
		wantAccepted(n.T, o, "ac-bob", "right")
	})
}

func TestARotationReachesTheSnapshotAtOnce(t *testing.T) {
	onNode(t, func(n *node) {
		_, o, s := n.serverWith("ac-alice")
		rotated := alice()
		rotated.Secret.Token = "new"
		s.put(rotated)
		wantAccepted(n.T, o, "ac-alice", "new")
		time.Sleep(untilSnapshot)

		_, o, _ = n.server(errDown)
		wantAccepted(n.T, o, "ac-alice", "new")
		wantUnavailable(n.T, o, "ac-alice", "right")
	})
}

// At a reload of Kong, the old plugin server knows less than the new one when it stops.
func TestAPluginServerThatLeavesDoesNotOverwriteItsSuccessorsSnapshot(t *testing.T) {
	onNode(t, func(n *node) {
		leaving, _, _ := n.serverWith("ac-alice")
		_, o, _ := n.serverWith("ac-bob")
		wantAccepted(n.T, o, "ac-alice", "right")
		leaving.Close()

		_, o, _ = n.server(errDown)
		wantAccepted(n.T, o, "ac-bob", "right")
		if n.log.count("level=ERROR") != 0 {
			n.Errorf("log: %s", &n.log)
		}
	})
}

func TestASnapshotThatCannotBeTrustedIsIgnoredWithAWarning(t *testing.T) {
	tests := map[string]struct {
		do   func(*node)
		want string
	}{
		"tampered with": {func(n *node) {
			b, err := os.ReadFile(n.file.Path)
			if err != nil {
				n.Fatal(err)
			}
			b[len(b)/2]++
			writeFile(n.T, n.file.Path, string(b))
		}, "damaged"},
		"another key":        {func(n *node) { writeFile(n.T, n.file.KeyFile, strings.Repeat("ff", 32)) }, "not sealed with this key"},
		"of another store":   {func(n *node) { n.env = append(n.env, "KONG_VAULT_HCV_PATH", "other") }, "for this store"},
		"legible for others": {func(n *node) { os.Chmod(n.file.Path, 0o644) }, "chmod 0640"},
		"from the future":    {func(n *node) { rewriteInFuture(n) }, "future"},
		"too old":            {func(n *node) { time.Sleep(time.Hour) }, "all of it is older"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			onNode(t, func(n *node) {
				n.serverWith("ac-alice")
				test.do(n)

				_, o, s := n.server(errDown)
				wantUnavailable(n.T, o, "ac-alice", "right")
				if n.log.count("level=WARN", "the snapshot is ignored", "vault=hcv", "reason=snapshot_ignored", test.want) != 1 {
					n.Errorf("want a warning with %q: %s", test.want, &n.log)
				}
				s.fail(nil)
				time.Sleep(time.Minute)
				wantAccepted(n.T, o, "ac-alice", "right")
			})
		})
	}
}

func rewriteInFuture(n *node) {
	f := n.file
	f.Store = (&Definition{Config: inlineHCV(n.T, nil).Inline}).identity()
	future := time.Now().Add(time.Minute)
	h := snapshot.Header{Started: future, Written: future, SealerKey: credential.NewSealer().Key()}
	if err := f.Write(h, func(func(snapshot.Record) bool) {}); err != nil {
		n.Fatal(err)
	}
}

func TestASnapshotThatCannotBeWrittenIsAnError(t *testing.T) {
	onNode(t, func(n *node) {
		if err := os.Remove(n.file.KeyFile); err != nil {
			n.Fatal(err)
		}
		n.serverWith("ac-alice")
		synctest.Wait()
		if n.log.count("level=ERROR", "the snapshot can't be written", "vault=hcv", "reason=snapshot", "no such file") != 1 {
			n.Errorf("log: %s", &n.log)
		}
	})
}

func TestSnapshotsFollowTheConfiguration(t *testing.T) {
	type step struct {
		object string // which uses the store from now on, instead of the one before
		want   string // where snapshots are written then
	}
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		key := filepath.Join(t.TempDir(), "key")
		writeFile(t, key, strings.Repeat("0f", 32))
		stores := &fakeStores{records: someRecords()}
		r := newRegistry(t, stores, &logbook{}, "VAULT_AUTH_INLINE", "trusted")
		var release func()
		for _, s := range []step{{"", ""}, {"a", "a"}, {"b", "b"}, {"", ""}, {"a", "a"}} {
			o, next := mustOpen(t, r, "plugin", inlineHCV(t, func(c *HCV) {
				if c.TTL = 1; s.object != "" {
					c.SnapshotFile, c.SnapshotKeyFile = filepath.Join(dir, s.object), key
				}
			}))
			if release != nil {
				release()
			}
			release = next
			time.Sleep(time.Minute)
			for _, name := range []string{"a", "b"} {
				os.Remove(filepath.Join(dir, name))
			}
			wantAccepted(t, o, "ac-alice", "right")
			time.Sleep(time.Minute)
			synctest.Wait()
			left, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, f := range left {
				got += f.Name()
			}
			if got != s.want {
				t.Errorf("with snapshot_file %q, written were %q", s.object, got)
			}
		}
		if len(stores.all()) != 1 {
			t.Errorf("%d stores", len(stores.all()))
		}
	})
}

// snapshotIn is an inline object with a snapshot in a file.
func snapshotIn(t *testing.T, file, key string, change func(*HCV)) Config {
	return inlineHCV(t, func(c *HCV) {
		c.SnapshotFile, c.SnapshotKeyFile = file, key
		if change != nil {
			change(c)
		}
	})
}

// withTrusted runs a test in a plugin server whose inline objects may have snapshots. dir is
// a folder for them, and key the file of a key.
func withTrusted(t *testing.T, test func(t *testing.T, r *Registry, dir, key string)) {
	dir, key := t.TempDir(), filepath.Join(t.TempDir(), "key")
	writeFile(t, key, strings.Repeat("0f", 32))
	synctest.Test(t, func(t *testing.T) {
		test(t, newRegistry(t, &fakeStores{records: someRecords()}, &logbook{}, "VAULT_AUTH_INLINE", "trusted"), dir, key)
	})
}

// The store of the edit that was taken back keeps its cache for a while, but not the file.
func TestAnEditThatIsTakenBackTakesTheSnapshotBack(t *testing.T) {
	withTrusted(t, func(t *testing.T, r *Registry, dir, key string) {
		file := filepath.Join(dir, "snapshot")
		release := func() {}
		for _, path := range []string{"right", "wrong", "right"} {
			c := snapshotIn(t, file, key, func(c *HCV) { c.TTL, c.Path = 1, path })
			o, next := mustOpen(t, r, "plugin", c)
			release()
			release = next
			wantAccepted(t, o, "ac-alice", "right")
			time.Sleep(untilSnapshot)
			synctest.Wait()
			if _, err := (&Definition{Config: c.Inline}).snapshot().Read(time.Now(), func(snapshot.Record) {}); err != nil {
				t.Errorf("with path %s: %v", path, err)
			}
		}
	})
}

func TestAUseThatEndsTakesNoSnapshotBack(t *testing.T) {
	withTrusted(t, func(t *testing.T, r *Registry, dir, key string) {
		file := filepath.Join(dir, "snapshot")
		at := func(path string) Config { return snapshotIn(t, file, key, func(c *HCV) { c.Path = path }) }
		mustOpen(t, r, "one", at("first"))
		_, release := mustOpen(t, r, "two", at("first"))
		o, _ := mustOpen(t, r, "three", at("second"))
		release()
		wantAccepted(t, o, "ac-alice", "right")
		time.Sleep(untilSnapshot)
		synctest.Wait()
		if _, err := (&Definition{Config: at("second").Inline}).snapshot().Read(time.Now(), func(snapshot.Record) {}); err != nil {
			t.Error(err)
		}
	})
}

func TestAnObjectWithoutASnapshotTurnsNoneOff(t *testing.T) {
	withTrusted(t, func(t *testing.T, r *Registry, dir, key string) {
		file := filepath.Join(dir, "snapshot")
		o, _ := mustOpen(t, r, "one", snapshotIn(t, file, key, nil))
		mustOpen(t, r, "two", inlineHCV(t, nil))
		wantAccepted(t, o, "ac-alice", "right")
		time.Sleep(untilSnapshot)
		synctest.Wait()
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	})
}

func TestAFileThatIsNamedLaterGetsWhatIsKnownAlready(t *testing.T) {
	withTrusted(t, func(t *testing.T, r *Registry, dir, key string) {
		o, release := mustOpen(t, r, "plugin", snapshotIn(t, filepath.Join(dir, "a"), key, nil))
		wantAccepted(t, o, "ac-alice", "right")
		time.Sleep(untilSnapshot)
		mustOpen(t, r, "plugin", snapshotIn(t, filepath.Join(dir, "b"), key, nil))
		release()
		time.Sleep(untilSnapshot)
		synctest.Wait()
		if _, err := os.Stat(filepath.Join(dir, "b")); err != nil {
			t.Error(err)
		}
	})
}

// A goroutine that still runs fails the test.
func TestNoSnapshotsAfterClose(t *testing.T) {
	withTrusted(t, func(t *testing.T, r *Registry, dir, key string) {
		_, release := mustOpen(t, r, "a", snapshotIn(t, filepath.Join(dir, "snapshot"), key, nil))
		mustOpen(t, r, "b", snapshotIn(t, filepath.Join(dir, "snapshot"), key, nil))
		r.Close()
		release()
		r.keepers.Range(func(path, _ any) bool {
			t.Errorf("%s keeps a cache in memory", path)
			return true
		})
	})
}
