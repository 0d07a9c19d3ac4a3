package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/e2e/program"
)

var unavailable = refusal{Status: 503, Message: "Service unavailable", Retry: true, Type: jsonType}

func TestStoreThatCannotAnswerIsReported(t *testing.T) {
	w := newEnv(t)
	p := w.credential(nil)
	tests := []struct {
		name     string
		settings object
		logged   string // in the operator's line
	}{
		{"nothing listens", object{"port": 1}, "refused"},
		{"token that Vault doesn't know", object{"token": "not-a-token"}, "token"},
		{"mount that isn't there", object{"mount": "nothing-here", "kv": "v2"}, "nothing-here"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := w.in(t)
			g := w.start(w.guarded("/", object{"hcv": w.hcv(tt.settings)}))
			if diff := cmp.Diff(unavailable, refused(w.get(g, "/", p.header()))); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if !strings.Contains(g.Log(), tt.logged) {
				t.Errorf("the error log does not say %q", tt.logged)
			}
		})
	}
}

func TestVaultIsReadOverTLS(t *testing.T) {
	w := newEnv(t)
	p := w.credential(nil)
	secure := func(settings object) object {
		hcv := w.hcv(settings)
		hcv["protocol"] = "https"
		hcv["port"] = portOf(w.vault.TLSAddr)
		return object{"hcv": hcv}
	}
	g := w.start(
		w.guarded("/ca", secure(object{"ca_cert": string(w.vault.CA)})),
		w.guarded("/no-ca", secure(nil)),
		w.guarded("/unverified", secure(object{"ssl_verify": false})),
	)
	for path, want := range map[string]int{"/ca": 200, "/no-ca": 503, "/unverified": 200} {
		if a := w.get(g, path, p.header()); a.Status != want {
			t.Errorf("%s: %d %s, want %d", path, a.Status, a.Body, want)
		}
	}
}

// TestDeletedConsumerIsRefused within the 10 s for which a consumer is kept.
func TestDeletedConsumerIsRefused(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	alices, bobs := w.credential(nil), w.credential(object{"consumer": object{"id": bobID}})
	guarded := w.guarded("/", nil)
	g := w.start(guarded)
	status := func(p pair) int { return w.fetch(http.DefaultClient, g.URL(), "GET", "/", p.header(), "").Status }
	if a, b := status(alices), status(bobs); a != 200 || b != 200 {
		t.Fatalf("before: alice %d, bob %d", a, b)
	}
	w.must(g.Configure(w.declare(consumers()[1:], guarded)))
	program.Eventually(t, "alice is refused", func() bool {
		if b := status(bobs); b != 200 {
			t.Fatalf("bob is answered %d", b)
		}
		return status(alices) == 401
	})
}
