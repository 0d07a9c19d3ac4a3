package cache

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// FuzzRules lets a store change, fail, lag and forget in the order that the
// input says, with claims and invalidations in between, and then checks every
// answer against what the store had said by then. It has few seeds, because under
// -fuzz they run first, one by one, within the same time.
func FuzzRules(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(randomScript(seed))
	}
	f.Fuzz(followsRules)
}

func TestRulesHoldInRandomHistories(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			followsRules(t, randomScript(seed))
		})
	}
}

// Every virtual second of a history costs work, because otter has timers of its own. A
// fuzzer makes scripts longer and longer, and would soon need a minute for one of them.
const (
	longestScript  = 400
	longestHistory = 20 * time.Minute
)

func randomScript(seed uint64) []byte {
	random := rand.New(rand.NewPCG(seed, seed))
	script := make([]byte, longestScript)
	for i := range script {
		script[i] = byte(random.Uint32())
	}
	return script
}

func followsRules(t *testing.T, script []byte) {
	script = script[:min(len(script), longestScript)]
	bubble(t, func(r *rig) {
		r.p.TTL, r.p.NegTTL, r.p.ResurrectTTL = 10*time.Second, 3*time.Second, 100*time.Second
		h := &history{rig: r}
		var wg sync.WaitGroup
		for i := 0; i+1 < len(script) && r.clock().Mono < longestHistory; i += 2 {
			h.step(script[i], int(script[i+1]), &wg)
		}
		wg.Wait()
		r.Close() // ends the lookups that still run
		h.check()
	})
}

// history is the sequence of events.
type history struct {
	*rig
	versions [3]int // of the secret of each key
	claims   []claimed
	news     []news
}

// claimed is a Get and its answer.
type claimed struct {
	key, secret string
	from, to    time.Duration
	answer
}

// news is an invalidation.
type news struct {
	key string
	at  time.Duration
}

var (
	steps  = []time.Duration{time.Millisecond, 100 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 50 * time.Second}
	delays = []time.Duration{0, 0, 0, 10 * time.Millisecond, 300 * time.Millisecond, 1500 * time.Millisecond, 5 * time.Second}
	fates  = []error{nil, nil, nil, errDown, failure{retryAfter: 3 * time.Second}, page}
)

// step does one thing.
func (h *history) step(what byte, how int, wg *sync.WaitGroup) {
	n := how % len(h.versions)
	how /= len(h.versions)
	key := fmt.Sprint("key", n)
	secret := func(version int) string { return fmt.Sprint(key, "v", version) }
	switch what % 16 {
	case 0, 1:
		h.versions[n] += how % 2 // else it is the same again
		h.put(key, secret(h.versions[n]))
	case 2:
		h.del(key)
	case 3:
		h.fail(fates[how%len(fates)])
	case 4:
		h.take(delays[how%len(delays)])
	case 5:
		h.rig.set(func() { h.news = append(h.news, news{key, h.clock().Mono}) })
		h.Invalidate(key)
	case 6, 7, 8:
		time.Sleep(steps[how%len(steps)])
	default:
		secret := secret(h.versions[n] - how%4/3) // one in four is the one before
		wg.Go(func() {
			from := h.clock().Mono
			a := h.get(key, secret)
			h.rig.set(func() { h.claims = append(h.claims, claimed{key, secret, from, h.clock().Mono, a}) })
		})
	}
}

// check checks every claim. Where two things happened at the same time, either
// order is right.
func (h *history) check() {
	for _, c := range h.claims {
		if c.Took > h.p.LookupTimeout {
			h.t.Errorf("%+v took longer than the lookup deadline", c)
		}
		if !h.may(c) {
			h.t.Errorf("%+v must not be, after these lookups:\n%s", c, describeAll(slices.DeleteFunc(slices.Clone(h.lookups), func(l *lookup) bool {
				return l.Key != c.key || l.At > c.to || l.At < c.from-h.p.longest()
			})))
		}
	}
}

// may reports whether c may have its answer.
func (h *history) may(c claimed) bool {
	got, state, _ := strings.Cut(c.Got, " ")
	switch got {
	case c.secret:
		limit := h.p.TTL
		if state == Resurrected.String() {
			limit += h.p.ResurrectTTL
		}
		return h.some(c, func(l *lookup) bool {
			return l.Found == c.secret && c.from-l.At < limit && !h.contradicted(l, l.At, c.from)
		})
	case "absent":
		return h.some(c, func(l *lookup) bool {
			return l.denies() && (l.End >= c.from || c.from-l.At < h.p.NegTTL)
		})
	case "refused":
		return h.refuted(c) || slices.ContainsFunc(h.claims, func(d claimed) bool {
			return d.key == c.key && d.secret == c.secret && d.Got == c.Got && h.refuted(d) && d.to <= c.to && c.from-d.to < h.p.NegTTL
		})
	default: // no answer, which there must not have been at hand
		return !h.some(c, func(l *lookup) bool {
			return l.Found == c.secret && l.End < c.from && c.to-l.At < h.p.TTL+h.p.ResurrectTTL &&
				!h.contradicted(l, l.At-1, c.to+1) && !h.superseded(l, l.At-1, c.to+1)
		})
	}
}

// some reports whether there is a lookup that c can have its answer from.
func (h *history) some(c claimed, fits func(l *lookup) bool) bool {
	return slices.ContainsFunc(h.lookups, func(l *lookup) bool {
		return l.Key == c.key && l.End <= c.to && !h.superseded(l, l.At, c.from) && fits(l)
	})
}

// superseded reports whether there was news of l's key after one time and before
// another.
func (h *history) superseded(l *lookup, after, before time.Duration) bool {
	return slices.ContainsFunc(h.news, func(n news) bool { return n.key == l.Key && after < n.at && n.at < before })
}

// contradicted reports whether a lookup that began after one time and ended before
// another found that what l found is gone.
func (h *history) contradicted(l *lookup, after, before time.Duration) bool {
	return slices.ContainsFunc(h.lookups, func(n *lookup) bool {
		return n.Key == l.Key && n != l && after < n.At && n.End < before &&
			(n.denies() || n.Found != "" && n.Found != l.Found) && !h.superseded(n, n.At, n.End+1)
	})
}

// refuted reports whether a lookup for c found something else.
func (h *history) refuted(c claimed) bool {
	return h.some(c, func(l *lookup) bool { return l.At >= c.from && l.Found != "" && l.Found != c.secret })
}

func (l *lookup) denies() bool { return errors.Is(l.Err, ErrAbsent) }
