package cache

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// 299 clients come for the first time while somebody asks for names that a
// firewall before the store has pages of its own for.
func TestNoFirstTimeClientIsRefusedBesidePoisonedRequests(t *testing.T) {
	const clients = 299
	for _, test := range []struct {
		about   string
		known   int // records at hand
		address func(who string, i int) string
		poison  func(i int) string
	}{
		{"an empty cache", 0, each, poison},
		{"one record", 1, each, poison},
		{"many records", 20, each, poison},
		{"one name, and all behind one address", 0, func(string, int) string { return "office" }, func(int) string { return "wp-login.php" }},
	} {
		for _, rate := range []int{1, 10, 100} { // poisoned requests a second
			t.Run(fmt.Sprintf("%s, %d a second", test.about, rate), func(t *testing.T) {
				bubble(t, func(r *rig) {
					r.take(5 * time.Millisecond)
					r.fill(test.known)
					stop := make(chan struct{})
					var poisoned sync.WaitGroup
					poisoned.Go(func() {
						for i := 0; ; i++ {
							name := test.poison(i)
							r.spoil(name, page)
							poisoned.Go(func() { r.claim(r.p, name, from(test.address("attacker", i%50), "s")) })
							select {
							case <-stop:
								return
							case <-time.After(time.Second / time.Duration(rate)):
							}
						}
					})
					time.Sleep(3 * time.Second)
					got := map[string]int{}
					for i := range clients {
						k := fmt.Sprint("client", i)
						r.put(k, "s")
						got[r.claim(r.p, k, from(test.address("client", i), "s")).Got]++
						time.Sleep(100 * time.Millisecond)
					}
					close(stop)
					poisoned.Wait()
					if diff := cmp.Diff(map[string]int{"s loaded": clients}, got); diff != "" {
						t.Error(diff)
					}
				})
			})
		}
	}
}

// each has an address of its own.
func each(who string, i int) string { return fmt.Sprint(who, i) }

func poison(i int) string { return fmt.Sprint("wp-login", i) }

func TestFailureAboutAKeyIsAnOutageOnlyIfAnotherFailsToo(t *testing.T) {
	const began = "began: 429"
	failed := func(n int) []string { return slices.Repeat([]string{"not read again: 429"}, n) }
	tests := map[string]struct {
		known int
		asked []string // unknown keys
		want  []string
	}{
		"one unknown key":                       {0, []string{"a"}, nil},
		"the same again":                        {0, []string{"a", "a"}, nil},
		"two unknown keys":                      {0, []string{"a", "b"}, []string{began}},
		"an unknown key and the only known one": {1, []string{"a"}, append(failed(1), began)},
		"an unknown key and two known ones":     {2, []string{"a"}, append(failed(2), began)},
		"and not all that are known":            {30, []string{"a"}, append(failed(2), began)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.fill(test.known)
				r.fail(page)
				for _, key := range test.asked {
					r.want(r.get(key, "s"), answer{"unavailable for 1s: 429", 0})
					time.Sleep(time.Second)
				}
				r.wantEvents(test.want...)
			})
		})
	}
}

func TestUnknownKeysAloneDontFailAStoreThatHasRecords(t *testing.T) {
	bubble(t, func(r *rig) {
		r.fill(1)
		for i := range 100 {
			r.spoil(poison(i), page)
			r.want(r.get(poison(i), "s"), answer{"unavailable for 1s: 429", 0})
			time.Sleep(100 * time.Millisecond)
		}
		r.wantEvents()
		var controls int
		for _, l := range r.looked() {
			if l.Key == "0" {
				controls++
			}
		}
		if controls != 10 {
			t.Errorf("%d controls in 10 s, want one a second", controls)
		}
	})
}

func TestOddRecordConcernsItsOwnerAlone(t *testing.T) {
	for _, others := range []int{0, 1, 20} {
		t.Run(fmt.Sprint(others, " others"), func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.fill(others)
				r.load("odd", "s")
				r.spoil("odd", page)
				time.Sleep(100 * time.Second)
				r.looked()
				for i := range 50 {
					k := fmt.Sprint("client", i)
					r.put(k, "s")
					r.want(r.get("odd", "s"), answer{"s resurrected", 0})
					r.want(r.get(k, "s"), answer{"s loaded", 0})
					time.Sleep(100 * time.Millisecond)
				}
				var odd int
				for _, l := range r.looked() {
					if l.Key == "odd" {
						odd++
					}
				}
				if odd > 5 {
					t.Errorf("%d lookups of the odd record in 5 s, want at most one a second", odd)
				}
				r.spoil("odd", nil)
				r.put("odd", "new")
				time.Sleep(time.Second)
				r.want(r.get("odd", "new"), answer{"new loaded", 0})
			})
		})
	}
}

func TestOnlyRecordThatIsDeniedEndsEarly(t *testing.T) {
	bubble(t, func(r *rig) {
		r.p.ResurrectDeniedTTL = 300 * time.Second
		r.load("k", "s")
		r.spoil("k", failure{aboutKey: true, denied: true})
		time.Sleep(399 * time.Second)
		for range 10 {
			r.want(r.get("k", "s"), answer{"s resurrected", 0})
			time.Sleep(100 * time.Millisecond)
		}
		for range 100 {
			if got := r.get("k", "s").Got; !strings.HasPrefix(got, "unavailable") {
				t.Fatalf("past resurrect_denied_ttl: %s", got)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}

func TestAnswerAboutAKeyIsRememberedForASecond(t *testing.T) {
	bubble(t, func(r *rig) {
		r.spoil("poison", page)
		for range 100 {
			r.want(r.get("poison", "s"), answer{"unavailable for 1s: 429", 0})
			time.Sleep(50 * time.Millisecond)
		}
		r.wantLookups(5)
		r.spoil("poison", nil)
		time.Sleep(time.Second)
		r.want(r.get("poison", "s"), answer{"absent", 0})
	})
}

func TestNoStrangersLookupIsTheProbeWhileARecordIsAtHand(t *testing.T) {
	for name, err := range map[string]error{"down": errDown, "pages": page} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.fill(20)
				r.fail(err)
				r.get("stranger", "s")
				r.looked()
				for i := range 100 {
					r.get(fmt.Sprint("stranger", i), "s")
					time.Sleep(100 * time.Millisecond)
				}
				probes := r.looked()
				for _, l := range probes {
					if strings.HasPrefix(l.Key, "stranger") {
						t.Errorf("%s was looked up", l.Key)
					}
				}
				if len(probes) == 0 {
					t.Error("there were no probes")
				}
			})
		})
	}
}

func TestStrangerWhoHadARecordProbedIsAnsweredOnceTheStoreAnswers(t *testing.T) {
	bubble(t, func(r *rig) {
		r.fill(1)
		r.outage(errDown)
		r.fail(nil)
		r.put("stranger", "s")
		r.take(10 * time.Millisecond)
		time.Sleep(time.Second)
		r.want(r.get("stranger", "s"), answer{"s loaded", 20 * time.Millisecond})
		r.wantEvents("began: connection refused", "ended after 1.01s")
		r.wantLookups(2)
	})
}

func TestOddRecordIsNoProbe(t *testing.T) {
	bubble(t, func(r *rig) {
		r.fill(2)
		time.Sleep(100 * time.Second)
		r.outage(errDown)
		r.fail(nil)
		r.spoil("0", page)
		for range 20 { // its owner always comes first
			r.get("0", "s")
			time.Sleep(time.Second)
		}
		r.put("stranger", "s")
		r.want(r.get("stranger", "s"), answer{"s loaded", 0})
	})
}

// Where nothing is known, the next stranger can be the first to be found.
func TestStoreThatOnlyFailsStrangersIsAskedByEach(t *testing.T) {
	bubble(t, func(r *rig) {
		r.put("client", "s")
		r.spoil("a", page)
		r.spoil("b", page)
		r.get("a", "s")
		time.Sleep(time.Second)
		r.get("b", "s")
		r.wantEvents("began: 429")
		if !r.Stats().Failing {
			t.Error("the store isn't said to be failing")
		}
		r.want(r.get("client", "s"), answer{"s loaded", 0})
		r.wantEvents("ended after 0s")
	})
	t.Run("until it can't be reached", func(t *testing.T) {
		bubble(t, func(r *rig) {
			r.fail(page)
			r.get("a", "s")
			time.Sleep(time.Second)
			r.get("b", "s")
			r.fail(errDown)
			r.get("c", "s")
			r.looked()
			r.want(r.get("d", "s"), answer{"unavailable for 1s: connection refused", 0})
			r.wantLookups(0)
		})
	})
}

func TestWhatAlreadyWaitsIsNotRefusedForAnswersToOthers(t *testing.T) {
	bubble(t, func(r *rig) {
		r.p.LookupsPerSecond = 2
		r.take(10 * time.Millisecond)
		r.put("client", "s")
		var all sync.WaitGroup
		for _, poison := range []string{"a", "b"} {
			r.spoil(poison, page)
			all.Go(func() { r.get(poison, "s") })
		}
		synctest.Wait()
		all.Go(func() { r.want(r.get("client", "s"), answer{"s loaded", 510 * time.Millisecond}) })
		all.Wait()
	})
}
