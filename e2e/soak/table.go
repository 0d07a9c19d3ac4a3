package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// row is the result of a phase.
type row struct {
	name              string
	requests          int
	accepted, refused int           // wrongly
	late              int           // over lookupLimit, or over staleLimit if too many were
	p50, p99, slowest time.Duration // p50 and p99 of known pairs
	lookups           int           // that reached the store, or the proxy that injects its faults
	over              int           // lookups that found nothing beyond the limit for those
	grew              int           // the plugin server's memory in a flood, beyond growth, in MiB
	memory            [2]int        // of the plugin server at start and end, in MiB
	wrong, notes      []string      // lines about wrong answers, and others
}

// add takes in the answers of a phase.
func (r *row) add(answers []sent, t timeline) {
	r.requests = len(answers)
	slices.SortFunc(answers, func(a, b sent) int { return a.ended.Compare(b.ended) })
	r.judge(answers, t)
	r.measure(answers, t)
}

// mistake is what wrong answers have in common.
type mistake struct {
	kind   kind
	what   string
	status int
}

// judge judges the answers. In a flood, refused requests may be late: they share client
// addresses, and so the permits for lookups, with the guesses.
func (r *row) judge(answers []sent, t timeline) {
	j := newJudge(t)
	count, first := map[mistake]int{}, map[mistake]*sent{}
	for i := range answers {
		s := &answers[i]
		m := mistake{kind: s.kind, status: s.status}
		switch v := j.judge(s); {
		case v == accepted:
			r.accepted++
			m.what = "wrongly accepted"
		case v == refused:
			r.refused++
			m.what = "wrongly refused"
		case s.took() > lookupLimit && !(t.flooded && s.status != 200):
			r.late++
			m.what = "late"
		default:
			continue
		}
		if count[m]++; count[m] == 1 {
			first[m] = s
		}
	}
	for m, n := range count {
		s := first[m]
		r.wrong = append(r.wrong, fmt.Sprintf("%d × %s, %s: %d (the first was sent %s after the fault began, and answered after %s)", n, m.kind, m.what, m.status,
			s.began.Sub(t.fault.began).Round(time.Millisecond), s.took().Round(time.Millisecond)))
	}
	slices.Sort(r.wrong)
}

func (r *row) measure(answers []sent, t timeline) {
	var all, stale []time.Duration // of known pairs; while the store failed
	for i := range answers {
		s := &answers[i]
		r.slowest = max(r.slowest, s.took())
		if s.kind != known {
			continue
		}
		all = append(all, s.took())
		if t.failing(s) {
			stale = append(stale, s.took())
		}
	}
	r.p50, r.p99 = percentile(all, 50), percentile(all, 99)
	if percentile(stale, 95) > staleLimit {
		slow := len(slices.DeleteFunc(stale, func(d time.Duration) bool { return d <= staleLimit }))
		r.late += slow
		r.wrong = append(r.wrong, fmt.Sprintf("%d × %s, later than %s while the store failed", slow, known, staleLimit))
	}
}

// paced notes how many requests there were in a flood that lasted so long, and the answers to
// poisoned ones.
func (r *row) paced(answers []sent, lasted time.Duration) {
	count, poisoned := map[kind]float64{}, map[kind]map[int]int{malformed: {}, blocked: {}}
	for i := range answers {
		s := &answers[i]
		count[s.kind]++
		if byStatus, ok := poisoned[s.kind]; ok {
			byStatus[s.status]++
		}
	}
	r.notes = append(r.notes, fmt.Sprintf("%.0f requests of known pairs and %.0f guesses a second",
		count[known]/lasted.Seconds(), (count[unknown]+count[malformed]+count[blocked])/lasted.Seconds()))
	for _, k := range []kind{malformed, blocked} {
		r.notes = append(r.notes, fmt.Sprintf("%.0f × %s, answered %v", count[k], k, poisoned[k]))
	}
}

// bounded counts the lookups in that time that found nothing. A second's worth may have been
// saved up.
func (r *row) bounded(budget int, requests []request, lasted time.Duration) {
	nothing := 0
	for _, q := range requests {
		if q.lookup && q.absent {
			nothing++
		}
	}
	most := int(float64(budget) * (lasted.Seconds() + 1))
	r.notes = append(r.notes, fmt.Sprintf("%d lookups found nothing; the limit is %d", nothing, most))
	if r.over = max(0, nothing-most); r.over > 0 {
		r.wrong = append(r.wrong, fmt.Sprintf("%d lookups too many", r.over))
	}
}

// growth is how much a flood may add to the plugin server's memory after its first third, in
// MiB: what is kept is bounded, but the garbage collector's pace depends on the machine.
const growth = 16

// flat compares the memory at the end with that after a third of the time.
func (r *row) flat(third int) {
	r.notes = append(r.notes, fmt.Sprintf("memory after a third of the time: %d MiB", third))
	if grown := r.memory[1] - third; grown > growth {
		r.grew = grown - growth
		r.wrong = append(r.wrong, fmt.Sprintf("memory has grown by %d MiB since a third of the time, more than %d", grown, growth))
	}
}

func percentile(d []time.Duration, n int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[len(d)*n/100]
}

// table is the result of all phases.
type table struct{ rows []row }

const format = "%-31s %8s %9s %8s %5s %8s %8s %8s %8s %9s"

func (*table) head() string {
	return fmt.Sprintf(format, "", "", "wrongly", "wrongly", "", "known", "known", "", "", "plugin's") + "\n" +
		fmt.Sprintf(format, "fault", "requests", "accepted", "refused", "late", "p50", "p99", "slowest", "lookups", "MiB")
}

// add returns the row's line, and those of its wrong answers.
func (t *table) add(r row) string {
	t.rows = append(t.rows, r)
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }
	line := fmt.Sprintf(format, r.name, fmt.Sprint(r.requests), fmt.Sprint(r.accepted), fmt.Sprint(r.refused), fmt.Sprint(r.late),
		ms(r.p50), ms(r.p99), ms(r.slowest), fmt.Sprint(r.lookups), fmt.Sprintf("%d → %d", r.memory[0], r.memory[1]))
	return strings.Join(slices.Concat([]string{line}, r.notes, r.wrong), "\n    ") + "\n"
}

// wrong is the number of wrong answers.
func (t *table) wrong() (n int) {
	for _, r := range t.rows {
		n += r.accepted + r.refused + r.late
	}
	return n
}

// unbounded reports whether a flood exceeded the limit of lookups or of memory.
func (t *table) unbounded() bool {
	return slices.ContainsFunc(t.rows, func(r row) bool { return r.over > 0 || r.grew > 0 })
}
