package e2e

import (
	"net/http"
	"testing"
	"time"

	"kong-vault-auth/e2e/faults"
	"kong-vault-auth/e2e/program"
)

// TestLookupInFlightBringsNothingBack: the store answers two lookups with a record, and the
// answers are held up. Meanwhile both credentials are deleted, and a listing passes. One of
// them was cached, and is read again because of a wrong secret token; the other was never
// read.
func TestLookupInFlightBringsNothingBack(t *testing.T) {
	onEachStore(t, object{"ttl": 3600, "revocation_interval": 0.2}, func(s *gatedStore) {
		t := s.T
		cached, unread, stays := s.stored(), s.stored(), s.stored()
		s.warm(s.g, []pair{cached, stays})
		s.gate.listed(t) // what a listing finds new from now on is a change

		h := newHold(func(r *http.Request) bool { return s.reads(r, cached) || s.reads(r, unread) })
		s.gate.set(h.fault())
		waiting := make(chan int)
		for i, p := range []pair{{cached.access, "wrong"}, unread} {
			go func() { waiting <- s.ask(s.g, p).Status }()
			program.Eventually(t, "the answer is held up", func() bool { return len(h.holds()) == i+1 })
		}
		began := time.Now()
		s.gate.set(faults.Fault{})
		s.remove(cached)
		s.remove(unread)
		s.gate.forget()
		s.gate.listed(t)
		for name, p := range map[string]pair{"was cached": cached, "was never read": unread} {
			if a := s.ask(s.g, p); a.Status != 401 {
				t.Errorf("after the listing, the pair that %s: %d %s", name, a.Status, a.Body)
			}
		}
		for _, answer := range h.holds() {
			select {
			case <-answer.gone:
				t.Errorf("after %s, the lookup of %s was given up", time.Since(began), answer.path)
			default:
			}
			if answer.status != 200 {
				t.Errorf("%s was answered %d before it was deleted", answer.path, answer.status)
			}
		}
		h.release()
		heldFor := time.Since(began)
		for range 2 {
			if <-waiting == 200 {
				t.Error("a request whose lookup was held up is accepted")
			}
		}

		accepted := func() (n int) {
			for range 50 {
				for _, p := range []pair{cached, unread} {
					if s.ask(s.g, p).Status == 200 {
						n++
					}
				}
			}
			return n
		}
		late := accepted()
		if a := s.ask(s.g, stays); a.Status != 200 {
			t.Errorf("the pair that stays: %d %s", a.Status, a.Body)
		}
		s.gate.set(broken)
		if late += accepted(); late > 0 {
			t.Errorf("accepted %d times once the answers had been let go", late)
		}
		t.Logf("2 answers held for %s; 200 requests afterwards, %d accepted", heldFor.Round(time.Millisecond), late)
	})
}
