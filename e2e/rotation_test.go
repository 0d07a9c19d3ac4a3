package e2e

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// rotating is a credential whose secret token changes while clients use it.
type rotating struct {
	mu     sync.RWMutex // held by clients for the length of a request
	access string
	valid  []string // secret tokens
}

// use is the pair of a request, and what must be called after it.
func (r *rotating) use() (p pair, done func()) {
	r.mu.RLock()
	return pair{r.access, r.valid[rand.N(len(r.valid))]}, r.mu.RUnlock
}

// holds waits until no client uses any but these.
func (r *rotating) holds(secrets ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.valid = secrets
}

const rotations = 3

// TestRotationWithGraceRefusesNobody, neither with the new secret token nor
// with the one before.
func TestRotationWithGraceRefusesNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.credential(nil)
	g := w.start(w.guarded("/", nil))
	w.warm(g, []pair{p})
	r := &rotating{access: p.access, valid: []string{p.secret}}
	f := startFlow(w, g, 3, r.use)
	for i := range rotations {
		f.await(t, 50)
		old := r.valid[0]
		r.holds(old)
		next := fmt.Sprintf("%s-%d", p.secret, i)
		w.put(pair{p.access, next}, object{"previous_secret_token": old, "previous_expires_at": time.Now().Add(time.Hour).Unix()})
		r.holds(next, old)
		for _, secret := range []string{next, old, next} {
			if a := w.ask(g, pair{p.access, secret}); a.Status != 200 {
				t.Errorf("rotation %d, %d %s", i, a.Status, a.Body)
			}
		}
	}
	f.stop().all200(t, fmt.Sprintf("%d rotations with grace", rotations))
}

// TestRotationWithoutGraceWorksAtOnce, and then ends the old secret token.
func TestRotationWithoutGraceWorksAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.credential(nil)
	g := w.start(w.guarded("/", nil))
	w.warm(g, []pair{p})
	r := &rotating{access: p.access, valid: []string{p.secret}}
	f := startFlow(w, g, 3, r.use)
	old := p.secret
	for i := range rotations {
		f.await(t, 50)
		next := fmt.Sprintf("%s-%d", p.secret, i)
		r.mu.Lock()
		w.put(pair{p.access, next}, nil)
		r.valid = []string{next}
		r.mu.Unlock()
		status := func(secret string) int {
			return w.ask(g, pair{p.access, secret}).Status
		}
		if got := status(next); got != 200 {
			t.Errorf("rotation %d, the new secret token: %d", i, got)
		}
		if got := status(old); got != 401 {
			t.Errorf("rotation %d, the old secret token, after the new one was used: %d", i, got)
		}
		old = next
	}
	f.stop().all200(t, fmt.Sprintf("%d rotations without grace", rotations))
}
