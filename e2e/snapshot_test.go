package e2e

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kong-vault-auth/e2e/faults"
	"kong-vault-auth/e2e/program"
)

// snapshotted is an environment whose plugin keeps a snapshot, and whose store has just gone
// down.
type snapshotted struct {
	*testEnv
	g              gateway
	store          *faults.Proxy
	file, key      string
	known          []pair // in the snapshot
	doomed, unread pair   // deleted and refused before; never read
}

func newSnapshotted(t *testing.T) *snapshotted {
	w := newEnv(t)
	proxy, _ := w.behindProxy(nil)
	s := &snapshotted{
		testEnv: w, store: proxy, known: w.credentials(10), doomed: w.credential(nil), unread: w.credential(nil),
		file: filepath.Join(t.TempDir(), "snapshot"), key: filepath.Join(t.TempDir(), "key"),
	}
	s.newKey()
	s.g = w.startUnderWatch(w.guarded("/", object{"vault": "hcv"}), w.node(object{
		"port": portOf(proxy.URL), "ttl": 0.05, "snapshot_file": s.file, "snapshot_key_file": s.key,
	}), &[]string{w.token, s.doomed.access, s.doomed.secret})
	w.warm(s.g, append(s.known, s.doomed))

	// A deleted credential leaves the snapshot long before the next one is due.
	written := func(since time.Time) func() bool {
		return func() bool {
			info, err := os.Stat(s.file)
			return err == nil && info.ModTime().After(since)
		}
	}
	program.Eventually(t, "there is a snapshot", written(time.Time{}))
	w.must(w.vault.Delete(t.Context(), w.kv, s.doomed.access))
	program.Eventually(t, "the deleted pair is refused", func() bool { return w.ask(s.g, s.doomed).Status == 401 })
	refused := time.Now()
	program.Eventually(t, "there is another snapshot", written(refused))
	took := time.Since(refused)
	t.Logf("there is a snapshot without the deleted pair after %s", took.Round(time.Millisecond))
	if took > forgottenWithin {
		t.Errorf("there is a snapshot without the deleted pair after %s, want %s at most", took, forgottenWithin)
	}
	w.must(proxy.Set(faults.ClosedPort()))
	return s
}

// forgottenWithin is the second or so within which a snapshot without a deleted credential is
// written, and what a busy machine adds.
const forgottenWithin = 3 * time.Second

// newKey makes another key, as "openssl rand -hex 32" does.
func (s *snapshotted) newKey() {
	key := make([]byte, 32)
	rand.Read(key)
	s.must(os.WriteFile(s.key, []byte(hex.EncodeToString(key)), 0o600))
}

// kill ends the plugin server, and returns when another one listens.
func (s *snapshotted) kill() {
	s.Helper()
	old := pluginServers(s.T, s.g)
	for _, pid := range old {
		s.must(syscall.Kill(pid, syscall.SIGKILL))
	}
	program.Eventually(s.T, "another plugin server listens", func() bool {
		now := pluginServers(s.T, s.g)
		return len(now) == 1 && now[0] != old[0] && program.Listens("unix", s.g.Socket())
	})
}

// back lets the store answer again, and checks that everything is as before.
func (s *snapshotted) back() {
	s.Helper()
	s.must(s.store.Clear())
	program.Eventually(s.T, "Vault's answers count again", func() bool { return s.ask(s.g, s.unread).Status == 200 })
	for _, p := range s.known {
		if a := s.ask(s.g, p); a.Status != 200 {
			s.Errorf("afterwards: %d %s", a.Status, a.Body)
		}
	}
	if a := s.ask(s.g, s.doomed); a.Status != 401 {
		s.Errorf("afterwards, the deleted pair: %d %s", a.Status, a.Body)
	}
}

// strangers checks that a snapshot lets nobody in who shouldn't be.
func (s *snapshotted) strangers() {
	s.Helper()
	for name, p := range map[string]pair{
		"pair that was never read": s.unread, "deleted pair": s.doomed, "wrong secret token": {s.known[0].access, "wrong"},
	} {
		if a := s.ask(s.g, p); a.Status == 200 || p == s.unread && a.Status != 503 {
			s.Errorf("while the store is down, %s: %d %s", name, a.Status, a.Body)
		}
	}
}

// TestKilledDuringAnOutageTheSnapshotAnswers: the next plugin server accepts the pairs that the
// previous one knew.
func TestKilledDuringAnOutageTheSnapshotAnswers(t *testing.T) {
	t.Parallel()
	s := newSnapshotted(t)
	f, doomed := startFlow(s.testEnv, s.g, 3, inTurn(s.known...)), startFlow(s.testEnv, s.g, 1, inTurn(s.doomed))
	const kills = 3
	var longest time.Duration
	for range kills {
		killed := time.Now()
		s.kill()
		program.Eventually(t, "a known pair is accepted", func() bool { return s.ask(s.g, s.known[0]).Status == 200 })
		longest = max(longest, time.Since(killed))
		for _, p := range s.known {
			if a := s.ask(s.g, p); a.Status != 200 {
				t.Errorf("back, but: %d %s", a.Status, a.Body)
			}
		}
		s.strangers()
	}
	s.back()
	got, refused := f.stop(), doomed.stop()
	t.Logf("known pairs: %v; back after %s at most; the deleted pair: %v", got, longest.Round(time.Millisecond), refused)
	if longest > backWithin {
		t.Errorf("back after %s, want %s at most", longest, backWithin)
	}
	delete(got.answers, 500) // Kong's own, while nobody listens
	if len(got.answers) != 1 || got.answers[200] == 0 {
		t.Errorf("known pairs: %v, want 200, and 500 while there is no plugin server", got)
	}
	if refused.answers[200] > 0 {
		t.Errorf("the deleted pair: %v", refused)
	}
}

// backWithin is the second in which a plugin server is started again, and what a
// busy machine adds.
const backWithin = 3 * time.Second

// TestUpgradedDuringAnOutageTheSnapshotAnswers.
func TestUpgradedDuringAnOutageTheSnapshotAnswers(t *testing.T) {
	t.Parallel()
	s := newSnapshotted(t)
	f := startFlow(s.testEnv, s.g, 3, inTurn(s.known...))
	s.g.Server().upgrade()
	f.await(t, 100)
	s.strangers()
	f.stop().all200(t, "known pairs, around an upgrade")
	s.back()
}

// TestSnapshotThatCannotBeTrustedIsIgnored, with one warning.
func TestSnapshotThatCannotBeTrustedIsIgnored(t *testing.T) {
	for name, spoil := range map[string]func(*snapshotted){
		"a flipped bit": func(s *snapshotted) {
			b, err := os.ReadFile(s.file)
			s.must(err)
			b[len(b)/2] ^= 1
			s.must(os.WriteFile(s.file, b, 0o600))
		},
		"a missing end": func(s *snapshotted) {
			info, err := os.Stat(s.file)
			s.must(err)
			s.must(os.Truncate(s.file, info.Size()/2))
		},
		"of another key":         func(s *snapshotted) { s.newKey() },
		"open to others":         func(s *snapshotted) { s.must(os.Chmod(s.file, 0o644)) },
		"its key open to others": func(s *snapshotted) { s.must(os.Chmod(s.key, 0o644)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSnapshotted(t)
			spoil(s)
			s.kill()
			for _, p := range append(s.known, s.doomed, s.unread) {
				if a := s.ask(s.g, p); a.Status != 503 {
					t.Errorf("%d %s", a.Status, a.Body)
				}
			}
			if n := strings.Count(s.g.Log(), "the snapshot is ignored"); n != 1 {
				t.Errorf("%d warnings", n)
			}
			server := pluginServers(t, s.g)
			s.back()
			if now := pluginServers(t, s.g); len(now) != 1 || now[0] != server[0] {
				t.Error("the plugin server has ended")
			}
		})
	}
}
