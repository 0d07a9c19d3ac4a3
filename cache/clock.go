package cache

import "time"

// instant is a moment on both clocks. The monotonic one stops while a machine is
// suspended, and the wall clock can be set back; neither alone is a safe measure of
// how long a credential may live.
type instant struct {
	mono time.Duration // since the cache was made
	wall int64         // Unix nanoseconds
}

// systemClock reads both clocks in one call.
func systemClock() func() instant {
	epoch := time.Now()
	return func() instant {
		t := time.Now()
		return instant{mono: t.Sub(epoch), wall: t.UnixNano()}
	}
}

// since is how long ago then was: the larger of what the two clocks say, so
// that a mistake of either ends credentials early rather than late.
func (now instant) since(then instant) time.Duration {
	return max(now.mono-then.mono, time.Duration(now.wall-then.wall))
}
