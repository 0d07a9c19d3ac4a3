package e2e

import (
	"strings"
	"testing"
)

// TestOutageOfKongsDatabaseIsSurvived: consumers that were known before are
// honoured, also when it is time to read them again; for one that was not, the
// answer is 503, not 401.
func TestOutageOfKongsDatabaseIsSurvived(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	known := []pair{w.credential(nil), w.credential(object{"consumer": object{"id": bobID}})}
	unknown := w.credential(object{"consumer": object{"id": carolID}})
	g, ok := w.start(w.guarded("/", nil)).(*simulated)
	if !ok {
		t.Skip("a genuine Kong without a database has none to lose")
	}
	w.warm(g, known)

	f := startFlow(w, g, 2, inTurn(known...))
	g.SetDatabaseDown(true)
	eventually(t, "a known consumer was read again, in vain", func() bool {
		return strings.Contains(g.Log(), "could not say whether a consumer exists")
	})
	if a := w.ask(g, unknown); a.Status != 503 {
		t.Errorf("consumer that was never read: %d %s", a.Status, a.Body)
	}
	f.await(t, 200)
	got := f.stop()
	g.SetDatabaseDown(false)
	got.all200(t, "known consumers")
	for _, p := range append(known, unknown) {
		if a := w.ask(g, p); a.Status != 200 {
			t.Errorf("afterwards: %d %s", a.Status, a.Body)
		}
	}
}
