package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"kong-vault-auth/control"
	"kong-vault-auth/credential"
	"kong-vault-auth/e2e/echo"
	"kong-vault-auth/e2e/faults"
	"kong-vault-auth/e2e/program"
)

// controlled is a gateway whose plugin server keeps credentials in memory for an hour, and in a
// snapshot, and has a control socket.
type controlled struct {
	*snapshotted
	control *control.Client
}

func newControlled(t *testing.T) *controlled {
	w := newEnv(t)
	proxy, _ := w.behindProxy(nil)
	c := &controlled{snapshotted: &snapshotted{
		testEnv: w, store: proxy, known: w.credentials(3), doomed: w.credential(nil), unread: w.credential(nil),
		file: filepath.Join(t.TempDir(), "snapshot"), key: filepath.Join(t.TempDir(), "key"),
	}}
	c.newKey()
	c.g = w.startUnderWatch(w.guarded("/", object{"vault": "hcv"}), append(
		w.node(object{"port": portOf(proxy.URL), "ttl": 3600, "snapshot_file": c.file, "snapshot_key_file": c.key}),
		"VAULT_AUTH_BLOCKS_FILE="+filepath.Join(t.TempDir(), "blocks"), "VAULT_AUTH_EVENTS_KEY_FILE="+c.key,
	), &[]string{w.token, c.doomed.access, c.doomed.secret})
	c.control = control.NewClient(control.Beside(c.g.Socket()))
	w.warm(c.g, append(c.known, c.doomed))
	return c
}

// changed tells the plugin server that a credential has changed, as a command does.
func (c *controlled) changed(p pair) {
	c.Helper()
	reach, err := c.control.Changed(c.Context(), "hcv", p.access)
	if err != nil || !reach.Here {
		c.Fatalf("%v, %v", reach, err)
	}
}

// TestWhatWasChangedIsInForceWhenTheNodeHasBeenTold: with the next request, although the ttl is
// an hour.
func TestWhatWasChangedIsInForceWhenTheNodeHasBeenTold(t *testing.T) {
	t.Parallel()
	c := newControlled(t)
	f := startFlow(c.testEnv, c.g, 3, inTurn(c.known...))

	c.must(c.vault.Delete(t.Context(), c.kv, c.doomed.access))
	if a := c.ask(c.g, c.doomed); a.Status != 200 {
		t.Fatalf("it isn't cached: %d %s", a.Status, a.Body)
	}
	c.changed(c.doomed)
	if a := c.ask(c.g, c.doomed); a.Status != 401 {
		t.Errorf("revoked: %d %s", a.Status, a.Body)
	}

	rotated := pair{c.doomed.access, "another-secret-" + c.doomed.secret}
	c.put(rotated, nil)
	c.changed(rotated)
	if a := c.ask(c.g, rotated); a.Status != 200 {
		t.Errorf("created again: %d %s", a.Status, a.Body)
	}
	if a := c.ask(c.g, c.doomed); a.Status != 401 {
		t.Errorf("its earlier secret token: %d %s", a.Status, a.Body)
	}
	f.stop().all200(t, "the others")
}

// TestWhatWasRevokedIsNotBroughtBackByASnapshot: the process is killed as soon as it has
// confirmed that it has dropped the credential, and the next one can't reach the store.
func TestWhatWasRevokedIsNotBroughtBackByASnapshot(t *testing.T) {
	t.Parallel()
	c := newControlled(t)
	program.Eventually(t, "there is a snapshot", func() bool {
		_, err := os.Stat(c.file)
		return err == nil
	})
	c.must(c.vault.Delete(t.Context(), c.kv, c.doomed.access))
	c.changed(c.doomed)
	c.must(c.store.Set(faults.ClosedPort()))
	c.kill()
	program.Eventually(t, "a known pair is accepted", func() bool { return c.ask(c.g, c.known[0]).Status == 200 })
	if a := c.ask(c.g, c.doomed); a.Status != 503 {
		t.Errorf("the revoked pair: %d %s", a.Status, a.Body)
	}
	c.back()
}

// TestStatusTellsOfAnOutage over the control socket.
func TestStatusTellsOfAnOutage(t *testing.T) {
	t.Parallel()
	c := newControlled(t)
	status := func() string {
		all, err := c.control.Status(t.Context())
		c.must(err)
		if len(all) != 1 {
			t.Fatalf("%+v", all)
		}
		return fmt.Sprint(all[0].Object, " ", all[0].State, ", error: ", all[0].Error != "", ", held: ", !all[0].HoldUntil.IsZero())
	}
	if got := status(); got != "hcv answering, error: false, held: false" {
		t.Error(got)
	}
	c.must(c.store.Set(faults.ClosedPort()))
	if a := c.ask(c.g, c.unread); a.Status != 503 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if got := status(); got != "hcv failing, error: true, held: true" {
		t.Error(got)
	}
}

// TestFingerprintOfTheUpstreamIsEnough to have a credential dropped.
func TestFingerprintOfTheUpstreamIsEnough(t *testing.T) {
	t.Parallel()
	c := newControlled(t)
	var seen echo.Request
	c.must(json.Unmarshal([]byte(c.ask(c.g, c.doomed).Body), &seen))
	fingerprint := credential.Fingerprint(seen.Header.Get("X-Credential-Identifier"))
	c.must(c.vault.Delete(t.Context(), c.kv, c.doomed.access))
	if reach, err := c.control.ChangedFingerprint(t.Context(), "hcv", fingerprint); err != nil || reach.Dropped != 1 {
		t.Errorf("%v, %v", reach, err)
	}
	if a := c.ask(c.g, c.doomed); a.Status != 401 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// TestWhatIsBlockedIsRefusedWhileTheStoreIsDown, and by the next plugin server too.
func TestWhatIsBlockedIsRefusedWhileTheStoreIsDown(t *testing.T) {
	t.Parallel()
	c := newControlled(t)
	program.Eventually(t, "there is a snapshot", func() bool {
		_, err := os.Stat(c.file)
		return err == nil
	})
	c.must(c.store.Set(faults.ClosedPort()))
	block := func(q control.BlockRequest) {
		if reach, err := c.control.Block(t.Context(), q); err != nil || !reach.Here {
			t.Errorf("%v, %v", reach, err)
		}
	}
	block(control.BlockRequest{AccessToken: c.doomed.access})
	if a := c.ask(c.g, c.doomed); a.Status != 401 || a.Message != "Unauthorized" {
		t.Errorf("blocked: %d %s", a.Status, a.Body)
	}
	c.kill()
	program.Eventually(t, "a known pair is accepted", func() bool { return c.ask(c.g, c.known[0]).Status == 200 })
	if a := c.ask(c.g, c.doomed); a.Status != 401 {
		t.Errorf("blocked, after a crash: %d %s", a.Status, a.Body)
	}
	block(control.BlockRequest{AccessToken: c.doomed.access, Lift: true})
	if a := c.ask(c.g, c.doomed); a.Status != 200 {
		t.Errorf("no longer blocked: %d %s", a.Status, a.Body)
	}
	block(control.BlockRequest{Consumer: "alice"})
	if a := c.ask(c.g, c.known[0]); a.Status != 401 {
		t.Errorf("a consumer that is blocked: %d %s", a.Status, a.Body)
	}
}
