package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kong-vault-auth/e2e/faults"
	"kong-vault-auth/e2e/program"
)

// flow is a steady stream of requests from several clients.
type flow struct {
	ended   chan struct{}
	clients sync.WaitGroup
	mu      sync.Mutex
	tally   tally // guarded by mu
}

// tally counts the answers of a flow.
type tally struct {
	answers map[int]int // by status
	prompt  int         // of them, within promptly
	slowest time.Duration
}

// promptly is how soon a request is answered from a stale record: after a wait of 250 ms for
// the store.
const promptly = 300 * time.Millisecond

func (t tally) count() (n int) {
	for _, answers := range t.answers {
		n += answers
	}
	return n
}

func (t tally) String() string {
	return fmt.Sprintf("answers %v, %d of %d within %s, the slowest after %s", t.answers, t.prompt, t.count(), promptly, t.slowest.Round(time.Millisecond))
}

// pace is the time between two requests of one client of a flow.
const pace = 10 * time.Millisecond

// startFlow sends requests, each with a pair from next, and calls done when it is answered.
// next must be safe for concurrent use.
func startFlow(w *testEnv, g gateway, clients int, next func() (p pair, done func())) *flow {
	f := &flow{ended: make(chan struct{}), tally: tally{answers: map[int]int{}}}
	for range clients {
		f.clients.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			ticks := time.NewTicker(pace)
			defer ticks.Stop()
			for {
				select {
				case <-f.ended:
					return
				case <-ticks.C:
				}
				p, done := next()
				began := time.Now()
				a := w.fetch(client, g.URL(), http.MethodGet, "/", p.header(), "")
				done()
				f.add(a, time.Since(began))
			}
		})
	}
	return f
}

func (f *flow) add(a answer, took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tally.answers[a.Status]++
	f.tally.slowest = max(f.tally.slowest, took)
	if took <= promptly {
		f.tally.prompt++
	}
}

// await returns after n more answers.
func (f *flow) await(t *testing.T, n int) {
	t.Helper()
	count := func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.tally.count()
	}
	before := count()
	program.Eventually(t, "requests are answered", func() bool { return count() >= before+n })
}

func (f *flow) stop() tally {
	close(f.ended)
	f.clients.Wait()
	return f.tally
}

// all200 requires that every answer was a 200 and none came after the lookup
// deadline, and reports the figures.
func (t tally) all200(tb testing.TB, whose string) {
	tb.Helper()
	if t.answers[200] == 0 || len(t.answers) != 1 {
		tb.Errorf("%s: %v, want 200 only", whose, t)
	}
	t.inTime(tb, whose)
	tb.Logf("%s: %v", whose, t)
}

// stale200 is all200 for answers that need not wait for the store: of 100, 95
// came promptly.
func (t tally) stale200(tb testing.TB, whose string) {
	tb.Helper()
	t.all200(tb, whose)
	if 100*t.prompt < 95*t.count() {
		tb.Errorf("%s: %d of %d answers within %s, want 95 of 100", whose, t.prompt, t.count(), promptly)
	}
}

// latest is the lookup deadline of 2 s, and what a busy machine adds.
const latest = 3500 * time.Millisecond

func (t tally) inTime(tb testing.TB, whose string) {
	tb.Helper()
	if t.slowest > latest {
		tb.Errorf("%s: an answer took %s", whose, t.slowest)
	}
}

// inTurn gives out pairs, one after the other, again and again.
func inTurn(pairs ...pair) func() (pair, func()) {
	var given atomic.Int64
	return func() (pair, func()) { return pairs[int(given.Add(1))%len(pairs)], func() {} }
}

// behindProxy starts a proxy in front of the environment's Vault. config is a plugin
// configuration that goes through it.
func (w *testEnv) behindProxy(settings object) (proxy *faults.Proxy, config object) {
	w.Helper()
	proxy, err := faults.Listen(w.vault.Addr)
	w.must(err)
	w.Cleanup(func() {
		if err := proxy.Close(); err != nil {
			w.Error(err)
		}
	})
	hcv := w.hcv(settings)
	hcv["port"] = portOf(proxy.URL)
	return proxy, object{"hcv": hcv}
}

// credentials stores n new pairs of alice's.
func (w *testEnv) credentials(n int) []pair {
	w.Helper()
	pairs := make([]pair, n)
	for i := range pairs {
		pairs[i] = w.credential(nil)
	}
	return pairs
}

// ask sends a request with a pair. Others may be under way.
func (w *testEnv) ask(g gateway, p pair) answer {
	return w.fetch(http.DefaultClient, g.URL(), http.MethodGet, "/", p.header(), "")
}

// warm has each pair read once.
func (w *testEnv) warm(g gateway, pairs []pair) {
	w.Helper()
	for _, p := range pairs {
		if a := w.ask(g, p); a.Status != 200 {
			w.Fatalf("before: %d %s", a.Status, a.Body)
		}
	}
}

// together sends n requests at once, with these pairs in turn, and counts the answers by status.
func (w *testEnv) together(g gateway, n int, pairs ...pair) map[int]int {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var ready, done sync.WaitGroup
	ready.Add(n)
	statuses := make([]int, n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			statuses[i] = w.fetch(client, g.URL(), http.MethodGet, "/", pairs[i%len(pairs)].header(), "").Status
		})
	}
	done.Wait()
	counts := map[int]int{}
	for _, status := range statuses {
		counts[status]++
	}
	return counts
}
