package cache

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStatsCountWhatHappened(t *testing.T) {
	bubble(t, func(r *rig) {
		r.p.LookupsPerSecond = 3
		start := time.Now()
		r.put("k", "s")
		r.get("k", "s")       // loaded
		r.get("k", "s")       // a hit
		r.get("unknown", "s") // absent
		time.Sleep(80 * time.Second)
		r.get("k", "s") // a hit, refreshed
		time.Sleep(10 * time.Second)
		r.get("k", "wrong") // refused
		time.Sleep(100 * time.Second)
		r.get("k", "s") // loaded
		time.Sleep(100 * time.Second)
		r.fail(errDown)
		r.get("k", "s")       // resurrected
		r.get("another", "s") // unavailable
		r.fail(nil)
		time.Sleep(10 * time.Second)
		r.take(10 * time.Second)
		r.p.LookupTimeout = 100 * time.Millisecond
		r.get("another", "s") // unavailable, and the probe of k fails
		r.fail(nil)
		r.take(0)
		time.Sleep(time.Minute)
		r.set(func() { r.hook = func(context.Context) { panic("bug") } })
		r.get("bug", "s") // an error
		want := Stats{
			Entries: 1, Absent: 0, Refused: 0,
			Failing: true, LastAnswer: start.Add(190 * time.Second),
			Hits: 2, Loads: 2, Resurrected: 1, Absences: 1, Refusals: 1, Unavailable: 2, Errors: 1,
			Refresh: 3, Expired: 2, Reread: 1, NeverSeen: 2,
			Found: 4, NotFound: 1, Failed: 2, Panicked: 1,
		}
		if diff := cmp.Diff(want, r.Stats()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestStatsCountDroppedRecords(t *testing.T) {
	bubble(t, func(r *rig) {
		want := uint64(0)
		gone := func(how string, n uint64) {
			t.Helper()
			if want += n; r.Stats().Dropped != want {
				t.Errorf("%s: %d in all, want %d", how, r.Stats().Dropped, want)
			}
		}
		for _, key := range []string{"a", "b", "c"} {
			r.load(key, "s")
		}
		gone("records found", 0)
		r.Invalidate("never seen")
		gone("not cached", 0)
		r.Invalidate("a")
		gone("invalidated", 1)
		time.Sleep(time.Second)
		r.Retain(r.p, time.Now(), func(key string) bool { return key != "b" })
		gone("not listed", 1)
		r.set(func() { delete(r.secrets, "c") })
		time.Sleep(100 * time.Second)
		r.get("c", "s")
		gone("denied", 1)
	})
}

func TestStatsCountChangedRecords(t *testing.T) {
	bubbleOf(t, Options[string]{Same: func(a, b string) bool { return a == b }}, func(r *rig) {
		for i, step := range []struct {
			store string
			want  uint64
		}{{"one", 0}, {"one", 0}, {"two", 1}, {"two", 1}, {"one", 2}} {
			r.put("k", step.store)
			time.Sleep(100 * time.Second)
			r.get("k", step.store)
			if got := r.Stats().Changed; got != step.want {
				t.Errorf("after lookup %d: %d, want %d", i, got, step.want)
			}
		}
	})
}

func TestConditionTellsOfTheBudgetAndTheLatestFailure(t *testing.T) {
	bubble(t, func(r *rig) {
		if diff := cmp.Diff(Condition{}, r.Condition()); diff != "" {
			t.Error(diff)
		}
		r.get("nobody", "s")
		if got := r.Condition(); got.LookupsPerSecond != 100 || got.Permits != 99 {
			t.Errorf("after a miss: %+v", got)
		}
		r.fail(errDown)
		r.get("k", "s")
		at := time.Now()
		r.fail(nil)
		time.Sleep(time.Minute)
		r.get("k", "s")
		if got := r.Condition(); got.LastFailure != errDown || !got.LastFailureAt.Equal(at) {
			t.Errorf("after an outage: %+v", got)
		}
	})
}
