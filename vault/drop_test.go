package vault

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/snapshot"
)

// drops are the ways to forget the credential ac-alice of the object hcv.
var drops = map[string]func(*Registry) (Dropped, error){
	"by token": func(r *Registry) (Dropped, error) { return r.DropCredential("hcv", "ac-alice") },
	"by token in another spelling": func(r *Registry) (Dropped, error) { // the fake's names ignore case
		return r.DropCredential("hcv", "AC-Alice")
	},
	"by token in all stores": func(r *Registry) (Dropped, error) { return r.DropCredential("", "ac-alice") },
	"by fingerprint": func(r *Registry) (Dropped, error) {
		return r.DropFingerprint("hcv", r.nodeNaming("hcv").ShortID("ac-alice"))
	},
	"by place": func(r *Registry) (Dropped, error) {
		place := r.kinds.placeOf(r.node.environment["hcv"].Config)
		count, err := r.Drop(Changes{Placed: map[credential.ShortID]bool{place.ShortID("ac-alice"): true}})
		return Dropped{Count: count}, err
	},
	"with all of the place's": func(r *Registry) (Dropped, error) {
		place := r.kinds.placeOf(r.node.environment["hcv"].Config)
		count, err := r.Drop(Changes{Stores: map[credential.ShortID]bool{place.Store(): true}})
		return Dropped{Count: count}, err
	},
	"with all of the object's": func(r *Registry) (Dropped, error) { return r.DropObject("hcv") },
}

// forEachDrop runs a test for each of drops, on a node of its own.
func forEachDrop(t *testing.T, test func(n *node, name string, drop func(*Registry) (Dropped, error))) {
	for name, drop := range drops {
		t.Run(name, func(t *testing.T) { onNode(t, func(n *node) { test(n, name, drop) }) })
	}
}

func (r *Registry) nodeNaming(object string) credential.Naming {
	d := r.node.environment[object]
	return credential.NewNaming(d.identity())
}

func TestDroppedCredentialIsLookedUpAgain(t *testing.T) {
	forEachDrop(t, func(n *node, name string, drop func(*Registry) (Dropped, error)) {
		r, o, s := n.server(nil)
		wantAccepted(n.T, o, "ac-alice", "right")
		time.Sleep(time.Second)
		s.change(func() { delete(s.records, "ac-alice") })
		wantAccepted(n.T, o, "ac-alice", "right") // from memory
		if d, err := drop(r); err != nil || d.Count != 1 {
			n.Errorf("%d credentials, %v", d.Count, err)
		}
		wantRefused(n.T, o, "ac-alice", "right", secretstore.ReasonNotFound)
	})
}

func TestDroppedCredentialIsInNoSnapshot(t *testing.T) {
	forEachDrop(t, func(n *node, name string, drop func(*Registry) (Dropped, error)) {
		r, _, _ := n.serverWith("ac-alice")
		if _, err := drop(r); err != nil {
			n.Error(err)
		}
		// The process is killed at once.
		_, o, _ := n.server(errDown)
		wantUnavailable(n.T, o, "ac-alice", "right")
	})
}

func TestCredentialIsDroppedFromTheSnapshotOfAnUnusedObject(t *testing.T) {
	forEachDrop(t, func(n *node, name string, drop func(*Registry) (Dropped, error)) {
		if name == "by token in another spelling" {
			return // only an open store knows which spellings are the same
		}
		n.serverWith("ac-alice", "ac-bob")

		// The next process has started, and Kong has sent it nothing yet.
		r := newRegistry(n.T, &fakeStores{}, &n.log, n.env...)
		if _, err := drop(r); err != nil {
			n.Error(err)
		}
		_, o, _ := n.server(errDown)
		wantUnavailable(n.T, o, "ac-alice", "right")
		if !strings.HasPrefix(name, "with all") {
			wantAccepted(n.T, o, "ac-bob", "right")
		}
	})
}

// A credential that memory had no room for may still be in the file.
func TestEvictedCredentialIsDroppedFromTheSnapshot(t *testing.T) {
	onNode(t, func(n *node) {
		stores := &fakeStores{records: someRecords()}
		r := NewRegistry(stores.kinds(), Options{Logger: n.log.logger(), Getenv: environ(n.env...), MaxCredentials: 1})
		n.Cleanup(r.Close)
		o, _ := mustOpen(n.T, r, "plugin", Config{Vault: "hcv"})
		wantAccepted(n.T, o, "ac-alice", "right")
		time.Sleep(untilSnapshot)
		for range 100 { // the cache decides which of the two stays
			wantAccepted(n.T, o, "ac-bob", "right")
			synctest.Wait()
		}
		if _, err := r.DropCredential("hcv", "ac-alice"); err != nil {
			n.Error(err)
		}
		_, o, _ = n.server(errDown)
		wantUnavailable(n.T, o, "ac-alice", "right")
	})
}

func TestSnapshotThatCannotBeWrittenIsRemovedByADrop(t *testing.T) {
	onNode(t, func(n *node) {
		r, _, _ := n.serverWith("ac-alice")
		if err := os.Remove(n.file.KeyFile); err != nil {
			n.Fatal(err)
		}
		if _, err := r.DropCredential("hcv", "ac-alice"); err != nil {
			n.Error(err)
		}
		if _, err := os.Stat(n.file.Path); !errors.Is(err, os.ErrNotExist) {
			n.Errorf("the snapshot is still there: %v", err)
		}
	})
}

func TestDropsWithoutNeedWriteNoSnapshot(t *testing.T) {
	onNode(t, func(n *node) {
		r, _, _ := n.serverWith("ac-alice")
		before := n.written()
		time.Sleep(time.Second)
		if _, err := r.DropCredential("hcv", "ac-carol"); err != nil || !n.written().Equal(before) {
			n.Errorf("the snapshot is of %s, was of %s, %v", n.written(), before, err)
		}
	})
}

func TestLookupUnderWayWhenItsCredentialIsDroppedStoresNothing(t *testing.T) {
	forEachDrop(t, func(n *node, name string, drop func(*Registry) (Dropped, error)) {
		r, o, s := n.server(nil)
		s.held = make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { wantAccepted(n.T, o, "AC-alice", "right") })
		s.putAs("ac-alice", credential.Record{AccessToken: "AC-alice", Secret: credential.PlainSecret("right"), Consumer: credential.Consumer{Username: "alice"}})
		synctest.Wait()
		if name == "by fingerprint" { // of the record's own spelling
			drop = func(r *Registry) (Dropped, error) {
				return r.DropFingerprint("hcv", r.nodeNaming("hcv").ShortID("AC-alice"))
			}
		}
		if _, err := drop(r); err != nil {
			n.Error(err)
		}
		close(s.held)
		wg.Wait()
		if reads := s.readCount(); reads != 2 {
			n.Errorf("%d reads, want the one under way and another", reads)
		}
	})
}

// Another node is also told the key that a credential is cached by, and so need not know
// which spellings its store takes for the same.
func TestAnotherNodeHearsOfACredentialInAllSpellings(t *testing.T) {
	onNode(t, func(n *node) {
		r, _, _ := n.server(nil)
		d, err := r.DropCredential("hcv", "AC-Alice")
		if err != nil {
			n.Fatal(err)
		}
		other, o, s := n.server(nil)
		wantAccepted(n.T, o, "ac-alice", "right")
		s.change(func() { delete(s.records, "ac-alice") })
		if count, err := other.Drop(d.Changes); err != nil || count != 1 {
			n.Errorf("%d credentials, %v", count, err)
		}
		wantRefused(n.T, o, "ac-alice", "right", secretstore.ReasonNotFound)
	})
}

func TestDropConcernsOneStoreOnly(t *testing.T) {
	onNode(t, func(n *node) {
		r, o, _ := n.server(nil)
		other, _ := mustOpen(n.T, r, "other", inlineHCV(n.T, func(c *HCV) { c.Path = "other" }))
		wantAccepted(n.T, o, "ac-alice", "right")
		wantAccepted(n.T, other, "ac-alice", "right")
		for name, drop := range drops {
			if name == "by token in all stores" {
				continue
			}
			d, err := drop(r)
			if err != nil {
				n.Error(err)
			}
			for ids := range d.Credentials {
				if ids == credential.NewNaming(other.bound.Load().store.identity).ShortID("ac-alice") {
					n.Errorf("%s: another store's credential is dropped", name)
				}
			}
		}
		if s := r.stores[other.bound.Load().store.key]; s.cache.Stats().Dropped != 0 {
			n.Error("the other store's cache has lost something")
		}
	})
}

func TestBoundOfADropIsWhatHoldsWithoutNews(t *testing.T) {
	for name, tt := range map[string]struct {
		env  []string
		want time.Duration
	}{
		"max_ttl":             {nil, time.Hour},
		"revocation_interval": {[]string{"KONG_VAULT_HCV_REVOCATION_INTERVAL", "30"}, 30 * time.Second},
		"max_ttl is shorter":  {[]string{"KONG_VAULT_HCV_REVOCATION_INTERVAL", "30", "KONG_VAULT_HCV_MAX_TTL", "20", "KONG_VAULT_HCV_TTL", "20"}, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			onNode(t, func(n *node) {
				n.env = append(n.env, tt.env...)
				unused := newRegistry(n.T, &fakeStores{}, &n.log, n.env...)
				used, _, _ := n.server(nil)
				for _, r := range []*Registry{unused, used} {
					if d, err := r.DropCredential("hcv", "ac-alice"); err != nil || d.Bound != tt.want {
						n.Errorf("%s, %v", d.Bound, err)
					}
				}
			})
		})
	}
}

func TestDropOfAnUnknownObjectSaysWhichThereAre(t *testing.T) {
	onNode(t, func(n *node) {
		r, _, _ := n.server(nil)
		for _, drop := range []func() (Dropped, error){
			func() (Dropped, error) { return r.DropCredential("nobody's", "ac-alice") },
			func() (Dropped, error) { return r.DropFingerprint("nobody's", credential.ShortID{}) },
			func() (Dropped, error) { return r.DropObject("nobody's") },
		} {
			if _, err := drop(); !errors.Is(err, ErrUnknownObject) || !strings.Contains(err.Error(), "knows hcv") {
				n.Errorf("%v", err)
			}
		}
	})
}

func TestVerifyLooksUpAgainWhatIsUsed(t *testing.T) {
	onNode(t, func(n *node) {
		r, o, s := n.server(nil)
		wantAccepted(n.T, o, "ac-alice", "right")
		wantAccepted(n.T, o, "ac-bob", "right")
		time.Sleep(time.Second)
		s.change(func() { delete(s.records, "ac-alice") })
		r.Verify()
		wantRefused(n.T, o, "ac-alice", "right", secretstore.ReasonNotFound)
		s.fail(errDown)
		wantAccepted(n.T, o, "ac-bob", "right") // resurrected
	})
}

// A snapshot may be written by a store that is just being closed.
func TestDropReachesAStoreThatIsBeingClosed(t *testing.T) {
	onNode(t, func(n *node) {
		r, o, _ := n.server(nil)
		wantAccepted(n.T, o, "ac-alice", "right")
		cs := o.bound.Load().store
		r.mu.Lock()
		delete(r.stores, cs.key) // as closeIdle does
		r.mu.Unlock()
		if d, err := r.DropCredential("hcv", "ac-alice"); err != nil || d.Count != 1 {
			n.Errorf("%d credentials, %v", d.Count, err)
		}
		if err := cs.close(); err != nil {
			n.Error(err)
		}
		f := n.file
		f.Store = cs.identity
		if _, err := f.Read(time.Now(), func(record snapshot.Record) { n.Errorf("it holds %s", record.Name) }); err != nil {
			n.Error(err)
		}
	})
}

func TestShortIDsOfADropAreTheFingerprintsOfLogs(t *testing.T) {
	onNode(t, func(n *node) {
		r, o, _ := n.server(nil)
		d, err := r.DropCredential("hcv", "ac-alice")
		if err != nil {
			n.Fatal(err)
		}
		var got []string
		for id := range d.Credentials {
			got = append(got, id.String())
		}
		if diff := cmp.Diff([]string{o.bound.Load().store.fingerprint("ac-alice")}, got); diff != "" {
			n.Error(diff)
		}
	})
}

func TestDropWhereNoObjectIsDefinedSaysHowToDefineOne(t *testing.T) {
	r := NewRegistry(new(fakeStores).kinds(), Options{Getenv: environ()})
	defer r.Close()
	_, err := r.DropCredential("kong-auth", "ac-alice")
	if !errors.Is(err, ErrUnknownObject) || !strings.Contains(err.Error(), "knows none: set VAULT_AUTH_VAULTS_FILE or KONG_VAULT_ variables in its environment") {
		t.Errorf("it says %v", err)
	}
}
