package secretstore

import (
	"testing"
	"time"
)

func TestOnlyAnotherReadOfTheLastMinuteVouchesForALogin(t *testing.T) {
	start := time.Now()
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	for name, tc := range map[string]struct {
		do   func(*RecentReads)
		now  int
		want bool
	}{
		"none":            {func(*RecentReads) {}, 0, false},
		"itself":          {func(r *RecentReads) { r.Note("a", at(0)); r.Note("a", at(1)) }, 2, false},
		"another":         {func(r *RecentReads) { r.Note("b", at(0)) }, 60, true},
		"another, before": {func(r *RecentReads) { r.Note("b", at(0)); r.Note("a", at(1)); r.Note("a", at(2)) }, 3, true},
		"too long ago":    {func(r *RecentReads) { r.Note("b", at(0)) }, 61, false},
		"forgotten":       {func(r *RecentReads) { r.Note("b", at(0)); r.Note("a", at(1)); r.Forget("b") }, 2, false},
		"another one is":  {func(r *RecentReads) { r.Note("c", at(0)); r.Note("b", at(1)); r.Forget("b") }, 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			var r RecentReads
			tc.do(&r)
			if other, got := r.another("a", at(tc.now)); got != tc.want || other == "a" {
				t.Errorf("got %q, %v", other, got)
			}
		})
	}
}
