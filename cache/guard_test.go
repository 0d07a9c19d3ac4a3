package cache

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var sorted = cmpopts.SortSlices(func(a, b string) bool { return a < b })

func (r *rig) wantAnswers(n int, want map[string]int) {
	r.t.Helper()
	got := map[string]int{}
	for i := range n {
		a, _, _ := strings.Cut(r.get(fmt.Sprint(i), "s").Got, " for ")
		got[a]++
	}
	synctest.Wait()
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Errorf("answers (-want +got):\n%s", diff)
	}
}

func TestListingThatLostEverythingIsNotBelieved(t *testing.T) {
	bubble(t, func(r *rig) {
		r.fill(100)
		time.Sleep(time.Second)
		r.take(10 * time.Millisecond)
		r.del("7")
		for range 3 { // as often as it comes
			if dropped := r.Retain(r.p, time.Now(), func(string) bool { return false }); dropped != 0 {
				t.Errorf("dropped %d, want none", dropped)
			}
		}
		r.wantEvents("held 100 of 100", "held 100 of 100", "held 100 of 100")
		time.Sleep(guardDelay - time.Millisecond)
		r.wantLookups(0)
		time.Sleep(21 * time.Millisecond)
		r.wantLookups(100)
		if r.most != maxVerifying {
			t.Errorf("%d lookups at a time, want %d", r.most, maxVerifying)
		}
		r.wantEvents("resolved")
		r.wantAnswers(100, map[string]int{"s fresh": 99, "absent": 1})
	})
}

func TestFewDropsAreBelieved(t *testing.T) {
	t.Run("ten of ten", func(t *testing.T) {
		bubble(t, func(r *rig) {
			r.fill(10)
			time.Sleep(time.Second)
			if dropped := r.Retain(r.p, time.Now(), func(string) bool { return false }); dropped != 10 {
				t.Errorf("dropped %d, want 10", dropped)
			}
			r.wantEvents()
		})
	})
	t.Run("half of a hundred", func(t *testing.T) {
		bubble(t, func(r *rig) {
			r.fill(100)
			time.Sleep(time.Second)
			if dropped := r.Retain(r.p, time.Now(), func(key string) bool { return key[len(key)-1] < '5' }); dropped != 50 {
				t.Errorf("dropped %d, want 50", dropped)
			}
			r.wantEvents()
		})
	})
	t.Run("a hundred, spread out", func(t *testing.T) {
		bubble(t, func(r *rig) {
			r.fill(100)
			time.Sleep(100 * time.Second)
			for i := range 100 {
				r.del(fmt.Sprint(i))
				r.want(r.get(fmt.Sprint(i), "s"), answer{"absent", 0})
				time.Sleep(time.Second)
			}
			r.wantEvents()
		})
	})
}

// losing caches n records, lets them reach an age, deletes all of them in the store, and
// claims each once.
func losing(r *rig, n int, age time.Duration) {
	r.fill(n)
	time.Sleep(age)
	r.set(func() { clear(r.secrets) })
	for i := range n {
		r.get(fmt.Sprint(i), "s")
		synctest.Wait()
	}
	r.looked()
}

func TestStoreThatLostEverythingIsNotBelieved(t *testing.T) {
	bubble(t, func(r *rig) {
		losing(r, 100, 80*time.Second)
		r.wantEvents("held 51 of 100")
		r.wantAnswers(100, map[string]int{"s fresh": 50, "absent": 50})
		time.Sleep(guardDelay - time.Second)
		r.wantLookups(0) // not verified yet
		for i := range 100 {
			r.put(fmt.Sprint(i), "s")
		}
		time.Sleep(time.Second)
		r.wantLookups(50)
		r.wantEvents("resolved")
		time.Sleep(10 * time.Second)
		r.wantAnswers(100, map[string]int{"s fresh": 50, "s loaded": 50})
	})
}

func TestWhatTheStoreDeniesTwiceIsGone(t *testing.T) {
	bubble(t, func(r *rig) {
		losing(r, 100, 80*time.Second)
		time.Sleep(guardDelay)
		r.wantEvents("held 51 of 100", "resolved")
		r.wantAnswers(100, map[string]int{"absent": 100})
	})
}

func TestSuspectsEndWithTheirResurrectTTL(t *testing.T) {
	bubble(t, func(r *rig) {
		losing(r, 100, 80*time.Second)
		r.fail(errDown)
		time.Sleep(1019 * time.Second)
		r.wantAnswers(100, map[string]int{"s resurrected": 50, "unavailable": 50})
		time.Sleep(time.Second)
		r.wantAnswers(100, map[string]int{"unavailable": 100})
	})
}

func TestSuspectIsNotLookedUpByItsClaims(t *testing.T) {
	for age, want := range map[time.Duration]string{80 * time.Second: "s fresh", 100 * time.Second: "s resurrected"} {
		t.Run(want, func(t *testing.T) {
			bubble(t, func(r *rig) {
				losing(r, 100, age)
				time.Sleep(time.Second)
				for range 10 {
					r.want(r.get("99", "s"), answer{want, 0})
				}
				r.wantLookups(0)
			})
		})
	}
}

func TestNothingIsDroppedWhileSuspectsAreVerifiedAndThenAsEver(t *testing.T) {
	bubble(t, func(r *rig) {
		losing(r, 100, 80*time.Second)
		drop := func(key string) answer {
			r.load(key, "s")
			r.del(key)
			r.get(key, "wrong") // has it read again
			return r.get(key, "s")
		}
		r.take(500 * time.Millisecond)
		r.want(drop("other"), answer{"s fresh", 0})
		time.Sleep(100 * time.Second) // and is done
		r.wantEvents("held 51 of 100", "resolved")
		r.want(drop("other"), answer{"absent", 0})
	})
}

// The store has lost everything, and gets it back with other secrets.
func TestRecordMadeAgainDuringAMassDenialWorksAtOnce(t *testing.T) {
	bubble(t, func(r *rig) {
		losing(r, 60, 80*time.Second)
		r.wantAnswers(60, map[string]int{"s fresh": 30, "absent": 30})
		for i := range 60 {
			r.put(fmt.Sprint(i), "new")
		}
		r.take(10 * time.Millisecond)
		for i := 30; i < 60; i++ {
			r.want(r.get(fmt.Sprint(i), "new"), answer{"new loaded", 10 * time.Millisecond})
		}
		r.want(r.get("59", "s"), answer{"refused", time.Second}) // as after any rotation
	})
}

// 1,500 records whose ttl is a second.
func TestRevocationOfManyThatIsMeantIsThroughInSeconds(t *testing.T) {
	const n = 1500
	bubble(t, func(r *rig) {
		r.p.TTL = time.Second
		r.fill(n)
		r.take(10 * time.Millisecond)
		r.set(func() { clear(r.secrets) })
		accepted := func() (left int) {
			for _, a := range r.all(n, func(i int) answer { return r.get(fmt.Sprint(i), "s") }) {
				if strings.HasPrefix(a.Got, "s ") {
					left++
				}
			}
			return left
		}
		began := time.Now()
		for accepted() > 0 {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the last was accepted after %s", took)
		}
	})
}

func TestClientsAreServedWhileManyAreVerified(t *testing.T) {
	bubble(t, func(r *rig) {
		r.fill(5000)
		time.Sleep(time.Second)
		r.take(10 * time.Millisecond)
		r.Retain(r.p, time.Now(), func(string) bool { return false })
		time.Sleep(guardDelay + 100*time.Millisecond)
		for i := range 20 {
			k := fmt.Sprint("client", i)
			r.put(k, "s")
			r.want(r.get(k, "s"), answer{"s loaded", 10 * time.Millisecond})
		}
		if r.Stats().InDoubt == 0 {
			t.Error("verification was over")
		}
	})
}

func TestSuspectThatIsInvalidatedIsNoLongerInDoubt(t *testing.T) {
	bubble(t, func(r *rig) {
		losing(r, 100, 80*time.Second)
		r.wantEvents("held 51 of 100")
		for i := range 100 {
			r.Invalidate(fmt.Sprint(i))
		}
		r.wantEvents("resolved")
		if s := r.Stats(); s.InDoubt != 0 || s.Entries != 0 {
			t.Errorf("%d in doubt and %d cached, want none", s.InDoubt, s.Entries)
		}
		time.Sleep(time.Minute)
		r.wantLookups(0)
	})
}

func TestEachDenialIsVerifiedAfterItsOwnDelay(t *testing.T) {
	bubble(t, func(r *rig) {
		losing(r, 100, 80*time.Second)
		time.Sleep(time.Second / 2)
		r.put("99", "new")
		r.want(r.get("99", "new"), answer{"new loaded", 0})
		r.del("99")
		time.Sleep(time.Second)
		r.get("99", "wrong") // denied again
		r.looked()
		time.Sleep(guardDelay - time.Millisecond)
		if slices.ContainsFunc(r.looked(), func(l *lookup) bool { return l.Key == "99" }) {
			t.Error("verified after less")
		}
		r.want(r.get("99", "new"), answer{"new fresh", 0})
		time.Sleep(2 * time.Second)
		r.want(r.get("99", "new"), answer{"absent", 0})
	})
}
