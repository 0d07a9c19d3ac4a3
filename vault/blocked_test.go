package vault

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kong-vault-auth/blocklist"
	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// blocks is an empty list in a file.
func blocks(t *testing.T) *blocklist.List {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	writeFile(t, key, strings.Repeat("0f", 32))
	return blocklist.Open(filepath.Join(dir, "blocks"), key, slog.New(slog.DiscardHandler))
}

func TestBlockedCredentialIsRefusedAndNoStoreAsked(t *testing.T) {
	for name, target := range map[string]func(*blocklist.List, *Object) blocklist.Target{
		"by fingerprint": func(_ *blocklist.List, o *Object) blocklist.Target {
			return blocklist.Target{Kind: blocklist.ByFingerprint, Value: o.bound.Load().store.fingerprint("ac-alice")}
		},
		"by token": func(l *blocklist.List, _ *Object) blocklist.Target {
			target, err := l.Token("ac-alice")
			if err != nil {
				t.Fatal(err)
			}
			return target
		},
	} {
		t.Run(name, func(t *testing.T) {
			list, stores, log := blocks(t), &fakeStores{records: someRecords()}, &logbook{}
			r := NewRegistry(stores.kinds(), Options{Logger: log.logger(), Getenv: environ(), Blocked: list})
			t.Cleanup(r.Close)
			o, _ := mustOpen(t, r, "plugin", inlineHCV(t, nil))
			wantAccepted(t, o, "ac-alice", "right")
			e := blocklist.Entry{Target: target(list, o), At: time.Now()}
			if _, err := list.Add(e); err != nil {
				t.Fatal(err)
			}
			stores.all()[0].fail(errDown)
			before := stores.all()[0].readCount()
			wantRefused(t, o, "ac-alice", "right", ReasonBlocked)
			wantRefused(t, o, "ac-alice", "wrong", ReasonBlocked)
			if stores.all()[0].readCount() != before {
				t.Error("the store was asked")
			}
			fingerprint := credential.Fingerprint(credential.ID(o.bound.Load().store.identity, "ac-alice"))
			if log.count("reason=blocked", "credential="+fingerprint) != 2 || strings.Contains(log.String(), "ac-alice") {
				t.Errorf("the log says %s", log)
			}
			e.At, e.Lifted = time.Now(), true
			if _, err := list.Add(e); err != nil {
				t.Fatal(err)
			}
			wantAccepted(t, o, "ac-alice", "right")
			stores.all()[0].fail(nil)
			wantRefused(t, o, "ac-nobody", "right", secretstore.ReasonNotFound)
		})
	}
}

func TestLookupsWithBlocksAllocateNoMore(t *testing.T) {
	if raceDetector {
		t.Skip("under the race detector, pools forget")
	}
	list, stores := blocks(t), &fakeStores{records: someRecords()}
	r := NewRegistry(stores.kinds(), Options{Getenv: environ(), Blocked: list})
	t.Cleanup(r.Close)
	o, _ := mustOpen(t, r, "plugin", inlineHCV(t, nil))
	wantAccepted(t, o, "ac-alice", "right")
	lookup := func() {
		if _, err := o.Lookup(t.Context(), "ac-alice", "right", nil); err != nil {
			t.Error(err)
		}
	}
	before := testing.AllocsPerRun(200, lookup)
	token, err := list.Token("ac-bob")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := list.Add(
		blocklist.Entry{Target: token, At: time.Now()},
		blocklist.Entry{Target: blocklist.Target{Kind: blocklist.ByFingerprint, Value: "0123456789ab"}, At: time.Now()},
	); err != nil {
		t.Fatal(err)
	}
	if after := testing.AllocsPerRun(200, lookup); after > before+0.1 {
		t.Errorf("%v allocations, %v without blocks", after, before)
	}
}
