package vaultauth

import "time"

// instant is a moment on both clocks, as in package cache: the monotonic one
// stands still while a machine is suspended, and the wall clock can be set back.
type instant struct {
	mono time.Duration // since the process began
	wall int64         // Unix nanoseconds
}

func systemClock() func() instant {
	epoch := time.Now()
	return func() instant {
		t := time.Now()
		return instant{t.Sub(epoch), t.UnixNano()}
	}
}

// since is the larger of the two clocks' answers, so that a mistake of either
// ends what is believed early rather than late.
func (now instant) since(then instant) time.Duration {
	return max(now.mono-then.mono, time.Duration(now.wall-then.wall))
}
