package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

func everyTwoSeconds(c *HCV) { c.RevocationInterval = 2 }

func TestDeletedCredentialIsRefusedAfterTheNextListing(t *testing.T) {
	tests := map[string]func(*fakeStore){
		"deleted": func(s *fakeStore) { delete(s.records, "ac-alice") },
		"disabled": func(s *fakeStore) {
			s.disabled = map[string]bool{"ac-alice": true}
			s.err = &secretstore.Absent{Reason: secretstore.ReasonDisabled}
		},
	}
	for name, revoke := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &logbook{}
				o, store := object(t, log, everyTwoSeconds, someRecords()...)
				wantAccepted(t, o, "ac-alice", "right")
				wantAccepted(t, o, "ac-bob", "right")
				store.change(func() { revoke(store) })
				wantAccepted(t, o, "ac-alice", "right") // no listing has noticed it yet
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if _, err := o.Lookup(t.Context(), "ac-alice", "right", nil); !errors.Is(err, ErrRefused) {
					t.Errorf("Lookup = %v", err)
				}
				wantAccepted(t, o, "ac-bob", "right")
				if log.count("level=INFO", "reason=revoked", "count=1", "vault=") != 1 {
					t.Errorf("log: %s", log)
				}
			})
		})
	}
}

func TestChangedCredentialIsReadAgainAfterTheNextListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, store := object(t, &logbook{}, everyTwoSeconds, someRecords()...)
		store.change(func() { store.versions = map[string]string{"ac-alice": "1", "ac-bob": "1"} })
		time.Sleep(2 * time.Second)
		wantAccepted(t, o, "ac-alice", "right")
		wantAccepted(t, o, "ac-bob", "right")
		time.Sleep(4 * time.Second)
		reads := store.readCount()
		store.change(func() {
			r := store.records["ac-alice"]
			r.Secret.Token = "new"
			store.records["ac-alice"], store.versions["ac-alice"] = r, "2"
		})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := store.readCount() - reads; n != 1 {
			t.Errorf("%d reads for one change", n)
		}
		wantRefused(t, o, "ac-alice", "right", ReasonWrongSecret)
	})
}

func TestWhatWasReadBeforeTheFirstListingIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, store := object(t, &logbook{}, everyTwoSeconds, alice())
		synctest.Wait()
		store.change(func() { store.versions, store.listErr = map[string]string{"ac-alice": "2"}, errors.New("down") })
		time.Sleep(time.Second)
		wantAccepted(t, o, "ac-alice", "right")
		time.Sleep(10 * time.Second)
		store.change(func() { store.listErr = nil })
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := store.readCount(); n != 2 {
			t.Errorf("%d reads, want 2", n)
		}
	})
}

func TestCreatedCredentialWorksAfterTheNextListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, store := object(t, &logbook{}, func(c *HCV) { c.RevocationInterval, c.NegTTL = 2, 3600 }, someRecords()[1])
		wantRefused(t, o, "ac-alice", "right", secretstore.ReasonNotFound)
		time.Sleep(2 * time.Second)
		store.put(alice())
		store.change(func() { store.versions = map[string]string{"ac-alice": "1"} })
		time.Sleep(2 * time.Second)
		synctest.Wait()
		wantAccepted(t, o, "ac-alice", "right")
	})
}

func TestListingThatFailsDropsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logbook{}
		o, store := object(t, log, everyTwoSeconds, alice())
		wantAccepted(t, o, "ac-alice", "right")
		store.change(func() {
			delete(store.records, "ac-alice")
			store.listErr = &secretstore.Failure{Op: "list secret/metadata/kong-auth", Reason: "denied", Remedy: "add a policy", Wait: 30 * time.Second}
		})
		time.Sleep(40 * time.Second)
		synctest.Wait()
		wantAccepted(t, o, "ac-alice", "right")
		if n := len(store.listed()); n > 4 {
			t.Errorf("%d listings though the store asked for 30 s between them", n)
		}
		if log.count("level=WARN", "reason=listing_denied", "add a policy") == 0 {
			t.Errorf("log: %s", log)
		}
		store.change(func() { store.listErr = nil })
		time.Sleep(30 * time.Second)
		synctest.Wait()
		wantRefused(t, o, "ac-alice", "right", secretstore.ReasonNotFound)
	})
}

func TestFailingListingsAreSeldomRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, store := object(t, &logbook{}, func(c *HCV) { c.RevocationInterval = 0.1 })
		store.fail(nil)
		store.change(func() { store.listErr = errors.New("down") })
		time.Sleep(time.Minute)
		if n := len(store.listed()); n > 16 {
			t.Errorf("%d listings in a minute", n)
		}
	})
}

func TestListingThatLostEverythingLocksNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var records []credential.Record
		for i := range 20 {
			r := alice()
			r.AccessToken = fmt.Sprintf("ac-%d", i)
			records = append(records, r)
		}
		log := &logbook{}
		o, store := object(t, log, everyTwoSeconds, records...)
		for _, r := range records {
			wantAccepted(t, o, r.AccessToken, "right")
		}
		store.fail(errors.New("down")) // so that another lookup finds out nothing
		store.change(func() { clear(store.records) })
		time.Sleep(5 * time.Second)
		for _, r := range records {
			wantAccepted(t, o, r.AccessToken, "right")
		}
		if log.count("level=ERROR", "reason=mass_denial") == 0 {
			t.Errorf("log: %s", log)
		}
	})
}

func TestPageThatNeverComesIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logbook{}
		stores := &fakeStores{records: someRecords()}
		kinds := stores.kinds()
		kinds[0].Open = func(c secretstore.Config, o secretstore.OpenOptions) (secretstore.Store, error) {
			s, err := stores.open(c, o)
			return slowLister{s.(*fakeStore)}, err
		}
		r := NewRegistry(kinds, Options{Logger: log.logger(), Getenv: environ()})
		defer r.Close()
		o, _ := mustOpen(t, r, "plugin", inlineHCV(t, everyTwoSeconds))
		wantAccepted(t, o, "ac-alice", "right")
		time.Sleep(pageTimeout)
		synctest.Wait()
		if log.count("reason=listing_timeout") != 1 {
			t.Errorf("log: %s", log)
		}
	})
}

// slowLister never yields a page.
type slowLister struct{ *fakeStore }

func (slowLister) List(ctx context.Context, _ func([]secretstore.Listed) error) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestHowOftenAStoreIsListed(t *testing.T) {
	tests := map[string]struct {
		intervals []secretstore.Seconds // of the objects that share it
		pages     int
		least     int // listings in ten minutes
		most      int
		log       string
	}{
		"off":                     {[]secretstore.Seconds{0}, 1, 0, 0, ""},
		"every ten seconds":       {[]secretstore.Seconds{10}, 1, 60, 68, "level=INFO interval=10s"},
		"the smallest wins":       {[]secretstore.Seconds{0, 60, 10, 30}, 1, 60, 68, "level=INFO interval=10s"},
		"a tenth of the lookups":  {[]secretstore.Seconds{10}, 400, 13, 16, "level=WARN interval=40s"},
		"not more than it can be": {[]secretstore.Seconds{0.001}, 100, 54, 61, "level=WARN interval=10s"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, stores := &logbook{}, &fakeStores{}
				r := newRegistry(t, stores, log)
				for i, interval := range tt.intervals {
					mustOpen(t, r, fmt.Sprint(i), inlineHCV(t, func(c *HCV) { c.RevocationInterval = interval }))
					store := stores.all()[0]
					store.change(func() { store.pages = tt.pages })
				}
				synctest.Wait()
				store := stores.all()[0]
				store.change(func() { store.listings = nil })
				time.Sleep(10 * time.Minute)
				if n := len(store.listed()); n < tt.least || n > tt.most {
					t.Errorf("%d listings, want %d to %d", n, tt.least, tt.most)
				}
				level, interval, _ := strings.Cut(tt.log, " ")
				if n := log.count(level, interval+" ", "pages="); tt.log != "" && n == 0 || tt.log == "" && n != 0 {
					t.Errorf("log: %s", log)
				}
			})
		})
	}
}

// The change is noticed although the listing under way began before it.
func TestAnIntervalThatChangesDuringAListingCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores := &fakeStores{}
		r := newRegistry(t, stores, &logbook{})
		held := make(chan struct{})
		mustOpen(t, r, "slow", inlineHCV(t, func(c *HCV) { c.RevocationInterval = 3600 }))
		store := stores.all()[0]
		synctest.Wait() // for the first listing
		store.change(func() { store.listingHeld = held })
		time.Sleep(time.Hour) // the second listing has begun and can't end
		mustOpen(t, r, "fast", inlineHCV(t, everyTwoSeconds))
		store.change(func() { store.listings, store.listingHeld = nil, nil })
		close(held)
		time.Sleep(time.Minute)
		if n := len(store.listed()); n < 28 {
			t.Errorf("%d listings in a minute, want one every two seconds", n)
		}
	})
}

func TestIntervalFollowsWhoUsesTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores := &fakeStores{}
		r := newRegistry(t, stores, &logbook{})
		within := func(d time.Duration) int {
			store := stores.all()[0]
			store.change(func() { store.listings = nil })
			time.Sleep(d)
			return len(store.listed())
		}
		var got []bool
		_, slow := mustOpen(t, r, "slow", inlineHCV(t, func(c *HCV) { c.RevocationInterval = 3600 }))
		synctest.Wait()
		got = append(got, within(time.Minute) > 0)
		_, fast := mustOpen(t, r, "fast", inlineHCV(t, everyTwoSeconds))
		got = append(got, within(time.Minute) >= 28)
		fast()
		time.Sleep(2 * time.Second)
		got = append(got, within(time.Minute) > 0)
		_, fast = mustOpen(t, r, "fast", inlineHCV(t, everyTwoSeconds))
		slow()
		fast() // the cache stays without users, for the next one
		got = append(got, within(time.Minute) >= 28)
		time.Sleep(3 * time.Hour)
		got = append(got, within(time.Minute) > 0)
		if diff := cmp.Diff([]bool{false, true, false, true, false}, got); diff != "" {
			t.Error(diff)
		}
	})
}
