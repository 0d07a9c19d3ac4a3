package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"kong-vault-auth/e2e/vaultserver"
)

var unavailable = refusal{Status: 503, Message: "Service unavailable", Retry: true, Type: jsonType}

// TestOutageOfVaultIsSurvived: what was read keeps working, long past its ttl;
// what was not is answered 503, not 401; and afterwards all is as before.
func TestOutageOfVaultIsSurvived(t *testing.T) {
	outages := []struct {
		name       string
		begin, end func(context.Context, *vaultserver.Server) error
	}{
		{
			"stopped",
			func(_ context.Context, v *vaultserver.Server) error { return v.Stop() },
			func(ctx context.Context, v *vaultserver.Server) error { return v.Restart(ctx) },
		},
		{
			"sealed",
			func(ctx context.Context, v *vaultserver.Server) error { return v.Seal(ctx) },
			func(ctx context.Context, v *vaultserver.Server) error { return v.Unseal(ctx) },
		},
	}
	for _, outage := range outages {
		t.Run(outage.name, func(t *testing.T) {
			vault := ownVault(t)
			w := newEnvOn(t, vault, vaultserver.KV{Mount: "secret", Version: 2, Path: "kong-auth"})
			known, unread := w.credential(nil), w.credential(nil)
			g := w.start(w.guarded("/", object{"hcv": w.hcv(object{"ttl": 0.01})}))
			if a := w.get(g, "/", known.header()); a.Status != 200 {
				t.Fatalf("before: %d %s", a.Status, a.Body)
			}

			w.must(outage.begin(t.Context(), vault))
			for range 100 {
				if a := w.get(g, "/", known.header()); a.Status != 200 {
					t.Fatalf("known pair: %d %s", a.Status, a.Body)
				}
			}
			if a := w.get(g, "/", pair{known.access, "wrong"}.header()); a.Status == 200 {
				t.Errorf("wrong secret token: %d", a.Status)
			}
			for range 3 {
				if diff := cmp.Diff(unavailable, refused(w.get(g, "/", unread.header()))); diff != "" {
					t.Errorf("pair that was never read (-want +got):\n%s", diff)
				}
			}
			if log := g.Log(); strings.Contains(log, known.access) || strings.Contains(log, w.token) {
				t.Error("a token is in the error log")
			}

			w.must(outage.end(t.Context(), vault))
			eventually(t, "Vault's answers count again", func() bool { return w.get(g, "/", unread.header()).Status == 200 })
			if a := w.get(g, "/", newPair().header()); a.Status != 401 {
				t.Errorf("afterwards, an unknown pair: %d %s", a.Status, a.Body)
			}
		})
	}
}

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

// TestDeletedConsumerIsRefused: within the 10 s that a consumer is kept for.
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
	eventually(t, "alice is refused", func() bool {
		if b := status(bobs); b != 200 {
			t.Fatalf("bob is answered %d", b)
		}
		return status(alices) == 401
	})
}
