package e2e

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kong-vault-auth/e2e/program"
	"kong-vault-auth/e2e/vaultserver"
	"kong-vault-auth/unixsocket"
	"kong-vault-auth/unixsocket/sockettest"
)

// scrape reads all metrics from the plugin server, empty while none listens.
func scrape(t *testing.T, socket string) string {
	t.Helper()
	resp, err := (&http.Client{Transport: unixsocket.Transport(socket)}).Get("http://plugin/metrics")
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("metrics: %d, %v", resp.StatusCode, err)
	}
	return string(body)
}

// tells waits for lines among the metrics, and returns all of them.
func tells(t *testing.T, socket string, lines ...string) (metrics string) {
	t.Helper()
	missing := func(line string) bool { return !strings.Contains(metrics, "\n"+line+"\n") }
	program.Eventually(t, "the metrics have "+strings.Join(lines, ", "), func() bool {
		metrics = scrape(t, socket)
		return !slices.ContainsFunc(lines, missing)
	})
	return metrics
}

func TestMetricsOfTheRunningPluginServer(t *testing.T) {
	kv := vaultserver.KV{Mount: "metered", Version: 1, Path: "kong-auth"}
	if err := sharedVault.MountKV(t.Context(), kv); err != nil {
		t.Fatal(err)
	}
	w := newEnvOn(t, sharedVault, kv)
	w.must(w.vault.PutPolicy(t.Context(), "metered", `path "metered/*" { capabilities = ["read", "list"] }`))
	var err error
	w.token, err = w.vault.TokenWith(t.Context(), "metered", time.Hour)
	w.must(err)

	socket := filepath.Join(sockettest.Dir(t), "metrics.socket")
	// Listings may use a tenth of one lookup a second: one page in 10 s.
	config := w.declare(consumers(), w.guarded("/", object{"hcv": w.hcv(object{"revocation_interval": 2, "max_lookups_per_second": 1})}))
	g := start(t, config, "KONG_NGINX_MAIN_ENV=VAULT_AUTH_METRICS_LISTEN", "VAULT_AUTH_METRICS_LISTEN=unix:"+socket)

	p := w.credential(nil)
	wrong := pair{p.access, newPair().secret}
	for _, tt := range []struct {
		pair   pair
		status int
	}{{p, 200}, {wrong, 401}} {
		if a := w.get(g, "/", tt.pair.header()); a.Status != tt.status {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	of := fmt.Sprintf(`store="1",vault="hcv at %s/metered/kong-auth"`, w.vault.Addr)
	metrics := tells(t, socket,
		`vault_auth_requests_total{answer="ok",reason=""} 1`,
		`vault_auth_requests_total{answer="401",reason="wrong_secret"} 1`,
		`vault_auth_cached_credentials{`+of+`} 1`,
		`vault_auth_cache_answers_total{answer="refused",`+of+`} 1`,
		`vault_auth_lookups_total{outcome="found",`+of+`} 2`, // the wrong secret was looked up, too
		`vault_auth_lookup_duration_seconds_count{`+of+`} 2`,
		`vault_auth_store_failing{`+of+`} 0`,
		`vault_auth_revocation_interval_seconds{`+of+`} 2`,
		`vault_auth_revocation_effective_interval_seconds{`+of+`} 10`,
		`vault_auth_revocation_listing_pages{`+of+`} 1`,
	)
	for _, secret := range []string{p.access, p.secret, wrong.secret, w.token} {
		if strings.Contains(metrics, secret) {
			t.Errorf("%s is in the metrics", secret)
		}
	}

	g.Server().upgrade()
	tells(t, socket, `vault_auth_requests_total{answer="ok",reason=""} 0`) // the new process
}
