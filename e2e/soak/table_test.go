package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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

func TestFloodReportsItsPoisonedNames(t *testing.T) {
	r := row{}
	r.paced([]sent{
		{claim: claim{kind: known}, status: 200},
		{claim: claim{kind: unknown}, status: 401},
		{claim: claim{kind: malformed}, status: 401},
		{claim: claim{kind: blocked}, status: 503},
		{claim: claim{kind: blocked}, status: 429},
		{claim: claim{kind: blocked}, status: 503},
	}, time.Second)
	want := []string{
		"1 requests of known pairs and 5 guesses a second",
		"1 × access token no store can hold, answered map[401:1]",
		"3 × access token a firewall blocks, answered map[429:1 503:2]",
	}
	if diff := cmp.Diff(want, r.notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}
