package cache

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// A claim that the record in memory doesn't accept may be wrong, or newer than
// the record. One lookup that begins after the claim was made decides. Each key
// is read again at most once in rereadPause, by whoever needs it; who comes
// within that time waits for the next one.
const rereadPause = time.Second

// Claim is what a caller holds against a record.
type Claim[V any] struct {
	// Accept reports whether the record is what the caller needs: whether it
	// proves the secret, say. nil accepts every record. It is called without a
	// lock, once or more.
	Accept func(V) bool
	// Digest identifies the claim, so that one that was refused is not looked
	// up again for neg_ttl. It is called only if a record was not accepted. nil
	// means that nothing is remembered.
	Digest func() [32]byte
	// Source names who makes the claim, a client's address, say: one source
	// uses at most a tenth of the budget for keys without a record and for
	// re-reads. It is called only if such a lookup is needed. nil, or a name of
	// "", means no cap.
	Source func() string
}

func (c Claim[V]) accepts(v V) bool { return c.Accept == nil || c.Accept(v) }

// source is who pays for a lookup of priority p: strangers can cause only two.
func (c Claim[V]) source(p priority) string {
	if c.Source == nil || p < priorityReread {
		return ""
	}
	return c.Source()
}

// refusals remembers claims that were refused, by what the caller says
// identifies them.
type refusals struct {
	byClaim *otter.Cache[refusal, instant]
	kept    atomic.Int64 // how long: the longest neg_ttl seen
}

type refusal struct {
	key    string
	digest [32]byte
}

func newRefusals(most int, clock otter.Clock) *refusals {
	r := &refusals{}
	r.byClaim = otter.Must(&otter.Options[refusal, instant]{
		MaximumSize: most,
		Clock:       clock,
		ExpiryCalculator: otter.ExpiryWritingFunc(func(otter.Entry[refusal, instant]) time.Duration {
			return time.Duration(r.kept.Load()) + 2*housekeeping
		}),
	})
	return r
}

// has reports whether the claim was refused less than negTTL ago.
func (r *refusals) has(key string, digest func() [32]byte, now instant, negTTL time.Duration) bool {
	if digest == nil || negTTL <= 0 {
		return false
	}
	at, ok := r.byClaim.GetIfPresent(refusal{key, digest()})
	return ok && now.since(at) < negTTL
}

func (r *refusals) remember(key string, digest func() [32]byte, now instant, negTTL time.Duration) {
	if digest != nil && negTTL > 0 {
		raise(&r.kept, negTTL)
		r.byClaim.Set(refusal{strings.Clone(key), digest()}, now)
	}
}

func (r *refusals) len() int { return r.byClaim.EstimatedSize() }

func (r *refusals) stop() { r.byClaim.StopAllGoroutines() }
