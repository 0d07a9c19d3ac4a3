package vaultauth

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kong-vault-auth/blocklist"
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/pluginserver/servertest"
	"kong-vault-auth/vault"
)

// TestBlockedConsumersAreRefused by the id and the username that Kong knows, whichever
// of the two a record names.
func TestBlockedConsumersAreRefused(t *testing.T) {
	for _, blocked := range []string{aliceID, "alice"} {
		for _, pair := range [][2]string{{"alice-1", "s3cret"}, {"alice-2", "caf\xe9 =&%41"}} {
			dir := t.TempDir()
			key := filepath.Join(dir, "key")
			if err := os.WriteFile(key, []byte(strings.Repeat("0f", 32)), 0o600); err != nil {
				t.Fatal(err)
			}
			list := blocklist.Open(filepath.Join(dir, "blocks"), key, slog.New(slog.DiscardHandler))
			var p *Plugin
			s := servertest.Serve(t, func(log *slog.Logger) pluginserver.Plugin {
				p = newPlugin("test", log, func(string, vault.Config) (lookuper, func(), error) { return known, func() {}, nil })
				p.UseBlocks(list)
				return p.Plugin
			}, pluginserver.Options{})
			in := s.Start(t, `{"vault": "kong-auth"}`)
			ask := func() int {
				x := in.Access(t, get("/", "access_token: "+pair[0], "secret_token: "+pair[1]))
				if x.Exit == nil {
					return 200
				}
				if !strings.Contains(string(x.Exit.Body), `"Unauthorized"`) {
					t.Errorf("it is told apart from other refusals: %s", x.Exit.Body)
				}
				return x.Exit.Status
			}
			if got := ask(); got != 200 {
				t.Fatalf("before: %d", got)
			}
			e := blocklist.Entry{Target: blocklist.Target{Kind: blocklist.ByConsumer, Value: blocked}, At: time.Now()}
			if _, err := list.Add(e); err != nil {
				t.Fatal(err)
			}
			if got := ask(); got != 401 {
				t.Errorf("%s, %s: %d", blocked, pair[0], got)
			}
			for _, a := range p.Stats().Requests {
				if a.Answer == "401" && a.Reason == "blocked" && a.Count != 1 {
					t.Errorf("counted %d times", a.Count)
				}
			}
		}
	}
}
