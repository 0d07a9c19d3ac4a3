package pluginserver

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
)

// Answered is how many requests have been answered in one way for one reason. Both words
// are the program's own: none is a client's or a store's, and their number is bounded.
type Answered struct {
	Answer string // what a PassAs says, AnswerOK, or the status that the client got
	Reason string // what the verdict was Because of; may be empty
	Count  uint64 // since the process began
}

// AnswerOK is the answer of a Pass.
const AnswerOK = "ok"

// The reasons of answers that the server gives by itself. Each is a 500.
const (
	ReasonConfig     = "config"     // the configuration can't be used
	ReasonPanic      = "panic"      // the handler panicked
	ReasonDeadline   = "deadline"   // the handler took too long
	ReasonUnexpected = "unexpected" // any other fault of the program
)

// ReasonOther stands for reasons beyond the number that is counted.
const ReasonOther = "other"

// maxUnforeseen bounds how many kinds of answer are counted that were not foreseen.
const maxUnforeseen = 64

// Answers counts a plugin's requests by answer and reason. It is safe for concurrent use,
// and takes no lock for answers that were foreseen. Nil counts nothing.
type Answers struct {
	ok       atomic.Uint64 // on its own: every request of a known client comes here
	foreseen map[Answered]*atomic.Uint64

	mu    sync.Mutex
	other map[Answered]uint64
}

// NewAnswers returns the counts of a plugin. The foreseen answers, and the server's own,
// are counted from the start, as 0, so that the first one is seen to be an increase.
func NewAnswers(foreseen ...Answered) *Answers {
	a := &Answers{foreseen: map[Answered]*atomic.Uint64{}, other: map[Answered]uint64{}}
	for _, reason := range []string{ReasonConfig, ReasonPanic, ReasonDeadline, ReasonUnexpected} {
		foreseen = append(foreseen, Answered{Answer: strconv.Itoa(faultStatus), Reason: reason})
	}
	for _, f := range foreseen {
		a.foreseen[Answered{Answer: f.Answer, Reason: f.Reason}] = new(atomic.Uint64)
	}
	return a
}

// count counts a verdict.
func (a *Answers) count(v Verdict) {
	if a == nil {
		return
	}
	of := Answered{Answer: v.answer, Reason: v.reason}
	if v.kind == verdictExit {
		of.Answer = strconv.Itoa(v.status)
	}
	if of == (Answered{Answer: AnswerOK}) {
		a.ok.Add(1)
		return
	}
	if n := a.foreseen[of]; n != nil {
		n.Add(1)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.other[of]; !known && len(a.other) >= maxUnforeseen {
		of.Reason = ReasonOther
	}
	a.other[of]++
}

// All returns what was counted so far, in the order of answers, then of reasons.
func (a *Answers) All() []Answered {
	a.mu.Lock()
	counts := maps.Clone(a.other)
	a.mu.Unlock()
	counts[Answered{Answer: AnswerOK}] = a.ok.Load()
	for of, n := range a.foreseen {
		counts[of] = n.Load()
	}
	all := make([]Answered, 0, len(counts))
	for of, n := range counts {
		of.Count = n
		all = append(all, of)
	}
	slices.SortFunc(all, func(a, b Answered) int {
		return cmp.Or(cmp.Compare(a.Answer, b.Answer), cmp.Compare(a.Reason, b.Reason))
	})
	return all
}
