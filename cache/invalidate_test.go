package cache

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// supersedes are the ways to tell a cache that something has changed in the store.
var supersedes = map[string]func(r *rig){
	"Invalidate": func(r *rig) { r.Invalidate("k") },
	"Refresh":    func(r *rig) { r.Refresh("k", r.p) },
	"Retain":     func(r *rig) { r.Retain(r.p, time.Now(), func(string) bool { return false }) },
	"Verify":     func(r *rig) { r.Verify() },
	"InvalidateMatching": func(r *rig) {
		r.InvalidateMatching(func(string, string) bool { return true }, func(string, string) bool { return true })
	},
}

func TestLookupHeldAcrossARevocationChangesNothing(t *testing.T) {
	for name, supersede := range supersedes {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.put("k", "s")
				r.take(time.Second)
				var wg sync.WaitGroup
				wg.Go(func() { r.want(r.get("k", "s"), answer{"absent", 1500 * time.Millisecond}) })
				time.Sleep(500 * time.Millisecond)
				r.del("k")
				supersede(r)
				wg.Wait()
				r.want(r.get("k", "s"), answer{"absent", 0})
				r.wantLookups(2)
			})
		})
	}
}

func TestInvalidateForgetsARecord(t *testing.T) {
	bubble(t, func(r *rig) {
		r.load("k", "s")
		r.del("k")
		r.Invalidate("k")
		r.want(r.get("k", "s"), answer{"absent", 0})
	})
}

func TestInvalidateForgetsAnAbsence(t *testing.T) {
	bubble(t, func(r *rig) {
		r.get("k", "s")
		r.put("k", "s")
		r.Invalidate("k")
		r.want(r.get("k", "s"), answer{"s loaded", 0})
	})
}

func TestRefreshReadsInTheBackground(t *testing.T) {
	bubble(t, func(r *rig) {
		r.load("k", "old")
		r.put("k", "new")
		r.take(time.Second)
		r.Refresh("k", r.p)
		time.Sleep(time.Second)
		synctest.Wait()
		r.want(r.get("k", "new"), answer{"new fresh", 0})
		r.wantLookups(2)
	})
}

func TestRefreshPromotesALookupThatWaits(t *testing.T) {
	bubble(t, func(r *rig) {
		r.load("k", "s")
		time.Sleep(100 * time.Millisecond)
		var claim sync.WaitGroup
		claim.Go(func() { r.want(r.get("k", "wrong"), answer{"refused", 0}) }) // would wait 900 ms
		synctest.Wait()
		r.Refresh("k", r.p)
		claim.Wait()
		r.wantLookups(2)
	})
}

func TestRefreshIsMadeThoughNoGetWaits(t *testing.T) {
	bubble(t, func(r *rig) {
		r.p.LookupsPerSecond = 1
		r.load("k", "old")
		time.Sleep(time.Second)
		r.get("guess", "s") // takes the permit
		r.put("k", "new")
		r.Refresh("k", r.p)
		ctx, cancel := context.WithTimeout(r.t.Context(), 100*time.Millisecond)
		defer cancel()
		r.Get(ctx, "k", "k", r.p, claimOf("new")) // joins it, and goes away
		time.Sleep(900 * time.Millisecond)
		synctest.Wait()
		r.want(r.get("k", "new"), answer{"new fresh", 0})
	})
}

func TestRefreshedRecordIsNotFreshBeforeTheStoreHasAnswered(t *testing.T) {
	bubble(t, func(r *rig) {
		r.load("k", "s")
		r.fail(errDown)
		time.Sleep(time.Second)
		r.Refresh("k", r.p)
		synctest.Wait()
		r.want(r.get("k", "s"), answer{"s resurrected", 0})
	})
}

func TestRetainDropsWhatAListingDoesNotHave(t *testing.T) {
	bubble(t, func(r *rig) {
		for i := range 10 {
			r.load(fmt.Sprint(i), "s")
		}
		time.Sleep(time.Second)
		listing := time.Now()
		time.Sleep(time.Second)
		r.load("read since", "s")
		dropped := r.Retain(r.p, listing, func(key string) bool { return key < "5" })
		var left []string
		for item := range r.All() {
			left = append(left, item.Key)
		}
		if diff := cmp.Diff([]string{"0", "1", "2", "3", "4", "read since"}, left, sorted); diff != "" || dropped != 5 {
			t.Errorf("dropped %d, want 5 (-want +left):\n%s", dropped, diff)
		}
	})
}

func TestInvalidateMatchingForgetsWhatMatchesOnly(t *testing.T) {
	bubble(t, func(r *rig) {
		for _, key := range []string{"a", "b"} {
			r.load(key, "secret of "+key)
			r.get("no "+key, "s")
		}
		r.looked()
		dropped := r.InvalidateMatching(
			func(key, v string) bool { return key == "a" && v == "secret of a" },
			func(key, _ string) bool { return key == "no a" })
		if dropped != 1 {
			t.Errorf("dropped %d records, want 1", dropped)
		}
		r.want(r.get("b", "secret of b"), answer{"secret of b fresh", 0})
		r.want(r.get("no b", "s"), answer{"absent", 0})
		r.wantLookups(0)
		r.want(r.get("a", "secret of a"), answer{"secret of a loaded", 0})
		r.want(r.get("no a", "s"), answer{"absent", 0})
		r.wantLookups(2)
	})
}

func TestInvalidateMatchingCallsNoOtherLookupOff(t *testing.T) {
	bubble(t, func(r *rig) {
		r.put("k", "s")
		r.take(time.Second)
		var wg sync.WaitGroup
		wg.Go(func() { r.want(r.get("k", "s"), answer{"s loaded", time.Second}) })
		time.Sleep(500 * time.Millisecond)
		r.InvalidateMatching(func(string, string) bool { return true }, func(key, _ string) bool { return key == "other" })
		wg.Wait()
		r.wantLookups(1)
	})
}

func TestVerifyAsksWhenARecordIsNeeded(t *testing.T) {
	bubble(t, func(r *rig) {
		for _, key := range []string{"kept", "gone", "unused"} {
			r.load(key, "s")
		}
		r.get("made since", "s")
		r.looked()
		r.del("gone")
		r.put("made since", "s")
		time.Sleep(time.Second)
		r.Verify()
		r.wantLookups(0)
		r.want(r.get("kept", "s"), answer{"s loaded", 0})
		r.want(r.get("gone", "s"), answer{"absent", 0})
		r.want(r.get("made since", "s"), answer{"s loaded", 0})
		r.wantLookups(3)
		r.fail(errDown)
		r.want(r.get("unused", "s"), answer{"s resurrected", 0})
	})
}
