package vaultsecrets

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"kong-vault-auth/pluginserver"
	"kong-vault-auth/secretstore"
)

// Answered is how many requests have had an answer for a reason. Both words are the
// program's own, and there is a bound to how many there are: no reference, no secret and
// nothing of a client's is among them.
type Answered struct {
	Answer string // "ok", or the status that the client got
	Reason string // of a status
	Count  uint64 // since the process began
}

const (
	answerOK  = "ok"  // proxied with its secrets
	answer500 = "500" // the configuration can't be used, or worse
	answer503 = "503" // a secret can't be had
)

// kind is one line of Stats.
type kind struct{ answer, reason string }

// foreseen are the outcomes that are there from the start, as 0, so that the first one is
// seen to be an increase. The reasons of a store's failures are the stores' to name.
var foreseen = []kind{
	{answer500, string(pluginserver.FaultConfig)}, {answer500, string(pluginserver.FaultPanic)},
	{answer503, string(secretstore.ReasonNotFound)}, {answer503, string(secretstore.ReasonDeleted)}, {answer503, string(secretstore.ReasonDisabled)},
	{answer503, string(secretstore.ReasonOutside)}, {answer503, string(secretstore.ReasonDenied)},
	{answer503, reasonForbidden}, {answer503, reasonConfig}, {answer503, reasonLimit}, {answer503, reasonTimeout}, {answer503, reasonUnusable},
}

// requests counts requests by outcome. It is safe for concurrent use, and takes no lock
// for one that gets its secrets.
type requests struct {
	ok atomic.Uint64

	mu    sync.Mutex
	other map[kind]uint64
}

func newRequests() *requests {
	r := &requests{other: map[kind]uint64{}}
	for _, o := range foreseen {
		r.other[o] = 0
	}
	return r
}

func (r *requests) count(answer, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.other[kind{answer, reason}]++
}

// fault counts a request that the plugin server has answered 500 by itself.
func (r *requests) fault(f pluginserver.FaultReason) { r.count(answer500, string(f)) }

// Stats returns what was counted so far, in the order of answers, then of reasons. It is
// safe for concurrent use.
func (p *Plugin) Stats() []Answered {
	r := p.requests
	r.mu.Lock()
	counts := maps.Clone(r.other)
	r.mu.Unlock()
	counts[kind{answerOK, ""}] = r.ok.Load()
	var all []Answered
	for o, n := range counts {
		all = append(all, Answered{o.answer, o.reason, n})
	}
	slices.SortFunc(all, func(a, b Answered) int {
		return cmp.Or(cmp.Compare(a.Answer, b.Answer), cmp.Compare(a.Reason, b.Reason))
	})
	return all
}
