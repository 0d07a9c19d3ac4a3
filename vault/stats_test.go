package vault

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/cache"
	"kong-vault-auth/secretstore"
)

// place is the name of every object of inlineHCV.
const place = "hcv at http://127.0.0.1:8200/secret"

func TestStatsTellWhatAStoreHasComeTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores := &fakeStores{records: someRecords()}
		r := newRegistry(t, stores, &logbook{})
		if got := r.Stats(); len(got) != 0 {
			t.Errorf("before there is an object: %+v", got)
		}
		start := time.Now()
		o, _ := mustOpen(t, r, "plugin", inlineHCV(t, func(c *HCV) { c.TTL, c.NegTTL, c.RevocationInterval, c.MaxLookupsPerSecond = 600, 600, 2, 10 }))
		store := stores.all()[0]
		synctest.Wait() // for the first listing
		want := Stats{Object: place, Store: 1, MaxCredentials: 100_000, Revocation: RevocationStats{
			Interval: 2 * time.Second, Effective: 2 * time.Second, Pages: 1, Last: start, Listed: 1,
		}}
		if diff := cmp.Diff([]Stats{want}, r.Stats()); diff != "" {
			t.Errorf("at first:\n%s", diff)
		}

		store.change(func() { store.pages = 5 }) // as many need 5 s
		wantAccepted(t, o, "ac-alice", "right")
		wantAccepted(t, o, "ac-bob", "right")
		wantAccepted(t, o, "ac-bob", "right")
		wantRefused(t, o, "ac-nobody", "right", secretstore.ReasonNotFound)
		time.Sleep(6 * time.Second)
		store.change(func() { delete(store.records, "ac-bob") })
		time.Sleep(6 * time.Second)
		synctest.Wait()
		got := r.Stats()[0]
		if last := got.Revocation.Last; time.Since(last) > 6*time.Second {
			t.Errorf("last listed at %s", last)
		}
		got.Revocation.Last, got.Revocation.Listed = time.Time{}, 0 // there is jitter
		want.Cache = cache.Stats{
			Entries: 1, Absent: 1, LastAnswer: start,
			Hits: 1, Loads: 2, Absences: 1, NeverSeen: 3, Found: 2, NotFound: 1, Dropped: 1,
		}
		want.Reads.Buckets[0] = 3
		want.Revocation = RevocationStats{Interval: 2 * time.Second, Effective: 5 * time.Second, Pages: 5, Dropped: 1}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("then:\n%s", diff)
		}

		store.fail(errors.New("down"))
		store.change(func() { store.listErr = errors.New("down") })
		time.Sleep(20 * time.Second)
		if _, err := o.Lookup(t.Context(), "ac-new", "right", nil); err == nil {
			t.Error("the store is not down")
		}
		synctest.Wait()
		got = r.Stats()[0]
		if want := time.Now().Add(time.Hour); !got.Cache.Failing || !got.HeldUntil.Equal(want) || got.Revocation.Failed == 0 {
			t.Errorf("during an outage: failing %t, held until %s, want %s, %d failed listings", got.Cache.Failing, got.HeldUntil, want, got.Revocation.Failed)
		}
		store.fail(nil)
		time.Sleep(10 * time.Second)
		wantRefused(t, o, "ac-new", "right", secretstore.ReasonNotFound)
		synctest.Wait()
		if got = r.Stats()[0]; got.Cache.Failing || !got.HeldUntil.IsZero() {
			t.Errorf("after it: failing %t, held until %s", got.Cache.Failing, got.HeldUntil)
		}
	})
}

func TestEffectiveIntervalIsThatOfTheConfiguredOne(t *testing.T) {
	r := &revocation{}
	want := func(configured, effective time.Duration) {
		t.Helper()
		if diff := cmp.Diff(RevocationStats{Interval: configured, Effective: effective}, r.stats()); diff != "" {
			t.Error(diff)
		}
	}
	want(0, 0)
	r.schedule.interval = 2 * time.Second // and there was no listing yet
	want(2*time.Second, 2*time.Second)
	r.paced(2*time.Second, 20*time.Second)
	want(2*time.Second, 20*time.Second)
	r.schedule.interval = 3 * time.Second
	want(3*time.Second, 3*time.Second)
}

func TestReadTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var times readTimes
		for _, d := range []time.Duration{0, 5 * time.Millisecond, 5*time.Millisecond + 1, 2 * time.Second, 3 * time.Second} {
			began := time.Now()
			time.Sleep(d) // virtual
			times.since(began)
		}
		want := ReadTimes{Sum: 5*time.Second + 10*time.Millisecond + 1}
		want.Buckets[0], want.Buckets[1], want.Buckets[8], want.Buckets[9] = 2, 1, 1, 1
		if diff := cmp.Diff(want, times.stats()); diff != "" {
			t.Error(diff)
		}
	})
}

// Two stores with different tokens are at one place. At last the first one is closed, and
// its number is used again.
func TestStoresOfOneNameHaveNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores := &fakeStores{records: someRecords()}
		r := newRegistry(t, stores, &logbook{})
		a, leave := mustOpen(t, r, "a", inlineHCV(t, withToken("hvs.one")))
		stores.all()[0].fail(errors.New("down"))
		if _, err := a.Lookup(t.Context(), "ac-bob", "right", nil); err == nil {
			t.Error("the store is not down")
		}
		failed := time.Now()
		time.Sleep(time.Second)
		b, _ := mustOpen(t, r, "b", inlineHCV(t, withToken("hvs.two")))
		wantAccepted(t, b, "ac-alice", "right")
		synctest.Wait()
		one := Stats{
			Object: place, Store: 1, MaxCredentials: 100_000, HeldUntil: failed.Add(time.Hour),
			Cache: cache.Stats{Failing: true, Unavailable: 1, NeverSeen: 1, Failed: 1},
		}
		two := Stats{
			Object: place, Store: 2, MaxCredentials: 100_000,
			Cache: cache.Stats{Entries: 1, LastAnswer: time.Now(), Loads: 1, NeverSeen: 1, Found: 1},
		}
		one.Reads.Buckets[0], two.Reads.Buckets[0] = 1, 1
		want := func(when string, want ...Stats) {
			t.Helper()
			if diff := cmp.Diff(want, r.Stats()); diff != "" {
				t.Errorf("%s:\n%s", when, diff)
			}
		}
		want("both in use", one, two)

		leave()
		one.Cache.Failing, one.HeldUntil = false, time.Time{}
		want("one of them no longer in use", one, two)

		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if !stores.all()[0].isClosed() {
			t.Fatal("it is not closed")
		}
		two.Cache.Entries = r.Stats()[0].Cache.Entries // records expire
		want("one of them closed", two)
		mustOpen(t, r, "c", inlineHCV(t, withToken("hvs.three")))
		want("another one", Stats{Object: place, Store: 1, MaxCredentials: 100_000}, two)
	})
}

// An outage may change its kind, as when Vault comes back without its policies.
func TestHeldUntilIsWhatTheOutageHasBecome(t *testing.T) {
	down := errors.New("down")
	denied := &secretstore.Failure{Op: "read", Reason: secretstore.Denied, Err: errors.New("status 403")}
	for name, tt := range map[string]struct{ first, then error }{
		"down, then denied": {down, denied},
		"denied, then down": {denied, down},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stores := &fakeStores{records: someRecords()}
				r := newRegistry(t, stores, &logbook{})
				o, _ := mustOpen(t, r, "plugin", inlineHCV(t, func(c *HCV) { c.TTL, c.ResurrectTTL, c.ResurrectDeniedTTL = 60, 600, 300 }))
				held := func() bool {
					time.Sleep(time.Second)
					_, err := o.Lookup(t.Context(), "ac-alice", "right", nil)
					return err == nil
				}
				held()
				stores.all()[0].fail(tt.first)
				for range 70 {
					held()
				}
				stores.all()[0].fail(tt.then)
				for range 10 {
					held()
				}
				told := r.Stats()[0].HeldUntil
				for held() {
				}
				if off := time.Since(told).Abs(); off > 30*time.Second {
					t.Errorf("held until %s, told was %s", time.Now(), told)
				}
			})
		})
	}
}
