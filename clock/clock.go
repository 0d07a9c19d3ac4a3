// Package clock measures time on two clocks, for data that must not be trusted too long, and
// waits.
package clock

import (
	"context"
	"time"
)

// Instant is a moment on both clocks. The monotonic one stops while a machine is
// suspended, and the wall clock can be set back; neither alone is a safe measure of
// how long something may be trusted.
type Instant struct {
	Mono time.Duration // since System was called
	Wall int64         // Unix nanoseconds
}

// System returns a function that reads both of the system's clocks at once.
func System() func() Instant {
	epoch := time.Now()
	return func() Instant {
		t := time.Now()
		return Instant{Mono: t.Sub(epoch), Wall: t.UnixNano()}
	}
}

// Since is the time from then to now: the larger of the two clocks' answers, so that an
// error of either ends trust early rather than late.
func (now Instant) Since(then Instant) time.Duration {
	return max(now.Mono-then.Mono, time.Duration(now.Wall-then.Wall))
}

// Sleep waits for d, or until ctx ends. It reports whether it has waited for all of d.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
