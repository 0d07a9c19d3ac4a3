package vault

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"time"

	"kong-vault-auth/cache"
	"kong-vault-auth/secretstore"
)

// A credential that was deleted is served from memory until it is read again,
// near the end of its ttl. With revocation_interval the store's names are listed
// on that beat, and what is gone goes at once. A listing that fails, and one that
// is not credible (see the cache's guard), changes nothing.

const (
	// listingShare is the part of max_lookups_per_second that pages may use, on
	// average: a tenth.
	listingShare = 10
	// pageTimeout is how long one page of a listing may take.
	pageTimeout = 10 * time.Second
	// maxListed bounds the names of one listing, and so its memory: some 40
	// bytes each.
	maxListed = 5_000_000
	// A listing that failed is repeated after this at least, doubled by each
	// that fails, and at most that unless the interval is longer.
	firstListingPause = time.Second
	maxListingPause   = 5 * time.Second
)

// revocation is the listing of one store. It goes on while nobody uses the
// store, since who comes next is answered from the same cache.
type revocation struct {
	live *live
	seed maphash.Seed
	ctx  context.Context
	stop context.CancelFunc
	done sync.WaitGroup

	mu      sync.Mutex
	uses    map[*beat]struct{}
	beat    beat // of the use with the smallest interval
	running bool
	changed chan struct{} // beat has; holds one
	counts  RevocationStats

	// The rest belongs to the goroutine.
	before    listing
	failures  int           // in a row
	effective time.Duration // as it was last logged
}

// beat is what one use of a store asks for.
type beat struct {
	interval time.Duration // 0: no listings
	policy   cache.Policy
}

// listing is what a store holds: digests of keys, with those of versions. Keys
// themselves would take several times the memory.
type listing map[uint64]uint64

func newRevocation(l *live) *revocation {
	r := &revocation{live: l, seed: maphash.MakeSeed(), uses: map[*beat]struct{}{}, changed: make(chan struct{}, 1)}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// join adds a use. leave ends it.
func (r *revocation) join(b beat) (leave func()) {
	use := &b
	r.mu.Lock()
	defer r.mu.Unlock()
	r.uses[use] = struct{}{}
	r.choose()
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.uses, use)
		r.choose()
	}
}

// choose lets the smallest interval win, and has the goroutine run that lists
// on it. mu is held.
func (r *revocation) choose() {
	if len(r.uses) == 0 {
		return
	}
	var best beat
	for use := range r.uses {
		if use.interval > 0 && (best.interval == 0 || use.interval < best.interval ||
			use.interval == best.interval && use.policy.LookupsPerSecond < best.policy.LookupsPerSecond) {
			best = *use
		}
	}
	if best == r.beat {
		return
	}
	r.beat = best
	if !r.running {
		r.running = true
		r.done.Go(r.run)
		return
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// close ends the listing under way, and waits for that.
func (r *revocation) close() {
	r.stop()
	r.done.Wait()
}

func (r *revocation) current() beat {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.beat
}

func (r *revocation) run() {
	next := time.Now() // of the next listing
	for r.ctx.Err() == nil {
		b := r.current()
		if b.interval == 0 {
			if !r.await(nil) {
				return
			}
			next = time.Now()
			continue
		}
		if wait := time.Until(next); wait > 0 {
			timer := time.NewTimer(wait)
			timely := r.await(timer.C)
			timer.Stop()
			if !timely {
				return
			}
			if now := r.current(); now != b {
				next = earlier(next, time.Now().Add(now.interval))
			}
			continue
		}
		began := time.Now()
		pages, err := r.list(b)
		if r.ctx.Err() != nil {
			return
		}
		next = began.Add(r.pause(b, pages, err))
	}
}

// await waits for a time or a change of beat, and reports whether the store is
// still open then.
func (r *revocation) await(due <-chan time.Time) bool {
	select {
	case <-due:
	case <-r.changed:
	case <-r.ctx.Done():
		return false
	}
	return true
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// pause is the time from the beginning of a listing of so many pages to that of
// the next. Jitter keeps many nodes from falling into step.
func (r *revocation) pause(b beat, pages int, err error) time.Duration {
	rate := b.policy.LookupsPerSecond
	if rate <= 0 {
		rate = cache.DefaultLookupsPerSecond
	}
	least := time.Duration(pages) * listingShare * time.Second / time.Duration(rate)
	jitter := func(d time.Duration) time.Duration { return time.Duration(rand.Float64() * float64(d/10)) }
	pause := max(b.interval-jitter(b.interval), least+jitter(least))
	if err != nil {
		r.failures++
		pause = max(pause, min(firstListingPause<<min(r.failures-1, 10), maxListingPause))
		var f *secretstore.Failure
		if errors.As(err, &f) {
			pause = max(pause, f.Wait)
		}
		return pause
	}
	r.failures = 0
	r.paced(b.interval, max(b.interval, least))
	r.tell(b.interval, max(b.interval, least), pages)
	return pause
}

// tell logs the interval that there really is, when it has changed by more than
// a secret or two make.
func (r *revocation) tell(configured, effective time.Duration, pages int) {
	if d := (effective - r.effective).Abs(); d == 0 || effective != configured && d <= r.effective/10 {
		return
	}
	r.effective = effective
	args := []any{"interval", effective.String(), "pages", pages}
	if effective == configured {
		r.live.log.Info("deleted credentials are looked for", append(args, "reason", "revocation")...)
		return
	}
	r.live.log.Warn("the store is too large to be listed every revocation_interval within a tenth of max_lookups_per_second; it is listed less often",
		append(args, "reason", "revocation_stretched")...)
}

// list makes one listing and draws its consequences.
func (r *revocation) list(b beat) (pages int, err error) {
	began := time.Now()
	now, changed, pages, err := r.ask()
	if err != nil {
		if r.ctx.Err() == nil {
			r.notListed()
			r.live.log.Warn("the store could not be listed; credentials that were deleted work on until their ttl has passed",
				"reason", "listing_"+reasonOf(err), "err", err)
		}
		return pages, err
	}
	c := r.live.cache
	dropped := c.Retain(b.policy, began, func(key string) bool {
		_, listed := now[r.digest(key)]
		return listed
	})
	r.listed(began, pages, dropped)
	if dropped > 0 {
		r.live.log.Info("cached credentials are gone from the store, and are refused from now on", "reason", "revoked", "count", dropped)
	}
	if r.before == nil { // what has been read so far may have changed since
		for item := range c.All() {
			if now[r.digest(item.Key)] != 0 {
				changed = append(changed, item.Key)
			}
		}
	}
	for _, key := range changed {
		c.Refresh(key, b.policy)
	}
	r.before = now
	return pages, nil
}

// ask collects what the store lists, and the keys of what is new in it or has
// another version than before.
func (r *revocation) ask() (now listing, changed []string, pages int, err error) {
	s := r.live.begin()
	defer s.reads.Done()
	lister, ok := s.Store.(secretstore.Lister)
	if !ok {
		return nil, nil, 0, &secretstore.Failure{Op: "list the store", Reason: "unsupported"}
	}
	ctx, cancel := context.WithCancelCause(r.ctx)
	defer cancel(nil)
	late := time.AfterFunc(pageTimeout, func() { cancel(context.DeadlineExceeded) })
	defer late.Stop()
	now = listing{}
	err = lister.List(ctx, func(page []secretstore.Listed) error {
		late.Reset(pageTimeout)
		pages++
		for _, secret := range page {
			if secret.Disabled {
				continue
			}
			key, version := r.digest(secret.Key), r.version(secret.Version)
			now[key] = version
			if r.before != nil && version != 0 && version != r.before[key] {
				changed = append(changed, secret.Key)
			}
		}
		if len(now) > maxListed {
			return &secretstore.Failure{Op: "list the store", Reason: "size", Err: fmt.Errorf("it holds more than %d secrets", maxListed)}
		}
		return ctx.Err()
	})
	if err != nil && context.Cause(ctx) == context.DeadlineExceeded {
		err = &secretstore.Failure{Op: "list the store", Reason: "timeout", Err: fmt.Errorf("a page took longer than %s: %w", pageTimeout, err)}
	}
	return now, changed, pages, err
}

func (r *revocation) digest(key string) uint64 { return maphash.String(r.seed, key) }

// version is 0 for none.
func (r *revocation) version(v string) uint64 {
	if v == "" {
		return 0
	}
	return max(1, maphash.String(r.seed, v))
}
