package e2e

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"kong-vault-auth/azurevault/akvsim"
)

// rotating is a credential whose secret token changes while clients use it.
type rotating struct {
	mu     sync.RWMutex // held by clients for the length of a request
	access string
	valid  []string // secret tokens
}

// use returns the pair of a request, and what to call after the request.
func (r *rotating) use() (p pair, done func()) {
	r.mu.RLock()
	return pair{r.access, r.valid[rand.N(len(r.valid))]}, r.mu.RUnlock
}

// holds makes these the secret tokens in use, and waits until no client uses another.
func (r *rotating) holds(secrets ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.valid = secrets
}

const rotations = 3

// rotated is a store with one credential, and how that one is rotated.
type rotated struct {
	*testEnv
	g gateway
	p pair
	// rotate stores another secret token. Unless old is empty, it must go on to work.
	rotate func(next, old string)
}

// rotatedStores are stores of each kind. A grace period is in the record in Vault, and in the
// vault object for Azure.
var rotatedStores = map[string]func(t *testing.T, grace bool) *rotated{
	"Vault": func(t *testing.T, _ bool) *rotated {
		w := newEnv(t)
		p := w.credential(nil)
		return &rotated{w, w.start(w.guarded("/", nil)), p, func(next, old string) {
			var record object
			if old != "" {
				record = object{"previous_secret_token": old, "previous_expires_at": time.Now().Add(time.Hour).Unix()}
			}
			w.put(pair{p.access, next}, record)
		}}
	},
	"Key Vault": func(t *testing.T, grace bool) *rotated {
		a := newAzure(t)
		a.app(func(app *akvsim.App) { app.May = akvsim.Get | akvsim.List })
		settings := object{}
		if grace {
			settings["accept_previous_version"] = 3600
		}
		// Key Vault's times, which tell the last version but one, are whole seconds:
		// rotations are a minute apart.
		made := time.Now().Add(-10 * time.Minute)
		version := func() *azsecrets.SecretAttributes {
			made = made.Add(time.Minute)
			return &azsecrets.SecretAttributes{Created: new(made)}
		}
		p := a.credential(version())
		return &rotated{a.testEnv, a.guard(thePlugin, byClientSecret(settings)), p, func(next, _ string) {
			a.put(pair{p.access, next}, version())
		}}
	},
}

// onRotatedStores runs a scenario on each kind of store.
func onRotatedStores(t *testing.T, grace bool, scenario func(*rotated)) {
	for name, open := range rotatedStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := open(t, grace)
			r.warm(r.g, []pair{r.p})
			scenario(r)
		})
	}
}

// TestRotationWithGraceRefusesNobody, neither with the new secret token nor
// with the one before.
func TestRotationWithGraceRefusesNobody(t *testing.T) {
	onRotatedStores(t, true, func(s *rotated) {
		t := s.T
		r := &rotating{access: s.p.access, valid: []string{s.p.secret}}
		f := startFlow(s.testEnv, s.g, 3, r.use)
		for i := range rotations {
			f.await(t, 50)
			old := r.valid[0]
			r.holds(old)
			next := fmt.Sprintf("%s-%d", s.p.secret, i)
			s.rotate(next, old)
			r.holds(next, old)
			for _, secret := range []string{next, old, next} {
				if a := s.ask(s.g, pair{s.p.access, secret}); a.Status != 200 {
					t.Errorf("rotation %d, %d %s", i, a.Status, a.Body)
				}
			}
		}
		f.stop().all200(t, fmt.Sprintf("%d rotations with grace", rotations))
	})
}

// TestRotationWithoutGraceWorksAtOnce, and then the old secret token is refused.
func TestRotationWithoutGraceWorksAtOnce(t *testing.T) {
	onRotatedStores(t, false, func(s *rotated) {
		t := s.T
		r := &rotating{access: s.p.access, valid: []string{s.p.secret}}
		f := startFlow(s.testEnv, s.g, 3, r.use)
		old := s.p.secret
		var longest time.Duration // until the new one worked
		for i := range rotations {
			f.await(t, 50)
			next := fmt.Sprintf("%s-%d", s.p.secret, i)
			r.mu.Lock()
			s.rotate(next, "")
			r.valid = []string{next}
			r.mu.Unlock()
			status := func(secret string) int {
				return s.ask(s.g, pair{s.p.access, secret}).Status
			}
			began := time.Now()
			if got := status(next); got != 200 {
				t.Errorf("rotation %d, the new secret token: %d", i, got)
			}
			longest = max(longest, time.Since(began))
			if got := status(old); got != 401 {
				t.Errorf("rotation %d, the old secret token, after the new one was used: %d", i, got)
			}
			old = next
		}
		f.stop().all200(t, fmt.Sprintf("%d rotations without grace", rotations))
		t.Logf("a new secret token was accepted after %s at most", longest.Round(time.Millisecond))
		if longest > rotatedWithin {
			t.Errorf("a new secret token was accepted after %s, want %s at most", longest, rotatedWithin)
		}
	})
}

// rotatedWithin is how soon a new secret token is accepted: each credential is read again at
// most once a second.
const rotatedWithin = 1500 * time.Millisecond
