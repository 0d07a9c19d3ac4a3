package e2e

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"kong-vault-auth/e2e/faults"
	"kong-vault-auth/e2e/program"

	"github.com/google/go-cmp/cmp"
)

// TestNoFirstTimeClientIsRefusedBesidePoisonedRequests: 299 clients come for the first time
// while a stranger asks for names that a firewall in front of the store blocks with pages of its
// own, and for names that no store can hold. During that, a revoked pair isn't accepted
// either.
func TestNoFirstTimeClientIsRefusedBesidePoisonedRequests(t *testing.T) {
	for name, open := range map[string]func(*testing.T, object) *gatedStore{
		"KV v1":     func(t *testing.T, settings object) *gatedStore { return gatedVault(t, 1, false, settings) },
		"KV v2":     func(t *testing.T, settings object) *gatedStore { return gatedVault(t, 2, false, settings) },
		"Key Vault": func(t *testing.T, settings object) *gatedStore { return gatedKeyVault(t, false, settings) },
	} {
		for _, rate := range []int{1, 10, 100} {
			t.Run(fmt.Sprintf("%s, %d a second", name, rate), func(t *testing.T) {
				besidePoison(open(t, object{"ttl": 1}), rate)
			})
		}
	}
}

func besidePoison(s *gatedStore, rate int) {
	const clients = 299
	newcomers := make([]pair, clients)
	for i := range newcomers {
		newcomers[i] = s.stored()
	}
	blocks := func(name string, status int) faults.Fault {
		return faults.Only(func(r *http.Request) bool { return strings.Contains(r.URL.Path, name) }, faults.Page(status))
	}
	s.gate.set(faults.By(func(w http.ResponseWriter, r *http.Request, store http.Handler) {
		blocks("wp-login-403", http.StatusForbidden).Over(blocks("wp-login-404", http.StatusNotFound).Over(store)).ServeHTTP(w, r)
	}))
	poison := startPoison(s, rate)
	poison.await(2) // names that fail before any name is known

	got := map[int]int{}
	ticks := time.NewTicker(pace)
	defer ticks.Stop()
	for i, p := range newcomers {
		got[s.askFrom(s.g, [4]byte{127, 1, byte(i >> 8), byte(i)}, p).Status]++
		<-ticks.C
	}
	if diff := cmp.Diff(map[int]int{200: clients}, got); diff != "" {
		s.Errorf("answers to first-time clients (-want +got):\n%s", diff)
	}

	revoked := newcomers[0]
	s.remove(revoked)
	program.Eventually(s.T, "the revoked pair is refused", func() bool { return s.ask(s.g, revoked).Status == 401 })
	poison.await(2)
	for range 20 {
		if a := s.ask(s.g, revoked); a.Status != 401 {
			s.Errorf("revoked, and refused before: %d %s", a.Status, a.Body)
		}
	}

	blocked, malformed := poison.stop()
	if blocked[503] == 0 || len(blocked) != 1 && (len(blocked) != 2 || blocked[429] == 0) {
		s.Errorf("names that a firewall blocks: answers %v, want 503 and 429", blocked)
	}
	if len(malformed) != 1 || malformed[401] == 0 {
		s.Errorf("names that no store can hold: answers %v, want 401", malformed)
	}
	s.Logf("%d first-time clients: answers %v; names that a firewall blocks: %v; names that no store can hold: %v", clients, got, blocked, malformed)
}

// askFrom is ask for a client with an address of its own, on loopback.
func (w *testEnv) askFrom(g gateway, ip [4]byte, p pair) answer {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: ip[:]}}
	client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
	return w.fetch(client, g.URL(), http.MethodGet, "/", p.header(), "")
}

// poison are a stranger's requests, from 50 addresses, until stop.
type poison struct {
	t        *testing.T
	ended    chan struct{}
	requests sync.WaitGroup

	mu                 sync.Mutex
	blocked, malformed map[int]int // answers by status; guarded by mu
}

// startPoison sends one name of each kind as often as the rate says.
func startPoison(s *gatedStore, rate int) *poison {
	f := &poison{t: s.T, ended: make(chan struct{}), blocked: map[int]int{}, malformed: map[int]int{}}
	send := func(i int, name string, answers map[int]int) {
		f.requests.Go(func() {
			status := s.askFrom(s.g, [4]byte{127, 2, 0, byte(1 + i%50)}, pair{name, "secret"}).Status
			f.mu.Lock()
			defer f.mu.Unlock()
			answers[status]++
		})
	}
	f.requests.Go(func() {
		due := time.NewTicker(time.Second / time.Duration(rate))
		defer due.Stop()
		for i := 0; ; i++ {
			send(i, fmt.Sprintf("wp-login-%d-%d", 403+i%2, i), f.blocked)
			send(i, fmt.Sprint("a..b", i), f.malformed)
			select {
			case <-f.ended:
				return
			case <-due.C:
			}
		}
	})
	return f
}

// await returns after n more answers to names that a firewall blocks.
func (f *poison) await(n int) {
	f.t.Helper()
	count := func() (all int) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, n := range f.blocked {
			all += n
		}
		return all
	}
	before := count()
	program.Eventually(f.t, "the stranger is answered", func() bool { return count() >= before+n })
}

func (f *poison) stop() (blocked, malformed map[int]int) {
	close(f.ended)
	f.requests.Wait()
	return f.blocked, f.malformed
}
