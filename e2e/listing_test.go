package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"kong-vault-auth/e2e/faults"
	"kong-vault-auth/e2e/program"
)

// TestDeletedWhileTheListingIsDown, and cached for long: once the store can be listed again, it
// is refused as soon as usual.
func TestDeletedWhileTheListingIsDown(t *testing.T) {
	onEachStore(t, revocable, func(s *gatedStore) {
		t := s.T
		gone, stays := s.stored(), s.stored()
		s.warm(s.g, []pair{gone, stays})
		s.gate.listed(t)
		f := startFlow(s.testEnv, s.g, 2, inTurn(stays))

		s.gate.set(answerTo(s.lists, http.StatusInternalServerError, `{"errors":["internal error"]}`))
		// From then on, no listing is under way that could miss the pair.
		program.Eventually(t, "the log says that listings fail", func() bool {
			s.ask(s.g, stays) // lines from the background ride on an event
			return strings.Contains(s.g.Log(), "the store could not be listed")
		})
		s.remove(gone)
		if a := s.ask(s.g, gone); a.Status != 200 {
			t.Errorf("while nothing is known of its end: %d %s", a.Status, a.Body)
		}

		s.gate.forget()
		s.gate.set(faults.Fault{})
		program.Eventually(t, "the deleted pair is refused", func() bool { return s.ask(s.g, gone).Status == 401 })
		refused := time.Now()
		took := refused.Sub(s.gate.listed(t))
		if took > revokedWithin {
			t.Errorf("refused %s after the first successful listing began, want %s at most", took, revokedWithin)
		}
		t.Logf("refused %s after the first successful listing began", took.Round(time.Millisecond))
		f.stop().all200(t, "the pair that stays")
	})
}

// TestListingThatLostEverythingLocksNobodyOut, not even while secrets can't be read either; the
// log reports it. Each credential is looked up by itself, and refused when its secret is really
// gone.
func TestListingThatLostEverythingLocksNobodyOut(t *testing.T) {
	onEachStore(t, revocable, func(s *gatedStore) {
		t := s.T
		all := make([]pair, 12)
		for i := range all {
			all[i] = s.stored()
		}
		s.warm(s.g, all)
		s.gate.listed(t)
		f := startFlow(s.testEnv, s.g, 3, inTurn(all...))

		s.gate.set(faults.By(func(w http.ResponseWriter, r *http.Request, store http.Handler) {
			s.nothing.Over(broken.Over(store)).ServeHTTP(w, r)
		}))
		const report = "the secret store denies more than half of the cached credentials"
		program.Eventually(t, "the log reports it", func() bool { return strings.Contains(s.g.Log(), report) })
		f.await(t, 100)
		s.gate.set(s.nothing)
		unread := s.stored()
		program.Eventually(t, "secrets can be read again", func() bool { return s.ask(s.g, unread).Status == 200 })
		s.gate.forget()
		s.gate.listed(t)
		f.stop().all200(t, "known pairs, while the store lists nothing")

		began := time.Now()
		for _, p := range all {
			s.remove(p)
		}
		program.Eventually(t, "the deleted pairs are refused", func() bool {
			for _, p := range all {
				if s.ask(s.g, p).Status != 401 {
					return false
				}
			}
			return true
		})
		took := time.Since(began)
		if took > goneWithin {
			t.Errorf("when all were really gone, the last was refused after %s, want %s at most", took, goneWithin)
		}
		t.Logf("when all %d were really gone, the last was refused after %s", len(all), took.Round(time.Millisecond))
	})
}

// goneWithin is how soon many credentials that are gone at once must be refused: after one
// listing each is looked up, and the next one confirms those that were too many to believe. A
// third may have been under way.
const goneWithin = 3 * revokedWithin

// broken answers 500.
var broken = faults.Answer("", http.StatusInternalServerError, nil, "")
