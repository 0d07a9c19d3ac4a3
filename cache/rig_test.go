package cache

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// testPolicy has round figures: an entry is refreshed from 80 s (the rig has no
// jitter), expires at 100 s and is of no use from 1,100 s.
var testPolicy = Policy{
	TTL:              100 * time.Second,
	MaxTTL:           time.Hour,
	NegTTL:           5 * time.Second,
	ResurrectTTL:     1000 * time.Second,
	LookupsPerSecond: 100,
	LookupTimeout:    2 * time.Second,
}

// rig is a cache of secrets and the store behind it, in a bubble of its own
// time. A secret is claimed by knowing it.
type rig struct {
	*Cache[string]
	t *testing.T
	p Policy

	mu            sync.Mutex
	secrets       map[string]Found[string]
	takes         time.Duration             // how long the store takes to answer
	fails         error                     // what it answers all lookups with
	spoiled       map[string]error          // the same, for one key
	hook          func(ctx context.Context) // called by each lookup
	lookups       []*lookup                 // since looked was last called
	running, most int                       // lookups at a time
	events        []string                  // what Observer was notified of
}

// lookup is one read of the store. Times count from the bubble's beginning.
type lookup struct {
	Key     string
	At, End time.Duration
	Found   string
	Err     error
}

// bubble runs test in a bubble of virtual time, which ends with nothing left
// running.
func bubble(t *testing.T, test func(r *rig)) { bubbleOf(t, Options[string]{}, test) }

func bubbleOf(t *testing.T, o Options[string], test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, p: testPolicy, secrets: map[string]Found[string]{}, spoiled: map[string]error{}}
		if o.Jitter == nil {
			o.Jitter = func() float64 { return 0 }
		}
		o.Observer = Observer{
			OutageBegan:   func(err error, _, _ time.Time) { r.saw("began: " + err.Error()) },
			OutageEnded:   func(d time.Duration) { r.saw("ended after " + d.String()) },
			KeyFailed:     func(err error) { r.saw("not read again: " + err.Error()) },
			DropsHeld:     func(would, cached int) { r.saw(fmt.Sprintf("held %d of %d", would, cached)) },
			DropsResolved: func() { r.saw("resolved") },
			Panicked:      func(err *PanicError) { r.saw(err.Error()) },
		}
		r.Cache = New(r.read, o)
		defer r.Close()
		test(r)
	})
}

func (r *rig) saw(event string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, event)
}

// read is the store. It answers with what is there when the lookup begins.
func (r *rig) read(ctx context.Context, key, _ string) (found Found[string], err error) {
	l := &lookup{Key: key, At: r.clock().Mono}
	r.mu.Lock()
	found, ok := r.secrets[key]
	fails, takes, hook := cmp.Or(r.spoiled[key], r.fails), r.takes, r.hook
	r.lookups = append(r.lookups, l)
	r.running++
	r.most = max(r.most, r.running)
	r.mu.Unlock()
	defer r.set(func() {
		r.running--
		l.End, l.Found, l.Err = r.clock().Mono, found.Value, err
	})
	if hook != nil {
		hook(ctx)
	}
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return Found[string]{}, ctx.Err()
	}
	switch {
	case fails != nil:
		return Found[string]{}, fails
	case !ok:
		return Found[string]{}, ErrAbsent
	default:
		return found, nil
	}
}

// put stores a secret.
func (r *rig) put(key, secret string) {
	r.set(func() { r.secrets[key] = Found[string]{Value: secret} })
}

// load stores a secret, and gets it into the cache.
func (r *rig) load(key, secret string) {
	r.put(key, secret)
	r.get(key, secret)
}

// fill caches n records.
func (r *rig) fill(n int) {
	for i := range n {
		r.load(fmt.Sprint(i), "s")
	}
	r.looked()
}

func (r *rig) del(key string) { r.set(func() { delete(r.secrets, key) }) }

// fail makes the store answer every lookup with err; nil fixes it.
func (r *rig) fail(err error) { r.set(func() { r.fails = err }) }

// spoil makes the store answer lookups of one key with err; nil fixes it.
func (r *rig) spoil(key string, err error) { r.set(func() { r.spoiled[key] = err }) }

// outage makes the store fail with err, and the cache know it.
func (r *rig) outage(err error) {
	r.fail(err)
	r.get("never seen", "s")
	r.looked()
}

// take sets how long the store takes to answer.
func (r *rig) take(d time.Duration) { r.set(func() { r.takes = d }) }

func (r *rig) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// looked is the lookups since it was last called, after all that can happen now
// has happened.
func (r *rig) looked() []*lookup {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lookups
	r.lookups = nil
	return l
}

// answer is what a claim got, and after how long.
type answer struct {
	Got  string // the value and its state, or describe's text for the error
	Took time.Duration
}

// get claims key with secret.
func (r *rig) get(key, secret string) answer { return r.claim(r.p, key, claimOf(secret)) }

func (r *rig) claim(p Policy, key string, claim Claim[string]) answer {
	start := time.Now()
	res, err := r.Get(r.t.Context(), key, key, p, claim)
	if err != nil {
		return answer{describe(err), time.Since(start)}
	}
	return answer{res.Value + " " + res.State.String(), time.Since(start)}
}

func claimOf(secret string) Claim[string] {
	return Claim[string]{
		Accept: func(v string) bool { return v == secret },
		Digest: func() [32]byte { return sha256.Sum256([]byte(secret)) },
	}
}

// from is claimOf for a client at an address.
func from(address, secret string) Claim[string] {
	claim := claimOf(secret)
	claim.Source = func() string { return address }
	return claim
}

func describe(err error) string {
	cause := err
	for next := errors.Unwrap(cause); next != nil; next = errors.Unwrap(cause) {
		cause = next
	}
	var limit *LimitError
	var unavailable *UnavailableError
	switch {
	case errors.As(err, &limit):
		return fmt.Sprintf("limited for %v", limit.RetryAfter)
	case errors.As(err, &unavailable):
		return fmt.Sprintf("unavailable for %v: %v", unavailable.RetryAfter, cause)
	case errors.Is(err, ErrAbsent):
		return "absent"
	case errors.Is(err, ErrRefused):
		return "refused"
	default:
		return err.Error()
	}
}

func describeAll(ls []*lookup) string {
	var s strings.Builder
	for _, l := range ls {
		fmt.Fprintf(&s, "%+v\n", *l)
	}
	return s.String()
}

// all makes n claims at once and returns their answers, in order.
func (r *rig) all(n int, claim func(i int) answer) []answer {
	answers := make([]answer, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { answers[i] = claim(i) })
	}
	wg.Wait()
	return answers
}

// tally counts answers.
func tally(answers []answer) map[string]int {
	n := map[string]int{}
	for _, a := range answers {
		n[a.Got]++
	}
	return n
}

func (r *rig) want(got, want answer) {
	r.t.Helper()
	if got != want {
		r.t.Errorf("got %q after %v, want %q after %v", got.Got, got.Took, want.Got, want.Took)
	}
}

func (r *rig) wantLookups(want int) {
	r.t.Helper()
	if got := r.looked(); len(got) != want {
		r.t.Errorf("%d lookups, want %d:\n%s", len(got), want, describeAll(got))
	}
}

func (r *rig) wantEvents(want ...string) {
	r.t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := gocmp.Diff(want, r.events); diff != "" {
		r.t.Errorf("Observer was notified of (-want +got):\n%s", diff)
	}
	r.events = nil
}

// errDown is a failure of the store.
var errDown = errors.New("connection refused")

// repeat is n times the same answer.
func repeat(a answer, n int) []answer { return slices.Repeat([]answer{a}, n) }
