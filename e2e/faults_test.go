package e2e

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/e2e/faults"
	"kong-vault-auth/e2e/program"
	"kong-vault-auth/e2e/vaultserver"
)

// outage is one way in which a store doesn't answer.
type outage struct {
	name       string
	stops      bool // it affects Vault itself, so it needs one of its own
	uncounted  bool // the proxy doesn't see the requests
	begin, end func(context.Context, *vaultserver.Server, *faults.Proxy) error
}

func outages() []outage {
	all := []outage{
		{
			name: "Vault stopped", stops: true,
			begin: func(_ context.Context, v *vaultserver.Server, _ *faults.Proxy) error { return v.Stop() },
			end:   func(ctx context.Context, v *vaultserver.Server, _ *faults.Proxy) error { return v.Restart(ctx) },
		},
		{
			name: "Vault sealed", stops: true,
			begin: func(ctx context.Context, v *vaultserver.Server, _ *faults.Proxy) error { return v.Seal(ctx) },
			end:   func(ctx context.Context, v *vaultserver.Server, _ *faults.Proxy) error { return v.Unseal(ctx) },
		},
	}
	for _, f := range faults.All() {
		all = append(all, outage{
			name: f.Name, uncounted: f.Name == faults.ClosedPort().Name,
			begin: func(_ context.Context, _ *vaultserver.Server, p *faults.Proxy) error { return p.Set(f) },
			end:   func(_ context.Context, _ *vaultserver.Server, p *faults.Proxy) error { return p.Clear() },
		})
	}
	return all
}

// TestEveryFaultOfTheStoreIsSurvived, see survives.
func TestEveryFaultOfTheStoreIsSurvived(t *testing.T) {
	for _, o := range outages() {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			vault := sharedVault
			if o.stops {
				vault = ownVault(t)
			}
			w := newEnvOn(t, vault, vaultserver.KongAuth)
			known, unread := w.credentials(10), w.credential(nil)
			proxy, config := w.behindProxy(object{"ttl": 0.2})
			g := w.start(w.guarded("/", config))
			w.warm(g, known)
			under := trial{
				begin:    func() { w.must(o.begin(t.Context(), vault, proxy)) },
				end:      func() { w.must(o.end(t.Context(), vault, proxy)) },
				requests: func() int { return len(proxy.Requests()) },
				attempts: 3,
			}
			if o.uncounted {
				under.requests = nil
			}
			w.survives(g, known, unread, under)
		})
	}
}

// TestPolicyTakenAwayLocksNobodyOut: a refusal of every name says nothing about any of them.
func TestPolicyTakenAwayLocksNobodyOut(t *testing.T) {
	kv := vaultserver.KV{Mount: "denied", Version: 2, Path: "kong-auth"}
	if err := sharedVault.MountKV(t.Context(), kv); err != nil {
		t.Fatal(err)
	}
	w := newEnvOn(t, sharedVault, kv)
	known, unread := w.credentials(10), w.credential(nil)
	proxy, config := w.behindProxy(object{"ttl": 0.2})
	g := w.start(w.guarded("/", config))
	w.warm(g, known)
	policy, err := w.vault.ReadPolicy(t.Context(), kv)
	w.must(err)
	w.survives(g, known, unread, trial{
		begin: func() { w.must(w.vault.PutPolicy(t.Context(), policy, "# nothing\n")) },
		end: func() {
			_, err := w.vault.ReadPolicy(t.Context(), kv)
			w.must(err)
		},
		requests: func() int { return len(proxy.Requests()) },
		attempts: 5, // it also asks for its own token, for the mounts, and for another name
	})
}

// trial is an outage of a store that the plugin has to survive.
type trial struct {
	begin, end func()
	requests   func() int // that have reached the store so far; nil: they can't be counted
	attempts   int        // requests that one lookup makes at most
}

// survives requires that an outage harms nobody, under load: known pairs long past their ttl
// are accepted at once, from its first moment on; one that was never read is answered 503, not
// 401; a wrong secret token is never accepted; the store is probed, not flooded; and afterwards
// its answers count again. No token is logged. The pairs' ttl is far below a second.
func (w *testEnv) survives(g gateway, known []pair, unread pair, o trial) {
	w.Helper()
	knownFlow := startFlow(w, g, 3, inTurn(known...))
	o.begin()
	// It waits for a lookup, so the outage is noticed when it is answered.
	if diff := cmp.Diff(unavailable, refused(w.ask(g, unread))); diff != "" {
		w.Errorf("pair that was never read (-want +got):\n%s", diff)
	}
	if a := w.ask(g, pair{known[0].access, "wrong"}); a.Status == 200 {
		w.Error("a wrong secret token is accepted")
	}
	unreadFlow := startFlow(w, g, 1, inTurn(unread))
	<-time.After(retrying)
	const lasting = 2 * time.Second
	seen := "uncounted requests"
	if o.requests == nil {
		<-time.After(lasting)
	} else {
		before := o.requests()
		<-time.After(lasting)
		n := o.requests() - before
		if most := o.attempts * probesWithin(lasting); n > most {
			w.Errorf("%d requests have reached the store in %s, want at most %d", n, lasting, most)
		}
		seen = fmt.Sprintf("%d requests", n)
	}
	got := unreadFlow.stop()
	o.end()

	if got.answers[503] == 0 || len(got.answers) != 1 {
		w.Errorf("pair that was never read: %v, want 503 only", got)
	}
	got.inTime(w, "pair that was never read")
	program.Eventually(w.T, "the store's answers count again", func() bool { return w.ask(g, unread).Status == 200 })
	if a := w.ask(g, newPair()); a.Status != 401 {
		w.Errorf("afterwards, an unknown pair: %d %s", a.Status, a.Body)
	}
	program.Eventually(w.T, "the log says that the outage is over", func() bool { // its lines ride on requests
		return strings.Contains(g.Log(), "the secret store answers again")
	})
	knownFlow.stop().stale200(w, "known pairs")
	if log := g.Log(); strings.Contains(log, known[0].access) || strings.Contains(log, unread.access) || w.token != "" && strings.Contains(log, w.token) {
		w.Error("a token is in the error log")
	}
	w.Logf("a pair that was never read: %v; %s have reached the store in %s", got, seen, lasting)
}

// retrying is how long lookups that began before the outage was noticed may still try again.
const retrying = 400 * time.Millisecond

// probesWithin is how many probes of a failing store fit into a time if each is answered at
// once: the pauses between them begin with 250 ms and double up to 5 s, each shortened by up to
// a quarter.
func probesWithin(d time.Duration) int {
	n := 1
	for pause := 250 * time.Millisecond; d >= 0; pause = min(2*pause, 5*time.Second) {
		d -= pause * 3 / 4
		n++
	}
	return n
}

// TestNameThatDoesNotResolveIsAnOutage from the first request on. That of a Vault
// in use goes away in TestVaultWhoseNameGoesAwayIsSurvived.
func TestNameThatDoesNotResolveIsAnOutage(t *testing.T) {
	w := newEnv(t)
	p := w.credential(nil)
	g := w.start(w.guarded("/", object{"hcv": w.hcv(object{"host": "vault.invalid"})}))
	f := startFlow(w, g, 2, inTurn(p))
	program.Eventually(t, "the log names the remedy", func() bool { return strings.Contains(g.Log(), "check host") })
	got := f.stop()
	if got.answers[503] == 0 || len(got.answers) != 1 {
		t.Errorf("%v, want 503 only", got)
	}
	got.inTime(t, "name that doesn't resolve")
	t.Log(got)
}

// TestDeletedWhileStaleIsRefusedAtTheFirstAnswer of the store.
func TestDeletedWhileStaleIsRefusedAtTheFirstAnswer(t *testing.T) {
	w := newEnv(t)
	doomed, others := w.credential(nil), w.credentials(3)
	proxy, config := w.behindProxy(object{"ttl": 0.01})
	g := w.start(w.guarded("/", config))
	w.warm(g, append(others, doomed))

	w.must(proxy.Set(faults.Reset()))
	if a := w.ask(g, w.credential(nil)); a.Status != 503 {
		t.Fatalf("pair that was never read: %d %s", a.Status, a.Body)
	}
	w.must(w.vault.Delete(t.Context(), w.kv, doomed.access))
	for range 50 {
		if a := w.ask(g, doomed); a.Status != 200 {
			t.Fatalf("while the store fails: %d %s", a.Status, a.Body)
		}
	}
	proxy.Forget()
	w.must(proxy.Clear())
	answered := func(ok func(faults.Request) bool) (at time.Time) { // by Vault, the first time
		for _, r := range proxy.Requests() {
			if r.Status != 0 && ok(r) {
				return r.Answered
			}
		}
		return time.Time{}
	}
	denied := func(r faults.Request) bool { return strings.HasSuffix(r.Path, "/"+doomed.access) && r.Status == 404 }
	late := 0 // accepted although Vault had said that there is no such secret
	program.Eventually(t, "the deleted pair is refused", func() bool {
		was := !answered(denied).IsZero()
		a := w.ask(g, doomed)
		if was && a.Status == 200 {
			late++
		}
		return a.Status == 401
	})
	took := time.Since(answered(func(faults.Request) bool { return true }))
	if took > revokedWithin {
		t.Errorf("refused %s after the first successful probe, want %s at most", took, revokedWithin)
	}
	if late > 1 { // the answer may still have been on its way
		t.Errorf("accepted %d times after Vault's no", late)
	}
	for range 50 {
		if a := w.ask(g, doomed); a.Status != 401 {
			t.Fatalf("once refused: %d %s", a.Status, a.Body)
		}
	}
	w.must(proxy.Set(faults.Reset()))
	for range 50 {
		if a := w.ask(g, doomed); a.Status == 200 {
			t.Fatal("the next outage has brought it back")
		}
	}
	t.Logf("refused %s after the first successful probe; accepted %d times after Vault's no", took.Round(time.Millisecond), late)
}

// TestMountThatMovedLocksNobodyOut, as "vault secrets move" does it.
func TestMountThatMovedLocksNobodyOut(t *testing.T) {
	kv := vaultserver.KV{Mount: "moving", Version: 2, Path: "kong-auth"}
	if err := sharedVault.MountKV(t.Context(), kv); err != nil {
		t.Fatal(err)
	}
	w := newEnvOn(t, sharedVault, kv)
	known, unread := w.credentials(12), w.credential(nil)
	g := w.start(w.guarded("/", object{"hcv": w.hcv(object{"ttl": 0.1})}))
	w.warm(g, known)

	f := startFlow(w, g, 3, inTurn(known...))
	w.must(sharedVault.Remount(t.Context(), "moving", "moved"))
	for range 20 {
		if a := w.ask(g, unread); a.Status != 503 {
			t.Fatalf("pair that was never read: %d %s", a.Status, a.Body)
		}
	}
	w.must(sharedVault.Remount(t.Context(), "moved", "moving"))
	program.Eventually(t, "the mount is found again", func() bool { return w.ask(g, unread).Status == 200 })
	f.stop().all200(t, "known pairs")
}

// TestKilledPluginServerIsBackWithinASecond, and answers as before. Where its socket is passed
// on, only requests in flight are lost.
func TestKilledPluginServerIsBackWithinASecond(t *testing.T) {
	for _, by := range []supervisor{apart, systemd, kong} {
		t.Run(by.String(), func(t *testing.T) { killed(t, by) })
	}
}

func killed(t *testing.T, by supervisor) {
	const kills, clients = 3, 8
	w := newEnv(t)
	known := w.credentials(10)
	g := w.startBy(by, w.guarded("/", nil))
	w.warm(g, known)
	f := startFlow(w, g, clients, inTurn(known...))
	var longest time.Duration
	for range kills {
		f.await(t, 100)
		old := pluginServers(t, g)
		killed := time.Now()
		for _, pid := range old {
			w.must(syscall.Kill(pid, syscall.SIGKILL))
		}
		program.Eventually(t, "another plugin server answers", func() bool {
			now := pluginServers(t, g)
			return len(now) == 1 && now[0] != old[0] && w.ask(g, known[0]).Status == 200
		})
		longest = max(longest, time.Since(killed))
		for range 20 {
			if a := w.ask(g, known[1]); a.Status != 200 {
				t.Fatalf("back, but: %d %s", a.Status, a.Body)
			}
		}
	}
	got := f.stop()
	t.Logf("%v; back after %s at most", got, longest.Round(time.Millisecond))
	lost := got.answers[500] // Kong's own
	if by == systemd && lost > kills*clients {
		t.Errorf("%d requests are lost, want those in flight at most", lost)
	}
	delete(got.answers, 500)
	if len(got.answers) != 1 || got.answers[200] == 0 {
		t.Errorf("%v, want 200, and 500 while there is no plugin server", got)
	}
	if longest > backWithin {
		t.Errorf("back after %s, want %s at most", longest, backWithin)
	}
	got.inTime(t, "around the kills")
}
