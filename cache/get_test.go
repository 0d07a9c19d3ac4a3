package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/clock"
)

func TestFreshRecordIsAnsweredFromMemory(t *testing.T) {
	bubble(t, func(r *rig) {
		r.put("k", "s")
		r.take(10 * time.Millisecond)
		r.want(r.get("k", "s"), answer{"s loaded", 10 * time.Millisecond})
		for range 79 {
			time.Sleep(time.Second)
			r.want(r.get("k", "s"), answer{"s fresh", 0})
		}
		r.wantLookups(1)
	})
}

func TestRefreshPointIsAt80PercentLessUpToTenAsJitter(t *testing.T) {
	for jitter, point := range map[float64]time.Duration{0: 80 * time.Second, 0.5: 75 * time.Second, 0.75: 72500 * time.Millisecond} {
		o := Options[string]{Jitter: func() float64 { return jitter }}
		bubbleOf(t, o, func(r *rig) {
			r.load("k", "old")
			r.put("k", "new")
			r.take(time.Second)
			time.Sleep(point - time.Millisecond)
			r.want(r.get("k", "old"), answer{"old fresh", 0})
			r.wantLookups(1)
			time.Sleep(time.Millisecond)
			r.want(r.get("k", "old"), answer{"old fresh", 0})
			r.wantLookups(1)
			time.Sleep(time.Second)
			synctest.Wait()
			r.want(r.get("k", "new"), answer{"new fresh", 0})
		})
	}
}

func TestRefreshIsOneLookupPerKeyWhateverTheTraffic(t *testing.T) {
	bubble(t, func(r *rig) {
		r.load("k", "s")
		r.take(1900 * time.Millisecond)
		time.Sleep(80 * time.Second)
		r.looked()
		for range 18 {
			for _, a := range r.all(50, func(int) answer { return r.get("k", "s") }) {
				r.want(a, answer{"s fresh", 0})
			}
			time.Sleep(100 * time.Millisecond)
		}
		r.wantLookups(1)
	})
}

func TestBusyCredentialNeverWaitsAgain(t *testing.T) {
	bubble(t, func(r *rig) {
		r.put("k", "s")
		r.take(time.Second)
		r.get("k", "s")
		for range 10_000 {
			time.Sleep(100 * time.Millisecond)
			r.want(r.get("k", "s"), answer{"s fresh", 0})
		}
		r.wantLookups(1 + 1000/80)
	})
}

func TestIdleCredentialIsNotKeptAlive(t *testing.T) {
	bubble(t, func(r *rig) {
		r.load("k", "s")
		time.Sleep(time.Hour)
		r.wantLookups(1)
	})
}

func TestExpiredRecordWaitsForOneSharedLookup(t *testing.T) {
	bubble(t, func(r *rig) {
		r.load("k", "old")
		time.Sleep(100 * time.Second)
		r.put("k", "new")
		r.take(200 * time.Millisecond)
		r.looked()
		got := r.all(1000, func(i int) answer { return r.get("k", "new") })
		if diff := cmp.Diff(repeat(answer{"new loaded", 200 * time.Millisecond}, 1000), got); diff != "" {
			t.Error(diff)
		}
		r.wantLookups(1)
	})
}

func TestSlowStoreIsGivenAQuarterOfASecondIfAStaleRecordIsAtHand(t *testing.T) {
	bubble(t, func(r *rig) {
		r.load("k", "s")
		time.Sleep(100 * time.Second)
		r.take(time.Second)
		r.looked()
		r.want(r.get("k", "s"), answer{"s resurrected", 250 * time.Millisecond})
		r.want(r.get("k", "s"), answer{"s resurrected", 0}) // the store has had its time
		time.Sleep(750 * time.Millisecond)
		synctest.Wait()
		r.want(r.get("k", "s"), answer{"s fresh", 0})
		r.wantLookups(1)
	})
}

func TestPatienceWithAStaleRecordIsThePolicys(t *testing.T) {
	bubble(t, func(r *rig) {
		r.p.StalePatience = time.Second
		r.load("k", "s")
		time.Sleep(100 * time.Second)
		r.take(900 * time.Millisecond)
		r.want(r.get("k", "s"), answer{"s loaded", 900 * time.Millisecond})
		time.Sleep(100 * time.Second)
		r.take(2 * time.Second)
		r.want(r.get("k", "s"), answer{"s resurrected", time.Second})
	})
}

func TestWithoutAStaleRecordTheLookupDeadlineHolds(t *testing.T) {
	late := answer{"unavailable for 1s: context deadline exceeded", 2 * time.Second}
	for name, age := range map[string]time.Duration{"never seen": 0, "too old": 1100 * time.Second} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				if age > 0 {
					r.load("k", "s")
					time.Sleep(age)
				}
				r.looked()
				r.take(time.Hour)
				r.want(r.get("k", "s"), late)
				for _, l := range r.looked() { // the lookup itself is no longer
					r.want(answer{l.Err.Error(), l.End - l.At}, answer{"context deadline exceeded", 2 * time.Second})
				}
			})
		})
	}
}

func TestNegativeAnswerEndsARecordForGood(t *testing.T) {
	for name, age := range map[string]time.Duration{"refreshed": 80 * time.Second, "expired": 100 * time.Second, "too old": 1100 * time.Second} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.load("k", "s")
				r.del("k")
				time.Sleep(age)
				r.get("k", "s") // has the store asked, in the background at first
				synctest.Wait()
				r.want(r.get("k", "s"), answer{"absent", 0})
				r.fail(errDown)
				time.Sleep(5 * time.Second)
				r.want(r.get("k", "s"), answer{"unavailable for 1s: connection refused", 0})
			})
		})
	}
}

func TestAbsenceIsRememberedForNegTTLFromTheLookup(t *testing.T) {
	bubble(t, func(r *rig) {
		r.take(time.Second)
		r.want(r.get("k", "s"), answer{"absent", time.Second})
		time.Sleep(3999 * time.Millisecond)
		r.want(r.get("k", "s"), answer{"absent", 0})
		r.wantLookups(1)
		time.Sleep(time.Millisecond)
		r.put("k", "s")
		r.want(r.get("k", "s"), answer{"s loaded", time.Second})
		if s := r.Stats(); s.Absent != 0 {
			t.Error("the absence is still remembered")
		}
	})
}

// reason is a negative answer that says why.
type reason string

func (e reason) Error() string        { return string(e) }
func (e reason) Is(target error) bool { return target == ErrAbsent }

func TestAbsenceKeepsWhatTheStoreSaid(t *testing.T) {
	bubble(t, func(r *rig) {
		r.fail(reason("disabled"))
		for range 2 {
			_, err := r.Get(r.t.Context(), "k", "k", r.p, Claim[string]{})
			var got reason
			if !errors.As(err, &got) || got != "disabled" {
				t.Errorf("got %v, want the store's own error", err)
			}
		}
		r.wantLookups(1)
	})
}

func TestTTL(t *testing.T) {
	const min, hour = time.Minute, time.Hour
	tests := map[string]struct {
		p    Policy
		own  time.Duration
		want time.Duration
	}{
		"the policy's":              {Policy{TTL: min, MaxTTL: hour}, 0, min},
		"the record's":              {Policy{TTL: min, MaxTTL: hour}, 2 * min, 2 * min},
		"the record's, capped":      {Policy{TTL: min, MaxTTL: hour}, 2 * hour, hour},
		"ttl 0 is max_ttl":          {Policy{MaxTTL: hour}, 0, hour},
		"max_ttl 0 asks no records": {Policy{TTL: min}, hour, min},
		"a negative one is ignored": {Policy{TTL: min, MaxTTL: hour}, -1, min},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.secrets["k"] = Found[string]{Value: "s", TTL: test.own}
				r.p = test.p
				r.get("k", "s")
				time.Sleep(test.want * 79 / 100)
				r.want(r.get("k", "s"), answer{"s fresh", 0}) // and not refreshed
				time.Sleep(test.want * 21 / 100)
				r.want(r.get("k", "s"), answer{"s loaded", 0})
			})
		})
	}
}

func TestFreshnessIsJudgedByThePolicyOfEachGet(t *testing.T) {
	bubble(t, func(r *rig) {
		short := r.p
		short.TTL = 10 * time.Second
		r.load("k", "s")
		time.Sleep(20 * time.Second)
		r.want(r.get("k", "s"), answer{"s fresh", 0})
		r.want(r.claim(short, "k", claimOf("s")), answer{"s loaded", 0})
	})
}

func TestRecordEndsAtItsExpires(t *testing.T) {
	const end = 50 * time.Second
	setUp := func(r *rig) {
		r.secrets["k"] = Found[string]{Value: "s", Expires: time.Now().Add(end)}
		r.want(r.get("k", "s"), answer{"s loaded", 0})
	}
	t.Run("even while cached", func(t *testing.T) {
		bubble(t, func(r *rig) {
			setUp(r)
			time.Sleep(end - time.Nanosecond)
			r.want(r.get("k", "s"), answer{"s fresh", 0})
			time.Sleep(time.Nanosecond)
			r.want(r.get("k", "s"), answer{"absent", 0})
		})
	})
	t.Run("and is not resurrected", func(t *testing.T) {
		bubble(t, func(r *rig) {
			setUp(r)
			r.fail(errDown)
			time.Sleep(end)
			r.want(r.get("k", "s"), answer{"unavailable for 1s: connection refused", 0})
		})
	})
	t.Run("unless the store has moved it, which a refresh finds out", func(t *testing.T) {
		bubble(t, func(r *rig) {
			setUp(r)
			r.put("k", "s")
			time.Sleep(end * 8 / 10)
			r.get("k", "s")
			time.Sleep(end * 2 / 10)
			r.want(r.get("k", "s"), answer{"s fresh", 0})
		})
	})
}

func TestAgeIsTheLargerOfBothClocks(t *testing.T) {
	for name, skew := range map[string]clock.Instant{
		"suspended: only the wall clock moved": {Wall: int64(100 * time.Second)},
		"set back: only the monotonic moved":   {Mono: 100 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.load("k", "s")
				time.Sleep(time.Second)
				now := r.clock()
				r.clock = func() clock.Instant { return clock.Instant{Mono: now.Mono + skew.Mono, Wall: now.Wall + skew.Wall} }
				r.want(r.get("k", "s"), answer{"s loaded", 0})
			})
		})
	}
}

func TestOneLookupForConcurrentClaimsOfANewKey(t *testing.T) {
	bubble(t, func(r *rig) {
		r.put("k", "s")
		r.take(50 * time.Millisecond)
		got := r.all(1000, func(int) answer { return r.get("k", "s") })
		if diff := cmp.Diff(repeat(answer{"s loaded", 50 * time.Millisecond}, 1000), got); diff != "" {
			t.Error(diff)
		}
		r.wantLookups(1)
	})
}

func TestLookupThatEndsInBetweenIsEnough(t *testing.T) {
	bubble(t, func(r *rig) {
		for secret, key := range map[string]string{"s": "k", "": "unknown"} {
			if secret != "" {
				r.put(key, secret)
			}
			claim := claimOf(secret)
			claim.Source = func() string { // is called after memory had nothing
				r.get(key, secret)
				return ""
			}
			r.claim(r.p, key, claim)
			r.wantLookups(1)
		}
	})
}

func TestClientThatGoesAwayFailsNobodyElse(t *testing.T) {
	bubble(t, func(r *rig) {
		r.put("k", "s")
		r.take(time.Second)
		ctx, cancel := context.WithTimeout(r.t.Context(), 100*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := r.Get(ctx, "k", "k", r.p, claimOf("s"))
			r.want(answer{Got: err.Error()}, answer{Got: context.DeadlineExceeded.Error()})
		})
		synctest.Wait()
		r.want(r.get("k", "s"), answer{"s loaded", time.Second})
		wg.Wait()
		r.wantLookups(1)
	})
}

func TestPanicIsAnErrorForAllGetsThatWait(t *testing.T) {
	var none map[string]int
	ways := map[string]func(){
		"lookup panicked with a string":                   func() { panic("secret") },
		"lookup panicked: assignment to entry in nil map": func() { none["a"]++ },
		"lookup panicked with a *errors.errorString":      func() { panic(errors.New("secret")) },
	}
	for want, panics := range ways {
		t.Run(want, func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.put("other", "s")
				r.set(func() { r.hook = func(context.Context) { time.Sleep(time.Second); panics() } })
				for _, a := range r.all(10, func(int) answer { return r.get("k", "s") }) {
					r.want(a, answer{want, time.Second})
				}
				r.wantEvents(want)
				r.wantLookups(1)
				r.set(func() { r.hook = nil })
				r.want(r.get("other", "s"), answer{"s loaded", 0}) // no pause
			})
		})
	}
}

func TestEverythingIsBounded(t *testing.T) {
	bubbleOf(t, Options[string]{MaxEntries: 100, MaxAbsent: 50}, func(r *rig) {
		r.p.LookupsPerSecond = 100_000
		for i := range 1000 {
			k := fmt.Sprint(i)
			r.put(k, "s")
			r.want(r.get(k, "s"), answer{"s loaded", 0})
			r.want(r.get("no"+k, "s"), answer{"absent", 0})
			r.want(r.get(k, "wrong"), answer{"refused", 0})
		}
		for _, clean := range []func(){r.entries.CleanUp, r.absent.CleanUp, r.refused.CleanUp} {
			clean()
		}
		s := r.Stats()
		got := Stats{Entries: s.Entries, Absent: s.Absent, Refused: s.Refused, Evicted: s.Evicted}
		if diff := cmp.Diff(Stats{Entries: 100, Absent: 50, Refused: 50, Evicted: 900}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestGuessesDontPushOutRecords(t *testing.T) {
	bubbleOf(t, Options[string]{MaxEntries: 10, MaxAbsent: 10}, func(r *rig) {
		r.p.LookupsPerSecond = 100_000
		for i := range 10 {
			r.load(fmt.Sprint(i), "s")
		}
		for i := range 10_000 {
			r.get(fmt.Sprint("guess", i), "s")
		}
		for i := range 10 {
			r.want(r.get(fmt.Sprint(i), "s"), answer{"s fresh", 0})
		}
	})
}

func TestMemoryIsFreedWhenNobodyComesBack(t *testing.T) {
	bubble(t, func(r *rig) {
		r.load("k", "s")
		r.get("unknown", "s")
		r.get("k", "wrong")
		time.Sleep(2 * time.Hour)
		s := r.Stats()
		if got := s.Entries + s.Absent + s.Refused; got != 0 {
			t.Errorf("%d things remembered, want none", got)
		}
	})
}

func TestCloseEndsWhatIsGoingOn(t *testing.T) {
	bubble(t, func(r *rig) {
		r.load("cached", "s")
		r.p.LookupsPerSecond = 1 // so that one lookup runs and one waits
		r.take(time.Hour)
		var wg sync.WaitGroup
		for _, k := range []string{"running", "waiting"} {
			wg.Go(func() { r.want(r.get(k, "s"), answer{"unavailable for 1s: cache closed", 500 * time.Millisecond}) })
		}
		time.Sleep(500 * time.Millisecond)
		r.wantLookups(2)
		r.Close()
		wg.Wait()
		r.want(r.get("new", "s"), answer{"unavailable for 1s: cache closed", 0})
		r.want(r.get("cached", "s"), answer{"s fresh", 0})
		r.wantEvents()
	})
}
