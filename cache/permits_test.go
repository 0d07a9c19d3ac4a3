package cache

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAFloodOfGuessesUsesPermitsUpAndAFullRestartDoesNot(t *testing.T) {
	bubble(t, func(r *rig) {
		r.p.LookupsPerSecond = 10
		for i := range 1000 { // a restart is no attack
			k := fmt.Sprint(i)
			r.put(k, "s")
			r.want(r.get(k, "s"), answer{"s loaded", 0})
		}
		for i := range 10 {
			r.want(r.get(fmt.Sprint("guess", i), "s"), answer{"absent", 0})
		}
		r.want(r.get("one more", "s"), answer{"absent", 100 * time.Millisecond})
	})
}

func TestWithoutAPermitAGetIsLimitedAtTheLookupDeadline(t *testing.T) {
	bubble(t, func(r *rig) {
		r.p.LookupsPerSecond, r.p.LookupTimeout = 1, 2500*time.Millisecond
		r.take(700 * time.Millisecond)
		got := map[answer]int{}
		for _, a := range r.all(5, func(i int) answer { return r.get(fmt.Sprint(i), "s") }) {
			a.Got, _, _ = strings.Cut(a.Got, " for ")
			a.Took = a.Took.Truncate(time.Millisecond)
			got[a]++
		}
		want := map[answer]int{
			{"absent", 700 * time.Millisecond}:   1,
			{"absent", 1700 * time.Millisecond}:  1,
			{"limited", 2500 * time.Millisecond}: 3, // of which one got a permit too late
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		r.wantLookups(3)
	})
}

// TestGetThatWaitedLongerForAPermitThanForTheStoreIsLimited, also if the machine has
// stalled, and the Get learns it seconds later.
func TestGetThatWaitedLongerForAPermitThanForTheStoreIsLimited(t *testing.T) {
	const waited = 2 * time.Second
	for _, tt := range []struct {
		permit time.Duration // after the wait began
		want   string
	}{
		{0, "unavailable for 1s: context deadline exceeded"},
		{time.Second, "unavailable for 1s: context deadline exceeded"},
		{1001 * time.Millisecond, "limited for 1s"},
		{waited, "limited for 1s"},
		{3 * time.Second, "limited for 1s"}, // while the machine stalled
	} {
		bubble(t, func(r *rig) {
			r.get("guess", "s") // the first lookup sets the rate
			began := r.clock()
			f := &call[string]{running: true, began: began}
			f.began.Mono += tt.permit
			time.Sleep(10 * time.Second)
			if got := describe(r.lateError(f, began.Mono+waited, waited)); got != tt.want {
				t.Errorf("a permit after %v: %s, want %s", tt.permit, got, tt.want)
			}
		})
	}
}

func TestPermitsGoByPriority(t *testing.T) {
	bubble(t, func(r *rig) {
		r.p.LookupsPerSecond, r.p.LookupTimeout = 2, 3*time.Second
		for _, k := range []string{"refresh", "expired", "reread"} {
			r.put(k, "s")
		}
		r.get("expired", "s")
		time.Sleep(20 * time.Second)
		r.get("refresh", "s")
		time.Sleep(50 * time.Second)
		r.get("reread", "s")
		time.Sleep(30 * time.Second)
		r.get("guess", "s")
		r.get("another guess", "s") // no permit is left
		r.looked()
		for _, k := range []string{"never seen", "reread", "expired", "refresh"} {
			r.del(k)
			secret := "s"
			if k == "reread" {
				secret = "wrong"
			}
			go r.get(k, secret)
			synctest.Wait()
		}
		time.Sleep(3 * time.Second)
		var got []string
		for _, l := range r.looked() {
			got = append(got, l.Key)
		}
		if diff := cmp.Diff([]string{"refresh", "expired", "reread", "never seen"}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestLookupsAreBounded(t *testing.T) {
	bubble(t, func(r *rig) {
		r.p.LookupsPerSecond = 100_000
		r.take(100 * time.Millisecond)
		got := tally(r.all(2000, func(i int) answer { return r.get(fmt.Sprint(i), "s") }))
		if diff := cmp.Diff(map[string]int{"absent": maxRunning + maxWaiting, "limited for 1s": 2000 - maxRunning - maxWaiting}, got); diff != "" {
			t.Error(diff)
		}
		if r.most != maxRunning {
			t.Errorf("%d lookups at a time, want %d", r.most, maxRunning)
		}
	})
}

func TestKnownKeysFindRoomAmongGuesses(t *testing.T) {
	bubble(t, func(r *rig) {
		r.put("k", "s")
		r.p.ResurrectTTL = 0 // so that the expired record has to wait
		r.get("k", "s")
		time.Sleep(100 * time.Second)
		r.take(500 * time.Millisecond)
		for i := range 2000 {
			go r.get(fmt.Sprint(i), "s")
		}
		synctest.Wait()
		r.want(r.get("k", "s"), answer{"s loaded", time.Second})
	})
}

func TestStaleRecordIsGoodEnoughWithoutAPermit(t *testing.T) {
	bubble(t, func(r *rig) {
		r.p.LookupsPerSecond = 1
		r.load("k", "s")
		time.Sleep(100 * time.Second)
		r.get("guess", "s")
		r.want(r.get("k", "s"), answer{"s resurrected", 250 * time.Millisecond})
		time.Sleep(750 * time.Millisecond)
		synctest.Wait()
		r.want(r.get("k", "s"), answer{"s fresh", 0}) // the lookup went on
	})
}

func TestNoLookupIsMadeThatNoGetWaitsFor(t *testing.T) {
	bubble(t, func(r *rig) {
		r.p.LookupsPerSecond = 1
		r.p.LookupTimeout = 100 * time.Millisecond
		r.all(20, func(i int) answer { return r.get(fmt.Sprint(i), "s") })
		time.Sleep(time.Minute)
		r.wantLookups(1)
	})
}

// flood makes n claims of unknown keys a second for the given time.
func (r *rig) flood(n int, d time.Duration, source func(i int) string) *sync.WaitGroup {
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range int(d.Seconds() * float64(n)) {
			wg.Go(func() {
				r.claim(r.p, fmt.Sprint("guess", i), from(source(i), "s"))
			})
			time.Sleep(time.Second / time.Duration(n))
		}
	})
	return &wg
}

func TestOneSourceGetsATenthOfThePermits(t *testing.T) {
	bubble(t, func(r *rig) {
		flood := r.flood(1000, 10*time.Second, func(int) string { return "attacker" })
		time.Sleep(9950 * time.Millisecond)
		r.wantLookups(10 + 99) // what was saved up, then ten a second
		flood.Wait()
	})
}

func TestManyClientsOfOneSourceAreAllServed(t *testing.T) {
	bubble(t, func(r *rig) {
		r.take(time.Millisecond)
		for _, a := range r.all(500, func(i int) answer { // behind one address, after a restart
			k := fmt.Sprint(i)
			r.put(k, "s")
			return r.claim(r.p, k, from("office", "s"))
		}) {
			if a.Got != "s loaded" {
				t.Fatalf("got %+v", a)
			}
		}
	})
}

func TestFloodFromOneSourceHarmsNoOther(t *testing.T) {
	bubble(t, func(r *rig) {
		r.take(time.Millisecond)
		flood := r.flood(10_000/scale, 5*time.Second, func(int) string { return "attacker" })
		for i := range 1000 { // new clients, of a few addresses
			k := fmt.Sprint(i)
			r.put(k, "s")
			r.want(r.claim(r.p, k, from(fmt.Sprint("client", i%5), "s")), answer{"s loaded", time.Millisecond})
		}
		flood.Wait()
	})
}

func TestSourcesTakeTurnsAndTheFullestGivesWay(t *testing.T) {
	bubble(t, func(r *rig) {
		r.p.LookupsPerSecond = 10
		flood := r.flood(2000, 4*time.Second, func(i int) string { return fmt.Sprint("attacker", i%30) })
		time.Sleep(1550 * time.Millisecond)
		if got := r.Stats().Waiting; got != maxWaiting {
			t.Fatalf("%d lookups wait, want a full queue", got)
		}
		r.put("k", "s")
		if got := r.claim(r.p, "k", from("client", "s")); got.Got != "s loaded" || got.Took > 700*time.Millisecond {
			t.Errorf("got %+v, want a permit right after the five sources that had none yet", got)
		}
		flood.Wait()
	})
}

func TestSourcesAreForgotten(t *testing.T) {
	bubble(t, func(r *rig) {
		r.flood(5000, time.Second, func(i int) string { return fmt.Sprint(i) }).Wait()
		time.Sleep(10 * time.Second)
		r.get("k", "s")
		if got := len(r.queue.sources.byName); got != 1 {
			t.Errorf("%d sources remembered, want one", got)
		}
	})
}

func TestSourcesAreBounded(t *testing.T) {
	bubble(t, func(r *rig) {
		const each = 5000 // a second
		r.flood(each, 8*time.Second, func(i int) string { return fmt.Sprint(i) }).Wait()
		r.looked()
		if got := len(r.queue.sources.byName); got > maxSources+each+maxWaiting {
			t.Errorf("%d sources remembered", got)
		}
	})
}

func TestASourceThatKeepsGuessingComesAfterOneThatDoesNot(t *testing.T) {
	for name, of := range map[string]error{"what is not there": nil, "what only fails": page} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.p.LookupsPerSecond = 10
				ask := func(source, key string) {
					go r.claim(r.p, key, from(source, "s"))
					synctest.Wait()
				}
				r.spoil("guess", of)
				ask("guesser", "guess")
				time.Sleep(time.Second) // half of the penalty has decayed
				for i := range 10 {
					ask(fmt.Sprint("somebody", i), fmt.Sprint("unknown", i)) // no permit is left
				}
				r.looked()
				ask("guesser", "another guess")
				ask("client", "k")
				time.Sleep(150 * time.Millisecond)
				if got := r.looked(); len(got) != 1 || got[0].Key != "k" {
					t.Errorf("looked up:\n%s", describeAll(got))
				}
				time.Sleep(2 * time.Second)
			})
		})
	}
}

func TestSourceIsAskedForOnlyIfStrangersCanCauseTheLookup(t *testing.T) {
	bubble(t, func(r *rig) {
		asked := 0
		get := func(secret string) {
			claim := claimOf(secret)
			claim.Source = func() string { asked++; return "client" }
			r.claim(r.p, "k", claim)
		}
		r.put("k", "s")
		for _, step := range []struct {
			secret string
			after  time.Duration
			want   int
		}{
			{"s", 0, 1},                      // never seen
			{"s", 10 * time.Second, 1},       // fresh
			{"wrong", 0, 2},                  // to be read again
			{"wrong", time.Second, 2},        // refused already
			{"s", 100 * time.Second, 2},      // expired
			{"wrong", 100 * time.Second, 2},  // expired
			{"unknown", 10 * time.Second, 3}, // to be read again
		} {
			time.Sleep(step.after)
			get(step.secret)
			if asked != step.want {
				t.Errorf("%+v: asked %d times", step, asked)
			}
		}
	})
}

func TestNoClientWaitsForTheShareOfASourceThatAskedFirst(t *testing.T) {
	for name, test := range map[string]struct {
		known int // keys that have a record, and whose secret is another one now
		first string
	}{
		"a key never seen": {0, "guess"},
		"a rotation":       {30, "known"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				for i := range test.known {
					r.load(fmt.Sprint("known", i), "old")
				}
				time.Sleep(rereadPause)
				r.take(5 * time.Millisecond)
				r.put(test.first+"29", "new")
				var wg sync.WaitGroup
				defer wg.Wait()
				for i := range 30 {
					wg.Go(func() { r.claim(r.p, fmt.Sprint(test.first, i), from("attacker", "wrong")) })
					synctest.Wait()
				}
				r.want(r.claim(r.p, test.first+"29", from("client", "new")), answer{"new loaded", 5 * time.Millisecond})
			})
		})
	}
}

func TestARotationIsOneFindHoweverManyClaimIt(t *testing.T) {
	bubble(t, func(r *rig) {
		r.load("k", "old")
		time.Sleep(rereadPause)
		r.put("k", "new")
		r.take(time.Millisecond)
		r.all(15, func(int) answer { return r.claim(r.p, "k", from("office", "new")) })
		if score := r.queue.sources.byName["office"].score; score != 1 {
			t.Errorf("a score of %v", score)
		}
	})
}
