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

// failure is a store that could not say.
type failure struct {
	retryAfter time.Duration
	denied     bool
	aboutKey   bool
}

func (failure) Error() string               { return "429" }
func (f failure) RetryAfter() time.Duration { return f.retryAfter }
func (f failure) Denied() bool              { return f.denied }
func (f failure) AboutKey() bool            { return f.aboutKey }

// page is a failure that concerns one key.
var page = failure{aboutKey: true}

func TestStaleRecordIsAnsweredAtOnceWhileTheStoreFails(t *testing.T) {
	bubble(t, func(r *rig) {
		r.load("k", "s")
		time.Sleep(100 * time.Second)
		r.take(2 * time.Second)
		r.outage(errDown)
		for range 100 {
			r.want(r.get("k", "s"), answer{"s resurrected", 0})
			time.Sleep(100 * time.Millisecond)
		}
	})
}

func TestResurrectionEnds(t *testing.T) {
	tests := map[string]struct {
		err    error
		denied time.Duration // resurrect_denied_ttl
		last   time.Duration // the age at which the record is no longer answered with
	}{
		"resurrect_ttl past its ttl":             {errDown, 300 * time.Second, 1100 * time.Second},
		"earlier if everything is denied":        {fmt.Errorf("403: %w", failure{denied: true}), 300 * time.Second, 400 * time.Second},
		"never later because of that":            {failure{denied: true}, time.Hour, 1100 * time.Second},
		"another failure that could be a denial": {failure{}, 300 * time.Second, 1100 * time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.p.ResurrectDeniedTTL = test.denied
				r.load("k", "s")
				time.Sleep(test.last - time.Millisecond)
				r.outage(test.err)
				r.want(r.get("k", "s"), answer{"s resurrected", 0})
				time.Sleep(time.Millisecond)
				got := r.get("k", "s").Got
				if _, err := r.Get(r.t.Context(), "k", "k", r.p, claimOf("s")); err == nil {
					t.Errorf("got %q, want it to be unavailable", got)
				}
			})
		})
	}
}

func TestFailureWhileWaitingFallsBackOnTheStaleRecord(t *testing.T) {
	for _, test := range []struct {
		err    error
		denied time.Duration // resurrect_denied_ttl
		want   string
	}{
		{errDown, time.Minute, "s resurrected"},
		{failure{denied: true}, time.Minute, "unavailable for 1s: 429"}, // it is too old for that
		{failure{denied: true}, 3 * time.Minute, "s resurrected"},
	} {
		bubble(t, func(r *rig) {
			r.p.ResurrectDeniedTTL = test.denied
			r.load("k", "s")
			time.Sleep(200 * time.Second)
			r.take(100 * time.Millisecond)
			r.fail(test.err)
			r.want(r.get("k", "s"), answer{test.want, 100 * time.Millisecond})
		})
	}
}

func TestFailingStoreIsProbedOncePerGrowingPause(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	tests := map[string]struct {
		err  error
		want []time.Duration // between probes
	}{
		"the backoff":                 {errDown, []time.Duration{250 * ms, 500 * ms, 1 * s, 2 * s, 4 * s, 5 * s, 5 * s}},
		"as the store asks":           {failure{retryAfter: 20 * s}, []time.Duration{20 * s, 20 * s}},
		"but not for ever":            {failure{retryAfter: time.Hour}, []time.Duration{60 * s}},
		"and no shorter than our own": {failure{retryAfter: 1 * s}, []time.Duration{1 * s, 1 * s, 1 * s, 2 * s}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.p.LookupsPerSecond = 1 // probes need no permit
				r.fill(10)
				time.Sleep(100 * time.Second)
				r.fail(test.err)
				var began []time.Duration
				for i := range 10_000 { // ten records and a guess, all the time
					r.get(fmt.Sprint(i%11), "s")
					for _, l := range r.looked() {
						began = append(began, l.At)
					}
					if len(began) > len(test.want) {
						break
					}
					time.Sleep(10 * ms)
				}
				var got []time.Duration
				for i := range len(began) - 1 {
					got = append(got, (began[i+1] - began[i]).Round(50*ms))
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestProbeRunsInTheBackgroundAndEndsTheOutage(t *testing.T) {
	bubble(t, func(r *rig) {
		r.load("k", "old")
		time.Sleep(100 * time.Second)
		r.outage(errDown)
		r.fail(nil)
		r.put("k", "new")
		r.take(time.Second)
		time.Sleep(250 * time.Millisecond)
		r.want(r.get("k", "old"), answer{"old resurrected", 0})
		r.want(r.get("never seen", "s"), answer{"unavailable for 1s: connection refused", 0}) // one probe at a time
		time.Sleep(time.Second)
		synctest.Wait()
		r.want(r.get("k", "new"), answer{"new fresh", 0})
		r.wantLookups(1)
	})
}

func TestUnavailableSaysWhenToRetry(t *testing.T) {
	bubble(t, func(r *rig) {
		r.fail(failure{retryAfter: 10 * time.Second})
		r.want(r.get("k", "s"), answer{"unavailable for 10s: 429", 0})
		time.Sleep(3 * time.Second)
		r.want(r.get("k", "s"), answer{"unavailable for 7s: 429", 0})
		r.wantLookups(1)
	})
}

func TestLaterFailureCanAskForALongerPause(t *testing.T) {
	bubble(t, func(r *rig) {
		for i, err := range []error{errDown, failure{retryAfter: 30 * time.Second}} {
			r.fail(err)
			r.take(time.Duration(i+1) * 100 * time.Millisecond)
			go r.get(fmt.Sprint(i), "s")
			synctest.Wait()
		}
		time.Sleep(time.Second)
		r.want(r.get("k", "s"), answer{"unavailable for 29.2s: 429", 0})
	})
}

func TestOutageIsReportedOnce(t *testing.T) {
	bubble(t, func(r *rig) {
		var last, held time.Time
		report := r.observer.OutageBegan
		r.observer.OutageBegan = func(err error, lastAnswer, heldUntil time.Time) {
			report(err, lastAnswer, heldUntil)
			last, held = lastAnswer, heldUntil
		}
		start := time.Now()
		r.load("k", "s")
		time.Sleep(100 * time.Second)
		r.take(time.Millisecond)
		r.fail(errDown)
		r.all(50, func(i int) answer { return r.get(fmt.Sprint(i), "s") })
		for range 600 {
			r.get("k", "s")
			time.Sleep(100 * time.Millisecond)
		}
		r.wantEvents("began: connection refused")
		if want := start.Add(r.p.TTL + r.p.ResurrectTTL); !last.Equal(start) || !held.Equal(want) {
			t.Errorf("last answer %v, held until %v; want %v, %v", last, held, start, want)
		}
		r.fail(nil)
		time.Sleep(5 * time.Second)
		r.get("k", "s")
		time.Sleep(time.Millisecond)
		r.wantEvents("ended after 1m5.001s")
	})
}

func TestHowLongAnswersHoldIsReported(t *testing.T) {
	tests := map[string]struct {
		prepare func(*rig)
		want    time.Duration // from now
	}{
		"what is fresh, past its ttl": {func(r *rig) { r.put("k", "s"); r.get("k", "s") }, 1000 * time.Second},
		"what was read last, if that is long ago": {func(r *rig) {
			r.load("k", "s")
			time.Sleep(200 * time.Second)
		}, 900 * time.Second},
		"what an earlier process read last": {func(r *rig) {
			for _, age := range []time.Duration{700, 600, 650} {
				r.Restore(Item[string]{Key: fmt.Sprint(age), Name: "k", ReadAt: time.Now().Add(-age * time.Second)}, r.p)
			}
		}, 500 * time.Second},
		"nothing at all": {func(*rig) {}, 1000 * time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				var held time.Time
				r.observer.OutageBegan = func(_ error, _, heldUntil time.Time) { held = heldUntil }
				test.prepare(r)
				r.outage(errDown)
				if want := time.Now().Add(test.want); !held.Equal(want) {
					t.Errorf("for %s, want %s", time.Until(held), test.want)
				}
			})
		})
	}
}

func TestWhatConcernsOneKeyOpensNoPause(t *testing.T) {
	tests := map[string]func(r *rig){
		"a negative answer": func(r *rig) { r.fail(reason("disabled")) },
		"a panic":           func(r *rig) { r.set(func() { r.hook = func(context.Context) { panic("bug") } }) },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.put("other", "s")
				spoil(r)
				r.get("k", "s")
				r.set(func() { r.fails, r.hook = nil, nil })
				r.want(r.get("other", "s"), answer{"s loaded", 0})
			})
		})
	}
}

func TestPanicOfAProbeLeavesTheOutageAsItIs(t *testing.T) {
	bubble(t, func(r *rig) {
		r.outage(errDown)
		r.set(func() { r.hook = func(context.Context) { panic("bug") } })
		time.Sleep(time.Second)
		r.get("k", "s")
		r.want(r.get("k", "s"), answer{"unavailable for 1s: connection refused", 0})
		r.set(func() { r.fails, r.hook = nil, nil })
		time.Sleep(250 * time.Millisecond)
		r.want(r.get("k", "s"), answer{"absent", 0})
		r.wantEvents("began: connection refused", "lookup panicked with a string", "ended after 1.25s")
	})
}

func TestBeginningOutageAnswersGetsThatWaitForAPermit(t *testing.T) {
	bubble(t, func(r *rig) {
		r.p.LookupsPerSecond = 1
		r.take(100 * time.Millisecond)
		r.fail(errDown)
		for _, a := range r.all(100, func(i int) answer { return r.get(fmt.Sprint(i), "s") }) {
			r.want(a, answer{"unavailable for 1s: connection refused", 100 * time.Millisecond})
		}
		r.wantLookups(1)
	})
}

func TestLookupThatHungThroughAnOutageOpensNoOther(t *testing.T) {
	tests := map[string]struct {
		err  error
		want []string
	}{
		"no answer in time":          {context.DeadlineExceeded, nil},
		"unless it asks for a pause": {failure{retryAfter: time.Second}, []string{"began: 429"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.put("k", "s")
				r.take(2*time.Second - 1)
				r.fail(test.err)
				var hung sync.WaitGroup
				hung.Go(func() { r.get("hung", "s") })
				synctest.Wait()
				time.Sleep(time.Second)
				r.take(0)
				r.fail(nil)
				r.want(r.get("k", "s"), answer{"s loaded", 0})
				hung.Wait()
				r.wantEvents(test.want...)
			})
		})
	}
}

func TestFreshRecordsDontNoticeAnOutage(t *testing.T) {
	bubble(t, func(r *rig) {
		r.load("k", "s")
		r.outage(errDown)
		time.Sleep(90 * time.Second) // past the refresh point
		for range 10 {
			r.want(r.get("k", "s"), answer{"s fresh", 0})
		}
		r.wantLookups(1) // the probe
	})
}
