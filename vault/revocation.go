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

// A deleted credential is served from memory until it is read again, near the end of
// its ttl. With revocation_interval the store's names are listed at that interval, and
// credentials that are no longer listed are dropped immediately. A listing that fails,
// or that is not credible (see the cache's guard), changes nothing.

const (
	// listingShare limits pages to a tenth of max_lookups_per_second, on average.
	listingShare = 10
	// pageTimeout is the time limit of one page.
	pageTimeout = 10 * time.Second
	// maxListed limits the names of one listing, and so its memory: about 40 bytes
	// each.
	maxListed = 5_000_000
	// The backoff after a listing that failed begins with firstListingPause and
	// doubles up to maxListingPause. The interval is the minimum.
	firstListingPause = time.Second
	maxListingPause   = 5 * time.Second
)

// revocation lists one store periodically. It continues while nobody uses the store,
// because a later user gets the same cache.
type revocation struct {
	store *credentialStore
	seed  maphash.Seed
	ctx   context.Context
	stop  context.CancelFunc
	done  sync.WaitGroup

	mu       sync.Mutex
	schedule schedule
	running  bool          // the goroutine was started
	changed  chan struct{} // schedule has changed; buffers one
	counts   RevocationStats

	// The rest belongs to the goroutine.
	before    listing       // the previous one; nil: none yet
	failures  int           // in a row
	effective time.Duration // the interval that was last logged
}

// schedule says how often a store is listed, and with which limits.
type schedule struct {
	interval time.Duration // 0: no listings
	policy   cache.Policy
}

// listing is the content of a store: digests of keys and of their versions. The keys
// themselves would need several times the memory.
type listing map[uint64]uint64

func newRevocation(cs *credentialStore) *revocation {
	r := &revocation{store: cs, seed: maphash.MakeSeed(), changed: make(chan struct{}, 1)}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// follow sets the schedule, and starts the goroutine or tells it.
func (r *revocation) follow(s schedule) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s == r.schedule {
		return
	}
	r.schedule = s
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

// close cancels a listing under way, and waits for its end.
func (r *revocation) close() {
	r.stop()
	r.done.Wait()
}

func (r *revocation) current() schedule {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.schedule
}

func (r *revocation) run() {
	next := time.Now() // of the next listing
	planned := r.current()
	for r.ctx.Err() == nil {
		s := r.current()
		if s != planned { // the schedule has changed since next was computed, perhaps during a listing
			next, planned = earlier(next, time.Now().Add(s.interval)), s
		}
		if s.interval == 0 {
			if !r.await(nil) {
				return
			}
			next = time.Now()
			continue
		}
		if wait := time.Until(next); wait > 0 {
			timer := time.NewTimer(wait)
			open := r.await(timer.C)
			timer.Stop()
			if !open {
				return
			}
			continue
		}
		began := time.Now()
		pages, err := r.list(s)
		if r.ctx.Err() != nil {
			return
		}
		next = began.Add(r.pause(s, pages, err))
	}
}

// await waits for a time or a change of the schedule, and reports whether the store is
// still open.
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

// pause is the time between the beginnings of two listings. pages and err are those of the
// first one. Jitter keeps many nodes from listing at the same moment.
func (r *revocation) pause(s schedule, pages int, err error) time.Duration {
	rate := s.policy.LookupsPerSecond
	if rate <= 0 {
		rate = cache.DefaultLookupsPerSecond
	}
	least := time.Duration(pages) * listingShare * time.Second / time.Duration(rate)
	jitter := func(d time.Duration) time.Duration { return time.Duration(rand.Float64() * float64(d/10)) }
	pause := max(s.interval-jitter(s.interval), least+jitter(least))
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
	r.paced(s.interval, max(s.interval, least))
	r.logInterval(s.interval, max(s.interval, least), pages)
	return pause
}

// logInterval logs the effective interval when it has changed by more than a tenth. A few
// more secrets are not worth a line.
func (r *revocation) logInterval(configured, effective time.Duration, pages int) {
	if d := (effective - r.effective).Abs(); d == 0 || effective != configured && d <= r.effective/10 {
		return
	}
	r.effective = effective
	args := []any{"interval", effective.String(), "pages", pages}
	if effective == configured {
		r.store.log.Info("the store is listed to find deleted credentials", append(args, "reason", "revocation")...)
		return
	}
	r.store.log.Warn("the store is too large to be listed every revocation_interval within a tenth of max_lookups_per_second; it is listed less often",
		append(args, "reason", "revocation_stretched")...)
}

// list makes one listing, drops credentials that are gone and reads changed ones again.
func (r *revocation) list(s schedule) (pages int, err error) {
	began := time.Now()
	now, changed, pages, err := r.listStore()
	if err != nil {
		if r.ctx.Err() == nil {
			r.notListed()
			r.store.log.Warn("the store could not be listed; deleted credentials remain valid until their ttl has passed",
				"reason", "listing_"+reasonOf(err), "err", err)
		}
		return pages, err
	}
	c := r.store.cache
	dropped := c.Retain(s.policy, began, func(key string) bool {
		_, listed := now[r.digest(key)]
		return listed
	})
	r.listed(began, pages, dropped)
	if dropped > 0 {
		r.store.log.Info("cached credentials are gone from the store, and are refused from now on", "reason", "revoked", "count", dropped)
	}
	if r.before == nil { // nothing to compare with: any record that was read before may have changed
		for item := range c.All() {
			if now[r.digest(item.Key)] != 0 {
				changed = append(changed, item.Key)
			}
		}
	}
	for _, key := range changed {
		c.Refresh(key, s.policy)
	}
	r.before = now
	return pages, nil
}

// listStore returns a listing of the store, and the keys that the previous listing lacks
// or has with another version.
func (r *revocation) listStore() (now listing, changed []string, pages int, err error) {
	s := r.store.begin()
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

// version is the digest of a version, 0 if there is none.
func (r *revocation) version(v string) uint64 {
	if v == "" {
		return 0
	}
	return max(1, maphash.String(r.seed, v))
}
