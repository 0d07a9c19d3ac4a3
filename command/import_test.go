package command

import (
	"testing"
	"testing/synctest"
	"time"
)

// Within any ten seconds there are at most ten times the rate, and over time not many
// fewer.
func TestTurnsKeepToWhatTheStoreCounts(t *testing.T) {
	for _, perSecond := range []float64{30, 2, 1} {
		synctest.Test(t, func(t *testing.T) {
			const window = 10 * time.Second
			turn := turns(perSecond)
			var at []time.Time
			for began := time.Now(); time.Since(began) < 10*window; {
				if err := turn(t.Context()); err != nil {
					t.Fatal(err)
				}
				at = append(at, time.Now())
			}
			limit := int(perSecond * window.Seconds())
			for i := range at {
				if i+limit < len(at) && at[i+limit].Sub(at[i]) < window-time.Millisecond {
					t.Fatalf("%v a second: %d turns in %v", perSecond, limit+1, at[i+limit].Sub(at[i]))
				}
			}
			if len(at) < 9*limit {
				t.Errorf("%v a second: only %d turns in %v", perSecond, len(at), 10*window)
			}
		})
	}
}

func TestProgress(t *testing.T) {
	for want, tt := range map[string]struct {
		done, failed int
		read, size   int64
		elapsed      time.Duration
	}{
		"0 done, 0 failed":                             {},
		"1 done, 0 failed, 1m39s left":                 {done: 1, read: 10, size: 1000, elapsed: 999 * time.Millisecond},
		"290 done, 10 failed, 30 a second, 1m40s left": {290, 10, 1000, 11_000, 10 * time.Second},
		"300 done, 0 failed, 30 a second":              {300, 0, 1000, 1000, 10 * time.Second},
		"600 done, 0 failed, 60 a second":              {600, 0, 1000, 0, 10 * time.Second},
	} {
		if got := progress(tt.done, tt.failed, tt.read, tt.size, tt.elapsed); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
