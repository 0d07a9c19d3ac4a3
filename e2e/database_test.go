package e2e

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"kong-vault-auth/e2e/program"
)

// startWithStatus starts a gateway whose Status API the plugin asks.
func (w *testEnv) startWithStatus(consumers []object, routes ...route) gateway {
	w.Helper()
	addr, err := program.FreeAddr()
	w.must(err)
	url := "http://" + addr // that of a genuine Kong
	var simulation atomic.Pointer[simulated]
	if genuineKong == "" {
		s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if g := simulation.Load(); g != nil {
				g.StatusAPI().ServeHTTP(rw, r)
			}
		}))
		w.Cleanup(s.Close)
		url = s.URL
	}
	g := start(w.T, w.declare(consumers, routes...), "KONG_STATUS_LISTEN="+addr, "VAULT_AUTH_KONG_STATUS="+url)
	if s, ok := g.(*simulated); ok {
		simulation.Store(s)
	}
	return g
}

// TestOutageOfKongsDatabaseIsSurvived: known consumers are accepted, also when it is time to
// read them again; for an unknown one the answer is 503, not 401.
func TestOutageOfKongsDatabaseIsSurvived(t *testing.T) {
	if genuineKong != "" {
		t.Skip("a genuine Kong without a database has none to lose")
	}
	for name, tt := range map[string]struct {
		open func(*testEnv, ...route) gateway
		says string
	}{
		"with the Status API": {func(w *testEnv, routes ...route) gateway {
			return w.startWithStatus(consumers(), routes...)
		}, "the Status API says that Kong can't reach its database"},
		"without it": {func(w *testEnv, routes ...route) gateway {
			return start(w.T, w.declare(consumers(), routes...), "VAULT_AUTH_KONG_STATUS=off")
		}, "the Status API of Kong is not asked"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newEnv(t)
			known := []pair{w.credential(nil), w.credential(object{"consumer": object{"id": bobID}})}
			unknown := w.credential(object{"consumer": object{"id": carolID}})
			g := tt.open(w, w.guarded("/", nil)).(*simulated)
			w.warm(g, known)

			f := startFlow(w, g, 2, inTurn(known...))
			g.SetDatabaseDown(true)
			program.Eventually(t, "reading a known consumer again has failed", func() bool {
				return strings.Contains(g.Log(), "could not say whether a consumer exists")
			})
			if !strings.Contains(g.Log(), tt.says) {
				t.Errorf("it doesn't say %q", tt.says)
			}
			if a := w.ask(g, unknown); a.Status != 503 {
				t.Errorf("consumer that was never read: %d %s", a.Status, a.Body)
			}
			f.await(t, 200)
			g.SetDatabaseDown(false)
			program.Eventually(t, "the consumer that was never read is found", func() bool { return w.ask(g, unknown).Status == 200 })
			f.stop().all200(t, "known consumers")
		})
	}
}

// TestOnlyConsumerEverSeenIsRefusedOnceDeleted, although the plugin has never seen another one.
func TestOnlyConsumerEverSeenIsRefusedOnceDeleted(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	alice := w.credential(nil)
	routes := w.guarded("/", nil)
	g := w.startWithStatus(consumers(), routes)
	w.warm(g, []pair{alice})
	w.must(g.Configure(w.declare(consumers()[1:], routes)))
	program.Eventually(t, "alice is refused", func() bool { return w.ask(g, alice).Status == 401 })
	if !strings.Contains(g.Log(), "names a consumer that does not exist in Kong, or no longer") {
		t.Errorf("log: %s", g.Log())
	}
	if a := w.ask(g, w.credential(object{"consumer": object{"id": bobID}})); a.Status != 200 {
		t.Errorf("bob: %d %s", a.Status, a.Body)
	}
}
