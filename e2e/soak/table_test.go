package main

import (
	"testing"
	"time"
)

func TestFloodBeyondALimitFailsTheSoak(t *testing.T) {
	const budget, lasted = 2, 9 * time.Second // and what was saved up: 20 lookups
	nothing := request{lookup: true, absent: true}
	other := []request{{lookup: true, found: true}, {listing: true, absent: true}, {lookup: true}}
	lookups := func(n int) (all []request) {
		for range n {
			all = append(all, nothing)
		}
		return append(all, other...)
	}
	for name, tt := range map[string]struct {
		lookups, third, end int
		want                bool
	}{
		"within both":      {20, 30, 30 + growth, false},
		"too many lookups": {21, 30, 30, true},
		"too much memory":  {20, 30, 30 + growth + 1, true},
	} {
		r := row{memory: [2]int{10, tt.end}}
		r.bounded(budget, lookups(tt.lookups), lasted)
		r.flat(tt.third)
		if got := (&table{rows: []row{{}, r}}).unbounded(); got != tt.want || got != (len(r.wrong) > 0) {
			t.Errorf("%s: %t, %q", name, got, r.wrong)
		}
	}
}
