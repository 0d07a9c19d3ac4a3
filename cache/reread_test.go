package cache

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRotatedSecretWorksAtOnce(t *testing.T) {
	bubble(t, func(r *rig) {
		r.load("k", "old")
		time.Sleep(10 * time.Second)
		r.put("k", "new")
		r.take(10 * time.Millisecond)
		r.want(r.get("k", "new"), answer{"new loaded", 10 * time.Millisecond})
		r.want(r.get("k", "new"), answer{"new fresh", 0})
	})
}

func TestWrongSecretIsRefusedAfterOneLookup(t *testing.T) {
	bubble(t, func(r *rig) {
		r.load("k", "s")
		time.Sleep(10 * time.Second)
		r.take(10 * time.Millisecond)
		r.looked()
		r.want(r.get("k", "wrong"), answer{"refused", 10 * time.Millisecond})
		r.wantLookups(1)
	})
}

func TestFirstLookupIsEnoughToRefuse(t *testing.T) {
	bubble(t, func(r *rig) {
		r.put("k", "s")
		r.want(r.get("k", "wrong"), answer{"refused", 0})
		r.wantLookups(1)
	})
}

func TestRefusedSecretIsNotLookedUpAgainForNegTTL(t *testing.T) {
	bubble(t, func(r *rig) {
		r.put("k", "s")
		r.get("k", "wrong")
		r.looked()
		for range 49 {
			time.Sleep(100 * time.Millisecond)
			r.want(r.get("k", "wrong"), answer{"refused", 0})
		}
		r.wantLookups(0)
		time.Sleep(100 * time.Millisecond)
		r.want(r.get("k", "wrong"), answer{"refused", 0})
		r.wantLookups(1)
	})
}

func TestRefusedSecretWorksOnceTheRecordHasIt(t *testing.T) {
	bubble(t, func(r *rig) {
		r.put("k", "old")
		r.want(r.get("k", "new"), answer{"refused", 0})
		r.put("k", "new")
		time.Sleep(2 * time.Second)
		r.want(r.get("k", "another wrong one"), answer{"refused", 0})
		r.want(r.get("k", "new"), answer{"new fresh", 0})
	})
}

func TestKeyIsReadAgainAtMostOnceASecond(t *testing.T) {
	bubble(t, func(r *rig) {
		r.load("k", "s")
		r.take(10 * time.Millisecond)
		time.Sleep(100 * time.Millisecond)
		r.looked()
		var guesses sync.WaitGroup
		for i := range 4000 { // four seconds of guesses, a thousand a second
			guesses.Go(func() { r.get("k", fmt.Sprint("guess", i)) })
			time.Sleep(time.Millisecond)
			r.want(r.get("k", "s"), answer{"s fresh", 0}) // right secrets never wait for them
		}
		r.wantLookups(4)
		guesses.Wait()
	})
}

func TestSecondClaimantWaitsForTheNextRead(t *testing.T) {
	bubble(t, func(r *rig) {
		r.load("k", "old")
		time.Sleep(10 * time.Second)
		r.take(200 * time.Millisecond)
		var first sync.WaitGroup
		first.Go(func() { r.want(r.get("k", "wrong"), answer{"refused", 200 * time.Millisecond}) })
		time.Sleep(100 * time.Millisecond)
		r.put("k", "new") // after the re-read for the first has begun
		r.want(r.get("k", "new"), answer{"new loaded", 1100 * time.Millisecond})
		first.Wait()
		r.wantLookups(3)
	})
}

func TestClaimantsOfOneKeyAreBounded(t *testing.T) {
	bubble(t, func(r *rig) {
		r.load("k", "s")
		time.Sleep(time.Millisecond)
		got := tally(r.all(maxClaimants+10, func(i int) answer { return r.get("k", fmt.Sprint("guess", i)) }))
		if diff := cmp.Diff(map[string]int{"refused": maxClaimants, "limited for 1s": 10}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDeletedRecordIsFoundOutByAClaim(t *testing.T) {
	bubble(t, func(r *rig) {
		r.load("k", "s")
		time.Sleep(10 * time.Second)
		r.del("k")
		r.want(r.get("k", "wrong"), answer{"absent", 0})
		r.want(r.get("k", "s"), answer{"absent", 0})
	})
}

func TestClaimIsNotDecidedWhileTheStoreFails(t *testing.T) {
	bubble(t, func(r *rig) {
		r.load("k", "s")
		time.Sleep(10 * time.Second)
		r.fail(errDown)
		r.want(r.get("k", "new"), answer{"unavailable for 1s: connection refused", 0})
		r.want(r.get("k", "new"), answer{"unavailable for 1s: connection refused", 0})
		r.want(r.get("k", "s"), answer{"s fresh", 0})
	})
}

func TestClaimsWithoutADigestAreNotRemembered(t *testing.T) {
	bubble(t, func(r *rig) {
		r.put("k", "s")
		for range 3 {
			r.want(r.claim(r.p, "k", Claim[string]{Accept: func(string) bool { return false }}), answer{"refused", 0})
			time.Sleep(time.Second)
		}
		r.wantLookups(3)
	})
}

func TestWrongSecretsUsePermitsUpAndRotatedOnesDoNot(t *testing.T) {
	tests := map[string]struct {
		secret string
		age    time.Duration
		want   int
	}{
		"wrong":                        {"wrong", 10 * time.Second, 5},
		"wrong, but the record is due": {"wrong", 100 * time.Second, 50},
		"rotated":                      {"new", 10 * time.Second, 50},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.p.LookupsPerSecond = 5
				r.fill(50)
				time.Sleep(test.age)
				for i := range 50 {
					r.put(fmt.Sprint(i), "new")
				}
				for i := range 50 {
					go r.get(fmt.Sprint(i), test.secret)
					synctest.Wait()
				}
				r.wantLookups(test.want)
				time.Sleep(r.p.LookupTimeout)
			})
		})
	}
}
