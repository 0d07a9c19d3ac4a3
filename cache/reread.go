package cache

import (
	"strings"
	"time"

	"kong-vault-auth/clock"
)

// If a claim doesn't accept the record in memory, either the claim is wrong or the record
// is outdated. One lookup that begins after the claim was made decides. Each key is read
// again at most once in rereadPause; a claim that comes within that time waits for the
// next lookup.
const rereadPause = time.Second

// Claim decides whether a record is the one that a caller needs.
type Claim[V any] struct {
	// Accept reports whether the record is what the caller needs: whether it
	// proves the secret, say. nil accepts every record. It is called without a
	// lock, once or more.
	Accept func(V) bool
	// Digest identifies the claim, so that one that was refused is not looked
	// up again for neg_ttl. It is called only if a record was not accepted. nil
	// means that nothing is remembered.
	Digest func() [32]byte
	// Source names who makes the claim, a client's address, say: one source gets at
	// most a tenth of the permits for keys without a record and for re-reads. It is
	// called only if such a lookup is needed. nil, or a name of "", means no cap.
	Source func() string
}

func (c Claim[V]) accepts(v V) bool { return c.Accept == nil || c.Accept(v) }

// source is who a lookup of priority p is for. Strangers can cause only the last two.
func (c Claim[V]) source(p priority) string {
	if c.Source == nil || p < priorityReread {
		return ""
	}
	return c.Source()
}

// refusals remembers refused claims by their digests.
type refusals struct {
	*memory[refusal, clock.Instant]
}

type refusal struct {
	key    string
	digest [32]byte
}

// has reports whether the claim was refused less than negTTL ago.
func (r refusals) has(key string, digest func() [32]byte, now clock.Instant, negTTL time.Duration) bool {
	if digest == nil || negTTL <= 0 {
		return false
	}
	at, ok := r.GetIfPresent(refusal{key, digest()})
	return ok && now.Since(at) < negTTL
}

func (r refusals) remember(key string, digest func() [32]byte, now clock.Instant, negTTL time.Duration) {
	if digest != nil && negTTL > 0 {
		r.put(refusal{strings.Clone(key), digest()}, now, negTTL)
	}
}
