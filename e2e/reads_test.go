package e2e

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/e2e/program"
)

func TestThousandRequestsForANewTokenAreOneRead(t *testing.T) {
	w := newEnv(t)
	p := w.credential(nil)
	g := w.start(w.guarded("/", nil))
	if diff := cmp.Diff(map[int]int{200: 1000}, w.together(g, 1000, p)); diff != "" {
		t.Fatalf("answers (-want +got):\n%s", diff)
	}
	if n := w.reads(p.access); n != 1 {
		t.Errorf("Vault was read %d times", n)
	}
}

func TestRoutesShareWhatWasRead(t *testing.T) {
	w := newEnv(t)
	p := w.credential(nil)
	g := w.start(
		w.guarded("/a", nil),
		w.guarded("/b", object{"hcv": w.hcv(object{"ttl": 30}), "tokens_in_query": false}),
	)
	for _, path := range []string{"/a", "/b", "/a"} {
		if a := w.get(g, path, p.header()); a.Status != 200 {
			t.Fatalf("%s: %d %s", path, a.Status, a.Body)
		}
	}
	w.must(g.Configure(w.declare(consumers(), w.guarded("/c", object{"hcv": w.hcv(object{"ttl": 20})}))))
	program.Eventually(t, "the new configuration is there", func() bool { return w.get(g, "/c", nil).Status == 401 })
	if a := w.get(g, "/c", p.header()); a.Status != 200 {
		t.Fatalf("/c: %d %s", a.Status, a.Body)
	}
	if n := w.reads(p.access); n != 1 {
		t.Errorf("Vault was read %d times", n)
	}
}

func TestUnknownTokensAreReadOnceInNegTTL(t *testing.T) {
	w := newEnv(t)
	p := newPair()
	g := w.start(w.guarded("/", object{"hcv": w.hcv(object{"neg_ttl": 3600})}))
	for range 5 {
		if a := w.get(g, "/", p.header()); a.Status != 401 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	if n := w.reads(p.access); n != 1 {
		t.Errorf("Vault was read %d times", n)
	}
}
