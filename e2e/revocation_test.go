package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/e2e/program"
	"kong-vault-auth/e2e/vaultserver"
)

// revocable are the settings of revocation tests: without listings, nothing would be noticed for
// an hour.
var revocable = object{"ttl": 3600, "revocation_interval": 2}

// revokedWithin is how soon a credential that is gone must be refused, with
// these settings.
const revokedWithin = 3 * time.Second

// refusedInTime revokes one of two pairs that are cached and fresh, and waits
// until it is refused.
func refusedInTime(t *testing.T, within time.Duration, ask func(pair) answer, gone, stays pair, revoke func()) {
	t.Helper()
	for _, p := range []pair{gone, stays} {
		if a := ask(p); a.Status != 200 {
			t.Fatalf("before: %d %s", a.Status, a.Body)
		}
	}
	began := time.Now()
	revoke()
	program.Eventually(t, "the revoked pair is refused", func() bool {
		if a := ask(stays); a.Status != 200 {
			t.Fatalf("the other pair: %d %s", a.Status, a.Body)
		}
		return ask(gone).Status == 401
	})
	took := time.Since(began)
	t.Logf("refused after %s", took.Round(time.Millisecond))
	if took > within {
		t.Errorf("refused after %s, want %s at most", took, within)
	}
	if a := ask(stays); a.Status != 200 {
		t.Errorf("afterwards, the other pair: %d %s", a.Status, a.Body)
	}
}

func TestCredentialDeletedFromVaultIsRefusedInSeconds(t *testing.T) {
	for name, tt := range map[string]struct {
		version int
		delete  func(vaultserver.KV) vaultserver.KV
	}{
		"KV v1": {1, func(kv vaultserver.KV) vaultserver.KV { return kv }},
		// Noticed since Vault 1.21.
		"KV v2, the latest version": {2, func(kv vaultserver.KV) vaultserver.KV { return kv }},
		"KV v2, all of it": {2, func(kv vaultserver.KV) vaultserver.KV {
			return vaultserver.KV{Mount: kv.Mount + "/metadata", Version: 1, Path: kv.Path}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vault := ownVault(t)
			kv := vaultserver.KV{Mount: "credentials", Version: tt.version, Path: "kong-auth"}
			if err := vault.MountKV(t.Context(), kv); err != nil {
				t.Fatal(err)
			}
			w := newEnvOn(t, vault, kv)
			w.mayList()
			gone, stays := w.credential(nil), w.credential(nil)
			g := w.start(w.guarded("/", object{"hcv": w.hcv(revocable)}))
			ask := func(p pair) answer { return w.get(g, "/", p.header()) }
			refusedInTime(t, revokedWithin, ask, gone, stays, func() { w.must(vault.Delete(t.Context(), tt.delete(kv), gone.access)) })
			if n := w.reads(stays.access); n != 1 {
				t.Errorf("the other pair was read %d times", n)
			}
		})
	}
}

// mayList gives the plugin a token that may read the credentials and list them.
func (w *testEnv) mayList() {
	w.Helper()
	rules := fmt.Sprintf("path %q {\n  capabilities = [\"read\"]\n}\npath %q {\n  capabilities = [\"list\"]\n}\n", w.kv.Secret("*"), folder(w.kv))
	name := "list-" + w.kv.Mount
	w.must(w.vault.PutPolicy(w.Context(), name, rules))
	var err error
	w.token, err = w.vault.TokenWith(w.Context(), name, time.Hour)
	w.must(err)
}

// folder is the path of a listing.
func folder(kv vaultserver.KV) string {
	if kv.Version == 2 {
		return kv.Mount + "/metadata/" + kv.Path
	}
	return kv.Mount + "/" + kv.Path
}

// TestRevocationWaitsForThePermissionToList: without it nothing is dropped, and the log says
// what is missing.
func TestRevocationWaitsForThePermissionToList(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	p := w.credential(nil)
	g := w.start(w.guarded("/", object{"hcv": w.hcv(revocable)}))
	const missing = `lacks the capability list on it, which revocation_interval needs (add to one of its policies: path \"secret/metadata/kong-auth\"`
	program.Eventually(t, "the log has the policy that is missing", func() bool {
		if a := w.get(g, "/", p.header()); a.Status != 200 { // lines of the background ride on requests
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		return strings.Contains(g.Log(), missing)
	})
}

func TestCredentialRevokedInKeyVaultIsRefusedInSeconds(t *testing.T) {
	for name, revoke := range map[string]func(*azure, pair){
		"deleted": func(a *azure, p pair) { a.sim.Delete(secretName(p.access)) },
		"disabled": func(a *azure, p pair) {
			a.sim.Change(secretName(p.access), "", azsecrets.SecretAttributes{Enabled: to.Ptr(false)})
		},
		"rotated": func(a *azure, p pair) { a.put(pair{p.access, "another"}, updatedAt(time.Now().Add(time.Minute))) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAzure(t)
			a.app(func(app *akvsim.App) { app.May = akvsim.Get | akvsim.List })
			gone, stays := a.credential(nil), a.credential(nil)
			g := a.guard(thePlugin, byClientSecret(revocable))
			within := revokedWithin
			if name == "rotated" {
				within += time.Second // for one more look at the store, before an old secret token is wrong
			}
			refusedInTime(t, within, func(p pair) answer { return a.ask(g, p) }, gone, stays, func() { revoke(a, gone) })
			if n := a.reads(stays); n > 2 {
				t.Errorf("the other pair was read %d times", n)
			}
		})
	}
}

// updatedAt makes visible that a secret changed again within a second: Key Vault's times are
// whole seconds.
func updatedAt(at time.Time) *azsecrets.SecretAttributes {
	return &azsecrets.SecretAttributes{Updated: &at}
}

// TestMassRevocationThatIsMeantIsThrough: the plugin doesn't believe at once that most of its
// records are gone, and must still find it out.
func TestMassRevocationThatIsMeantIsThrough(t *testing.T) {
	const n, parallel = 1500, 16
	w := newEnv(t)
	all := make([]pair, n)
	each := func(do func(i int)) {
		var workers sync.WaitGroup
		for first := range parallel {
			workers.Go(func() {
				for i := first; i < n; i += parallel {
					do(i)
				}
			})
		}
		workers.Wait()
	}
	each(func(i int) { all[i] = w.credential(nil) })
	// All requests come from one address. Without neg_ttl, repeated requests would use up its
	// share of lookups that find nothing.
	g := w.start(w.guarded("/", object{"hcv": w.hcv(object{"ttl": 1, "neg_ttl": 60})}))
	count := func() map[int]int {
		var mu sync.Mutex
		answers := map[int]int{}
		each(func(i int) {
			status := w.ask(g, all[i]).Status
			mu.Lock()
			defer mu.Unlock()
			answers[status]++
		})
		return answers
	}
	if got := count(); got[200] != n {
		t.Fatalf("before: %v", got)
	}

	each(func(i int) { w.must(w.vault.Delete(t.Context(), w.kv, all[i].access)) })
	began, rounds := time.Now(), []string{}
	program.Eventually(t, "all are refused", func() bool {
		got := count()
		rounds = append(rounds, fmt.Sprint(got))
		return got[401] == n
	})
	t.Logf("%d revoked at once, through after %s; answers round by round: %v", n, time.Since(began).Round(time.Millisecond), rounds)
}
