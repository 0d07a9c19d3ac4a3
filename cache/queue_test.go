package cache

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/clock"
)

// at is a moment of a queue's life.
func at(d time.Duration) clock.Instant { return clock.Instant{Mono: d} }

// enqueued is a ticket that has joined q at the given time.
func enqueued(q *queue, key string, p priority, source string, rate int, d time.Duration) *ticket {
	t := &ticket{key: key, priority: p}
	q.add(t, source, rate, at(d))
	return t
}

// drain is the keys of all that may begin now, in order, and when the next may.
func drain(q *queue, d time.Duration) (keys string, next time.Duration) {
	var all []string
	for {
		t, wait := q.next(at(d))
		if t == nil {
			return strings.Join(all, " "), wait
		}
		all = append(all, t.key)
	}
}

func TestQueueServesByPriorityThenPenaltyThenTurn(t *testing.T) {
	type wish struct {
		key      string
		priority priority
		source   string
	}
	for _, test := range []struct {
		about  string
		scores map[string]float64
		wishes []wish
		want   string
	}{
		{"by priority", nil, []wish{
			{"a", priorityNeverSeen, ""}, {"b", priorityReread, ""}, {"c", priorityExpired, ""}, {"d", priorityRefresh, ""},
		}, "d c b a"},
		{"the oldest of a source", nil, []wish{
			{"a", priorityNeverSeen, "x"}, {"b", priorityNeverSeen, "x"}, {"c", priorityNeverSeen, "x"},
		}, "a b c"},
		{"sources in turn", nil, []wish{
			{"x1", priorityNeverSeen, "x"}, {"x2", priorityNeverSeen, "x"}, {"y1", priorityNeverSeen, "y"}, {"y2", priorityNeverSeen, "y"},
		}, "x1 y1 x2 y2"},
		{"the lowest penalty", map[string]float64{"x": -2, "y": -1}, []wish{
			{"x1", priorityNeverSeen, "x"}, {"y1", priorityNeverSeen, "y"}, {"y2", priorityNeverSeen, "y"}, {"z1", priorityNeverSeen, "z"},
		}, "z1 y1 y2 x1"},
		{"nobody for a score above 0", map[string]float64{"y": 5}, []wish{
			{"x1", priorityNeverSeen, "x"}, {"y1", priorityNeverSeen, "y"},
		}, "x1 y1"},
		{"priority before penalty", map[string]float64{"x": -2}, []wish{
			{"y1", priorityNeverSeen, "y"}, {"x1", priorityReread, "x"},
		}, "x1 y1"},
	} {
		t.Run(test.about, func(t *testing.T) {
			var q queue
			for name, score := range test.scores {
				q.sources.get(name, at(0), 100).addScore(score)
			}
			for _, w := range test.wishes {
				enqueued(&q, w.key, w.priority, w.source, 100, 0)
			}
			var got []string
			for d := time.Nanosecond; ; d++ { // so that turns can be told apart
				next, _ := q.next(at(d))
				if next == nil {
					break
				}
				got = append(got, next.key)
			}
			if got := strings.Join(got, " "); got != test.want {
				t.Errorf("served %s, want %s", got, test.want)
			}
		})
	}
}

func TestQueueSaysWhenTheNextLookupMayBegin(t *testing.T) {
	for _, test := range []struct {
		about string
		wish  func(q *queue)
		keys  string
		next  time.Duration
	}{
		{"nothing waits", func(*queue) {}, "", 0},
		{"no permit is left", func(q *queue) {
			for _, key := range []string{"a", "b", "c"} {
				enqueued(q, key, priorityExpired, "", 2, 0)
			}
		}, "a b", 500 * time.Millisecond},
		{"a source's share is used up", func(q *queue) {
			enqueued(q, "a", priorityNeverSeen, "x", 20, 0)
			enqueued(q, "b", priorityNeverSeen, "x", 20, 0)
			enqueued(q, "c", priorityNeverSeen, "x", 20, 0)
			enqueued(q, "d", priorityNeverSeen, "y", 20, 0)
		}, "a b d", 500 * time.Millisecond},
		{"not before its time", func(q *queue) {
			enqueued(q, "a", priorityReread, "", 20, 0).notBefore = 700 * time.Millisecond
			enqueued(q, "b", priorityReread, "", 20, 0)
		}, "b", 700 * time.Millisecond},
	} {
		t.Run(test.about, func(t *testing.T) {
			var q queue
			test.wish(&q)
			keys, next := drain(&q, 0)
			if keys != test.keys || next != test.next {
				t.Errorf("got %q and then %s, want %q and %s", keys, next, test.keys, test.next)
			}
			if next > 0 {
				if keys, _ := drain(&q, next-1); keys != "" {
					t.Errorf("%s began early", keys)
				}
				if keys, _ := drain(&q, next); keys == "" {
					t.Error("nothing began then")
				}
			}
		})
	}
}

func TestQueueKeepsSomeLookupsRunningAndNoMore(t *testing.T) {
	var q queue
	var all []*ticket
	for range maxRunning + 2 {
		all = append(all, enqueued(&q, "k", priorityExpired, "", 1000, 0))
	}
	drain(&q, 0)
	if q.running != maxRunning || q.len() != 2 {
		t.Errorf("%d run and %d wait, want %d and 2", q.running, q.len(), maxRunning)
	}
	q.ended(all[0], nil)
	if keys, _ := drain(&q, 0); keys != "k" || q.len() != 1 {
		t.Errorf("%q began and %d wait, want one of each", keys, q.len())
	}
}

func TestOnlyMissesUsePermitsUp(t *testing.T) {
	var failed = errors.New("connection refused")
	for _, test := range []struct {
		priority priority
		err      error
		accepted bool
		returned bool
		score    float64
	}{
		{priorityRefresh, nil, true, true, 1},
		{priorityRefresh, ErrAbsent, false, true, 0},
		{priorityExpired, nil, true, true, 1},
		{priorityExpired, ErrAbsent, false, true, 0},
		{priorityExpired, failed, false, false, 0},
		{priorityReread, nil, false, false, -1},
		{priorityReread, nil, true, true, 1},
		{priorityReread, ErrAbsent, false, false, -1},
		{priorityReread, page, false, false, -1},
		{priorityNeverSeen, nil, true, true, 1},
		{priorityNeverSeen, ErrAbsent, false, false, -1},
		{priorityNeverSeen, page, false, false, -1},
		{priorityNeverSeen, failed, false, false, 0},
	} {
		var q queue
		ticket := enqueued(&q, "k", test.priority, "x", 10, 0)
		drain(&q, 0)
		q.ended(ticket, test.err)
		if test.accepted {
			q.accepted(ticket)
			q.accepted(ticket) // by another claim: no more than once
		}
		if returned := q.permits.count == 10; returned != test.returned || ticket.source.score != test.score {
			t.Errorf("%+v: returned %t, score %v", test, returned, ticket.source.score)
		}
	}
}

func TestQueueRefusesWhatWouldOverflow(t *testing.T) {
	type group struct {
		source   string
		n        int
		priority priority
		score    float64
	}
	for _, test := range []struct {
		about  string
		groups []group
		want   string // the source that gives way; empty: none
	}{
		{"as long as there is room, nobody", []group{{"x", maxWaiting, priorityNeverSeen, 0}}, ""},
		{"who has the most", []group{{"x", 600, priorityNeverSeen, 0}, {"y", 401, priorityNeverSeen, 0}}, "x"},
		{"a penalty counts as much", []group{{"x", 505, priorityNeverSeen, 0}, {"y", 496, priorityNeverSeen, -10}}, "y"},
		{"the last priority first", []group{{"x", 600, priorityReread, 0}, {"y", 401, priorityNeverSeen, 0}}, "y"},
		{"none with a score above 0 and no more than its share", []group{
			{"x", 100, priorityNeverSeen, 1}, {"y", 50, priorityNeverSeen, 0}, {"z", 851, priorityExpired, 0},
		}, "y"},
		{"but with more", []group{
			{"x", 101, priorityNeverSeen, 1}, {"y", 50, priorityNeverSeen, 0}, {"z", 850, priorityExpired, 0},
		}, "x"},
	} {
		t.Run(test.about, func(t *testing.T) {
			var q queue
			var all []*ticket
			for _, g := range test.groups {
				for range g.n {
					all = append(all, enqueued(&q, g.source, g.priority, g.source, 100, 0))
				}
				q.sources.byName[g.source].addScore(g.score)
			}
			out := q.overflow()
			if out == nil {
				out = &ticket{}
			}
			if out.key != test.want {
				t.Fatalf("%q gives way, want %q", out.key, test.want)
			}
			if test.want == "" {
				return
			}
			if first := all[slices.IndexFunc(all, func(t *ticket) bool { return t.key == out.key })]; first != out {
				t.Error("it isn't the oldest of its source")
			}
			before := out.source.score
			if err := q.refuse(out); err.Error() != "too many lookups, retry in 11s" {
				t.Errorf("refused with %v", err)
			}
			if q.len() != maxWaiting || out.source.score != before-1 {
				t.Errorf("%d wait, and the score went from %v to %v", q.len(), before, out.source.score)
			}
		})
	}
}

func TestTicketIsPromotedByAMoreUrgentWish(t *testing.T) {
	type state struct {
		Priority  priority
		NotBefore time.Duration
		Source    string
	}
	unchanged := state{priorityReread, time.Second, "x"}
	for _, test := range []struct {
		about    string
		score    float64 // of x, whose ticket it is
		priority priority
		source   string
		want     state
	}{
		{"a higher priority", 0, priorityRefresh, "", state{priorityRefresh, 0, ""}},
		{"the same of the same source", 0, priorityReread, "x", unchanged},
		{"the same of a source with a lower penalty", -1, priorityReread, "y", state{priorityReread, time.Second, "y"}},
		{"the same of a source with the same", 0, priorityReread, "y", unchanged},
		{"a lower priority", -1, priorityNeverSeen, "y", unchanged},
	} {
		t.Run(test.about, func(t *testing.T) {
			var q queue
			waits := enqueued(&q, "k", priorityReread, "x", 10, 0)
			waits.notBefore = time.Second
			waits.source.addScore(test.score)
			if got := q.promote(waits, test.priority, test.source, at(0)); got != (test.want != unchanged) {
				t.Errorf("promoted: %t", got)
			}
			got := state{Priority: waits.priority, NotBefore: waits.notBefore}
			for name, s := range q.sources.byName {
				switch {
				case s == waits.source && s.waiting == 1:
					got.Source = name
				case s.waiting != 0:
					t.Errorf("%d tickets of %q wait", s.waiting, name)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestScoreIsBoundedAndDecays(t *testing.T) {
	for _, test := range []struct {
		source string
		adds   float64
		after  time.Duration
		want   float64
	}{
		{"x", -100, 0, -maxScore},
		{"x", 100, 0, maxScore},
		{"x", -3, 2 * time.Second, -2},
		{"x", 3, 2 * time.Second, 2},
		{"x", -3, time.Minute, 0},
		{"x", 3, time.Minute, 0},
		{"", -3, 0, 0},
	} {
		s := (&sources{}).get(test.source, at(0), 100)
		s.addScore(test.adds)
		s.update(at(test.after), 100)
		if s.score != test.want {
			t.Errorf("%+v: a score of %v", test, s.score)
		}
	}
}

func TestAdmittedTicketNeedsNoPermitAndTakesOne(t *testing.T) {
	var q queue
	enqueued(&q, "a", priorityExpired, "", 1, 0)
	drain(&q, 0)
	probe := &ticket{key: "probe"}
	q.admit(probe, 1, at(0))
	enqueued(&q, "b", priorityExpired, "", 1, 0)
	if q.running != 2 {
		t.Errorf("%d run, want two", q.running)
	}
	if keys, next := drain(&q, 0); keys != "" || next != 2*time.Second {
		t.Errorf("%q began, the next in %s; want none for two seconds", keys, next)
	}
	q.ended(probe, nil)
	if _, next := drain(&q, 0); next != time.Second {
		t.Errorf("the next may begin in %s, want a second", next)
	}
}
