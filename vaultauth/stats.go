package vaultauth

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"kong-vault-auth/pluginserver"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/vault"
)

// Stats is what the plugin counts.
type Stats struct {
	Requests     []Answered // by answer and reason; whatever can be foreseen is there from the start, as 0
	Consumers    int        // remembered now, also as gone
	MaxConsumers int        // how many are remembered at most
}

// Answered is how many requests have had an answer for a reason. Both words are
// ours: none is a client's or a store's, and there is a bound to how many there
// are.
type Answered struct {
	Answer string // "ok", "anonymous", "preflight", "other_plugin", or the status that the client got
	Reason string // of a 401, 429, 500 and 503, and of the 401 that "anonymous" stands for; else empty
	Count  uint64 // since the process began
}

// Stats returns what was counted so far. It is safe for concurrent use.
func (p *Plugin) Stats() Stats {
	return Stats{Requests: p.requests.snapshot(), Consumers: p.consumers.known.EstimatedSize(), MaxConsumers: maxConsumers}
}

// outcome is what became of a request.
type outcome struct{ answer, reason string }

// The answers.
const (
	answerOK          = "ok"           // proxied as the credential's consumer
	answerAnonymous   = "anonymous"    // proxied as config.anonymous
	answerPreflight   = "preflight"    // an OPTIONS request that was let through
	answerOtherPlugin = "other_plugin" // let through: another plugin had authenticated it
	answer401         = "401"
	answer429         = "429"
	answer431         = "431"
	answer500         = "500"
	answer503         = "503"
)

// The reasons beside those of refusals and of a store's failures.
const (
	reasonLimit      = "limit"      // too many access tokens that are not in the store
	reasonGuessing   = "guessing"   // too many wrong secret tokens for one credential
	reasonDatabase   = "database"   // Kong's
	reasonAnonymous  = "anonymous"  // config.anonymous names a consumer that can't be used
	reasonUnexpected = "unexpected" // what should not happen
	reasonOther      = "other"      // more reasons than anybody has thought of
)

// foreseen are the outcomes that are counted from the start, so that the first
// one after it is seen to be an increase. Those of a 503 are the stores' to
// name.
func foreseen() []outcome {
	all := []outcome{
		{answerPreflight, ""}, {answerOtherPlugin, ""}, {answer431, ""},
		{answer429, reasonLimit}, {answer429, reasonGuessing},
		{answer500, reasonAnonymous}, {answer500, reasonUnexpected},
		{answer500, string(pluginserver.FaultConfig)}, {answer500, string(pluginserver.FaultPanic)},
		{answer503, reasonDatabase},
	}
	for _, reason := range []string{
		noAccessToken, noSecretToken, duplicateAccessToken, duplicateSecretToken, consumerIsGone,
		string(vault.ReasonMalformed), string(vault.ReasonBlocked), string(vault.ReasonWrongSecret), string(vault.ReasonExpired),
		string(vault.ReasonEarly), string(vault.ReasonAddress),
		string(secretstore.ReasonNotFound), string(secretstore.ReasonDeleted), string(secretstore.ReasonDisabled),
		string(secretstore.ReasonOutside), string(secretstore.ReasonUnusable), string(secretstore.ReasonDenied),
	} {
		all = append(all, outcome{answer401, reason}, outcome{answerAnonymous, reason})
	}
	return all
}

// maxUnforeseen bounds the outcomes that are counted once they have come up.
const maxUnforeseen = 64

// requests counts requests by outcome. It is safe for concurrent use, and takes
// no lock for what is foreseen.
type requests struct {
	ok       atomic.Uint64 // on its own: every request of a known client comes here
	foreseen map[outcome]*atomic.Uint64

	mu    sync.Mutex
	other map[outcome]uint64
}

func newRequests() *requests {
	n := &requests{foreseen: map[outcome]*atomic.Uint64{}, other: map[outcome]uint64{}}
	for _, o := range foreseen() {
		n.foreseen[o] = new(atomic.Uint64)
	}
	return n
}

// proxied counts a request that goes on to the upstream.
func (n *requests) proxied(who caller) {
	if who.refused != "" {
		n.count(answerAnonymous, who.refused)
		return
	}
	n.ok.Add(1)
}

func (n *requests) count(answer, reason string) {
	o := outcome{answer, reason}
	if c := n.foreseen[o]; c != nil {
		c.Add(1)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.other[o]; !known && len(n.other) >= maxUnforeseen {
		o.reason = reasonOther
	}
	n.other[o]++
}

// fault counts a request that the plugin server has answered 500 by itself.
func (n *requests) fault(f pluginserver.FaultReason) { n.count(answer500, string(f)) }

// snapshot is in the order of answers, then of reasons.
func (n *requests) snapshot() []Answered {
	n.mu.Lock()
	counts := maps.Clone(n.other)
	n.mu.Unlock()
	counts[outcome{answerOK, ""}] = n.ok.Load()
	for o, c := range n.foreseen {
		counts[o] = c.Load()
	}
	all := make([]Answered, 0, len(counts))
	for o, c := range counts {
		all = append(all, Answered{o.answer, o.reason, c})
	}
	slices.SortFunc(all, func(a, b Answered) int {
		return cmp.Or(cmp.Compare(a.Answer, b.Answer), cmp.Compare(a.Reason, b.Reason))
	})
	return all
}
