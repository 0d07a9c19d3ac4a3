package e2e

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
	"time"

	"kong-vault-auth/control"
	"kong-vault-auth/e2e/program"
)

// TestRevokedOnOneNodeIsRefusedOnTheOthers under load: three gateways with a plugin
// server each, whose ttl is an hour, and a real Redis.
func TestRevokedOnOneNodeIsRefusedOnTheOthers(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	redis, server := program.Redis(t)
	key := filepath.Join(t.TempDir(), "key")
	w.must(os.WriteFile(key, []byte(hex.EncodeToString(make([]byte, 32))), 0o600))
	known, doomed, later, blocked := w.credentials(3), w.credential(nil), w.credential(nil), w.credential(nil)
	var gateways []gateway
	var nodes []*control.Client
	var flows []*flow
	// The last one keeps its blocks in memory: it confirms a block, so it must have it.
	for _, blocks := range []string{filepath.Join(t.TempDir(), "blocks"), filepath.Join(t.TempDir(), "blocks"), ""} {
		g := w.startUnderWatch(w.guarded("/", object{"vault": "hcv"}), append(w.node(object{"ttl": 3600}),
			"VAULT_AUTH_BLOCKS_FILE="+blocks, "VAULT_AUTH_EVENTS_KEY_FILE="+key, "VAULT_AUTH_EVENTS=redis://"+redis,
		), &[]string{w.token, doomed.access, doomed.secret})
		w.warm(g, append(known, doomed, later, blocked))
		gateways, nodes = append(gateways, g), append(nodes, control.NewClient(control.Beside(g.Socket())))
		flows = append(flows, startFlow(w, g, 2, inTurn(known...)))
	}
	all := func(what string, p pair, want int) {
		t.Helper()
		for i, g := range gateways {
			if a := w.ask(g, p); a.Status != want {
				t.Errorf("%s, node %d: %d %s", what, i, a.Status, a.Body)
			}
		}
	}
	program.Eventually(t, "the nodes hear of each other", func() bool {
		reach, err := nodes[0].Changed(t.Context(), "hcv", "nobody")
		return err == nil && reach.Others != nil && reach.Others.Applied == 2
	})

	w.must(w.vault.Delete(t.Context(), w.kv, doomed.access))
	all("revoked, before any node is told", doomed, 200)
	reach, err := nodes[0].Changed(t.Context(), "hcv", doomed.access)
	if err != nil || reach.Others.Applied != 2 || reach.Dropped != 1 {
		t.Fatalf("%v, %v", reach, err)
	}
	all("revoked", doomed, 401)

	if reach, err := nodes[1].Block(t.Context(), control.BlockRequest{AccessToken: blocked.access}); err != nil || reach.Others.Applied != 2 {
		t.Errorf("%v, %v", reach, err)
	}
	all("blocked", blocked, 401)

	// Without Redis a change is in force on this node, and the answer says that it isn't on the
	// others.
	server.Kill()
	w.must(w.vault.Delete(t.Context(), w.kv, later.access))
	program.Eventually(t, "the node knows that it is alone", func() bool {
		began := time.Now()
		reach, err = nodes[2].Changed(t.Context(), "hcv", later.access)
		return err == nil && !reach.Others.Connected && time.Since(began) < time.Minute
	})
	if a := w.ask(gateways[2], later); a.Status != 401 || reach.Within != 3600 {
		t.Errorf("revoked while Redis is down: %d %s, %v", a.Status, a.Body, reach)
	}
	for _, f := range flows {
		f.stop().all200(t, "the others")
	}
}
