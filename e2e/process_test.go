package e2e

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"kong-vault-auth/e2e/echo"
	"kong-vault-auth/e2e/program"
	"kong-vault-auth/e2e/vaultserver"
)

// load sends the same request again and again, from several clients, until it
// is stopped.
type load struct {
	stopping atomic.Bool
	clients  sync.WaitGroup
	mu       sync.Mutex
	answers  map[string]int // guarded by mu; by outcome
}

func startLoad(w *testEnv, g gateway, clients int, path string, header http.Header, outcome func(answer) string) *load {
	l := &load{answers: map[string]int{}}
	for range clients {
		l.clients.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for !l.stopping.Load() {
				what := outcome(w.fetch(client, g.URL(), http.MethodGet, path, header, ""))
				l.mu.Lock()
				l.answers[what]++
				l.mu.Unlock()
			}
		})
	}
	return l
}

// soFar counts the outcomes.
func (l *load) soFar() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.answers)
}

func (l *load) stop() map[string]int {
	l.stopping.Store(true)
	l.clients.Wait()
	return l.soFar()
}

// socket is the file at which Kong finds the plugin server.
func socket(t *testing.T, g gateway) os.FileInfo {
	t.Helper()
	info, err := os.Lstat(g.Socket())
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// succeeded is the outcome of a request that has to succeed.
func succeeded(a answer) string {
	if a.Status == 200 {
		return "ok"
	}
	return a.Body
}

// TestReloadsWithAStartCommandCostNoRequest: with each, another plugin server replaces the old
// one.
func TestReloadsWithAStartCommandCostNoRequest(t *testing.T) {
	w := newEnv(t)
	p := w.credential(nil)
	g := w.startBy(kong, w.guarded("/", nil))
	w.upstream.received()
	l := startLoad(w, g, 4, "/", p.header(), succeeded)
	for range 10 {
		before, old := l.soFar()["ok"], socket(t, g)
		w.must(g.Reload())
		program.Eventually(t, "a new plugin server has the socket, and requests are answered", func() bool {
			return !os.SameFile(old, socket(t, g)) && l.soFar()["ok"] > before+20
		})
	}
	got := l.stop()
	if len(got) != 1 {
		t.Errorf("answers under load: %v", got)
	}
	// Go's client repeats a GET whose connection breaks.
	if n := len(w.upstream.received()); n != got["ok"] {
		t.Errorf("%d answers under load, %d requests have reached the upstream", got["ok"], n)
	}
	// The old plugin servers leave one after the other, and must not take the
	// new one's socket with them.
	program.Eventually(t, "one plugin server is left", func() bool {
		if a := w.get(g, "/", p.header()); a.Status != 200 {
			t.Fatalf("idle: %d %s", a.Status, a.Body)
		}
		return len(pluginServers(t, g)) == 1
	})
	if a := w.get(g, "/", p.header()); a.Status != 200 {
		t.Errorf("at the end: %d %s", a.Status, a.Body)
	}
}

// consumerIn is the consumer in the upstream's answer.
func consumerIn(body string) string {
	var seen echo.Request
	if err := json.Unmarshal([]byte(body), &seen); err != nil {
		return err.Error()
	}
	return told(&seen).Username
}

// TestReloadsCostNothing where the plugin server runs apart: neither a request nor the cache.
func TestReloadsCostNothing(t *testing.T) {
	w := newEnv(t)
	p := w.credential(nil)
	g := w.start(w.guarded("/", object{"hcv": w.hcv(object{"ttl": 3600})}))
	server := g.Server().pid()
	l := startLoad(w, g, 4, "/", p.header(), succeeded)
	for range 3 {
		before := l.soFar()["ok"]
		w.must(g.Reload())
		program.Eventually(t, "requests are answered", func() bool { return l.soFar()["ok"] > before+500 })
	}
	if got := l.stop(); len(got) != 1 {
		t.Errorf("answers under load: %v", got)
	}
	if n := w.reads(p.access); n != 1 {
		t.Errorf("%d lookups, want 1", n)
	}
	if now := g.Server().pid(); now != server {
		t.Error("the plugin server was replaced")
	}
}

// TestUpgradesCostNoRequest, neither when the new plugin server takes over the path of the old
// one's socket, nor by a restart behind a socket that is passed on.
func TestUpgradesCostNoRequest(t *testing.T) {
	for by, upgrade := range map[supervisor]func(*pluginServer){
		apart:   (*pluginServer).upgrade,
		systemd: (*pluginServer).restart,
	} {
		t.Run(by.String(), func(t *testing.T) {
			w := newEnv(t)
			p := w.credential(nil)
			g := w.startBy(by, w.guarded("/", nil))
			l := startLoad(w, g, 16, "/", p.header(), succeeded)
			var longest time.Duration
			for range 3 {
				answered := func() {
					before := l.soFar()["ok"]
					program.Eventually(t, "requests are answered", func() bool { return l.soFar()["ok"] > before+500 })
				}
				answered()
				old, began := g.Server().pid(), time.Now()
				upgrade(g.Server())
				longest = max(longest, time.Since(began))
				answered()
				if g.Server().pid() == old {
					t.Error("the plugin server is the same")
				}
			}
			got := l.stop()
			t.Logf("%v; an upgrade took %s at most", got, longest.Round(time.Millisecond))
			if len(got) != 1 {
				t.Errorf("answers under load: %v", got)
			}
		})
	}
}

// TestRemovedSocketComesBack: new workers, which have no connection yet, find it.
func TestRemovedSocketComesBack(t *testing.T) {
	w := newEnv(t)
	p := w.credential(nil)
	g := w.start(w.guarded("/", nil))
	w.must(os.Remove(g.Socket()))
	w.must(g.Reload())
	program.Eventually(t, "requests are answered", func() bool { return w.get(g, "/", p.header()).Status == 200 })
}

// TestRoutesNeverAnswerForEachOther: after its plugin server was killed, Kong still uses the ids
// of instances that no longer exist.
func TestRoutesNeverAnswerForEachOther(t *testing.T) {
	for _, by := range []supervisor{apart, systemd, kong} {
		t.Run(by.String(), func(t *testing.T) { routesNeverAnswerForEachOther(t, by) })
	}
}

func routesNeverAnswerForEachOther(t *testing.T, by supervisor) {
	w := newEnv(t)
	v := newEnvOn(t, w.vault, vaultserver.KV{Mount: "secret", Version: 2, Path: "other-auth"})
	empty := newEnvOn(t, w.vault, vaultserver.KV{Mount: "secret", Version: 2, Path: "empty-auth"})
	p := newPair()
	w.put(p, nil)
	v.put(pair{p.access, "secret-of-the-other"}, object{"consumer": object{"id": bobID}})
	g := w.startBy(by, w.guarded("/alice", nil), v.guarded("/bob", nil), empty.guarded("/nobody", nil))

	// The upstream's answer tells whose request it was.
	caller := func(a answer) string {
		switch {
		case a.Status == 500:
			return "no plugin server"
		case a.Status == 200:
			return consumerIn(a.Body)
		}
		return a.Message
	}
	loads := map[string]*load{
		"alice":        startLoad(w, g, 2, "/alice", p.header(), caller),
		"bob":          startLoad(w, g, 2, "/bob", pair{p.access, "secret-of-the-other"}.header(), caller),
		"Unauthorized": startLoad(w, g, 1, "/nobody", p.header(), caller),
	}
	all := func(ok func(want string, got map[string]int) bool) bool {
		for want, l := range loads {
			if !ok(want, l.soFar()) {
				return false
			}
		}
		return true
	}
	program.Eventually(t, "all routes answer", func() bool {
		return all(func(want string, got map[string]int) bool { return got[want] > 10 })
	})
	for range 3 {
		pids := pluginServers(t, g)
		before := map[string]int{}
		for want, l := range loads {
			before[want] = l.soFar()[want]
		}
		for _, pid := range pids {
			w.must(syscall.Kill(pid, syscall.SIGKILL))
		}
		program.Eventually(t, "all routes answer again", func() bool {
			return all(func(want string, got map[string]int) bool { return got[want] > before[want]+10 })
		})
	}
	for want, l := range loads {
		got := l.stop()
		delete(got, "no plugin server")
		// When Kong runs the event of a request again that was in flight at a kill, the
		// tokens may have been removed already.
		delete(got, "No access token found in request")
		if len(got) != 1 || got[want] == 0 {
			t.Errorf("the route of %s has answered %v", want, got)
		}
	}
}

// TestAPluginServerWhoseWorkerCrashedLeaves: nobody sends it SIGTERM, and if it
// stayed, it would outlive Kong.
func TestAPluginServerWhoseWorkerCrashedLeaves(t *testing.T) {
	w := newEnv(t)
	p := w.credential(nil)
	g, ok := w.startBy(kong, w.guarded("/", nil)).(*simulated)
	if !ok {
		t.Skip("which of a genuine Kong's processes is worker 0 can't be told from outside: only kongtest crashes it")
	}
	if a := w.get(g, "/", p.header()); a.Status != 200 {
		t.Fatalf("before: %d %s", a.Status, a.Body)
	}
	orphans := g.CrashWorker()
	if len(orphans) == 0 {
		t.Fatal("there is no orphan")
	}
	program.Eventually(t, "the new worker's plugin server answers", func() bool { return w.get(g, "/", p.header()).Status == 200 })
	for _, o := range orphans {
		if o.Name != "vault-auth" {
			continue // the other test plugin stays, as go-pdk's server does
		}
		select {
		case <-o.Exited:
		case <-t.Context().Done():
			t.Fatal("the orphan is still there")
		}
	}
	if a := w.get(g, "/", p.header()); a.Status != 200 {
		t.Errorf("after the orphan has left: %d %s", a.Status, a.Body)
	}
}
