package e2e

import "testing"

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
	eventually(t, "the new worker's plugin server answers", func() bool { return w.get(g, "/", p.header()).Status == 200 })
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
