package clock

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestSinceIsTheLargerOfTheTwoAnswers(t *testing.T) {
	then := Instant{Mono: time.Minute, Wall: int64(time.Hour)}
	for name, tt := range map[string]struct{ mono, wall, want time.Duration }{
		"they agree":             {time.Second, time.Second, time.Second},
		"the machine slept":      {time.Second, time.Minute, time.Minute},
		"the wall clock is back": {time.Second, -time.Minute, time.Second},
	} {
		now := Instant{Mono: then.Mono + tt.mono, Wall: then.Wall + int64(tt.wall)}
		if got := now.Since(then); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestSystemReadsBothClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := System()
		then := now()
		time.Sleep(time.Second)
		want := Instant{Mono: time.Second, Wall: then.Wall + int64(time.Second)}
		if got := now(); then.Mono != 0 || got != want {
			t.Errorf("%+v, then %+v", then, got)
		}
	})
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for _, d := range []time.Duration{time.Second, 0} {
			began := time.Now()
			if all := Sleep(ctx, d); !all || time.Since(began) != d {
				t.Errorf("%s: %v after %s", d, all, time.Since(began))
			}
		}
		if Sleep(ctx, time.Hour) || ctx.Err() == nil {
			t.Error("it slept on")
		}
	})
}
