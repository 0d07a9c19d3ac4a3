package e2e

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/e2e/faults"
	"kong-vault-auth/e2e/program"
)

// TestEveryFaultOfKeyVaultIsSurvived, see survives.
func TestEveryFaultOfKeyVaultIsSurvived(t *testing.T) {
	fails := func(f akvsim.Fault) func(*azure, *gate) {
		return func(a *azure, _ *gate) { a.sim.Fail(akvsim.KeyVault, f) }
	}
	for name, begin := range map[string]func(*azure, *gate){
		"no connection":         fails(akvsim.Fault{Drop: true}),
		"no answer":             fails(akvsim.Fault{Hang: true}),
		"answers after 30s":     func(_ *azure, g *gate) { g.set(faults.Late(30 * time.Second)) },
		"500":                   fails(akvsim.VaultError(500, "InternalServerError", "", "")),
		"503":                   fails(akvsim.Unavailable()),
		"throttled":             fails(akvsim.Throttled("")),
		"throttled for a while": fails(akvsim.Throttled("1")),
		"role taken away":       fails(akvsim.VaultError(403, "Forbidden", "ForbiddenByRbac", "")),
		"behind a firewall":     fails(akvsim.Firewall("203.0.113.7")),
		"proxy's empty 404":     fails(akvsim.Fault{Status: 404}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAzure(t)
			gate := &gate{store: a.sim}
			a.behind(gate)
			known, unread := make([]pair, 10), a.credential(nil)
			g := a.guard(thePlugin, byClientSecret(object{"ttl": 0.2}))
			for i := range known {
				known[i] = a.credential(nil)
			}
			a.hide(append(known, unread)...)
			a.warm(g, known)

			a.survives(g, known, unread, trial{
				begin: func() { begin(a, gate) },
				end: func() {
					a.sim.Recover()
					gate.set(faults.Fault{})
				},
				requests: gate.seen,
				attempts: 3,
			})
		})
	}
}

// TestThrottlingKeyVaultIsLeftAlone for as long as its Retry-After says, which clients get
// too.
func TestThrottlingKeyVaultIsLeftAlone(t *testing.T) {
	a := newAzure(t)
	known := a.credential(nil)
	g := a.guard(thePlugin, byClientSecret(object{"ttl": 0.01}))
	if got := a.ask(g, known); got.Status != 200 {
		t.Fatalf("before: %d %s", got.Status, got.Body)
	}
	a.sim.Fail(akvsim.KeyVault, akvsim.Throttled("50"))
	for range 20 {
		if got := a.ask(g, known); got.Status != 200 {
			t.Fatalf("known pair: %d %s", got.Status, got.Body)
		}
		got := a.ask(g, newPair())
		if seconds, err := strconv.Atoi(got.Header.Get("Retry-After")); got.Status != 503 || err != nil || seconds < 2 || seconds > 50 {
			t.Fatalf("unknown pair: %d, Retry-After: %s", got.Status, got.Header.Get("Retry-After"))
		}
	}
	throttled := func(r akvsim.Request) bool { return r.Status == http.StatusTooManyRequests }
	if n := len(a.sim.Requests(throttled)); n != 1 {
		t.Errorf("Key Vault was asked %d times", n)
	}
	a.logs(g, "[error]", "reason=rate_limited", "429", "raise ttl")
}

// TestOutageOfEntraIsSurvived while the access token is valid. Without a token, credentials
// can't be read until the outage ends.
func TestOutageOfEntraIsSurvived(t *testing.T) {
	for name, fault := range map[string]akvsim.Fault{
		"no connection": {Drop: true},
		"503":           akvsim.Unavailable(),
	} {
		t.Run(name, func(t *testing.T) {
			a := newAzure(t)
			a.sim.Fail(akvsim.Entra, fault)
			g := a.guard(thePlugin, byClientSecret(object{"ttl": 0.05}))
			p := a.credential(nil)
			if diff := cmp.Diff(unavailable, refused(a.ask(g, p))); diff != "" {
				t.Errorf("without a token (-want +got):\n%s", diff)
			}
			a.logs(g, "[error]", "login with client_secret", "login.microsoftonline.com")
			a.sim.Recover()
			program.Eventually(t, "the login succeeds", func() bool { return a.ask(g, p).Status == 200 })

			a.sim.Fail(akvsim.Entra, fault)
			f := startFlow(a.testEnv, g, 2, inTurn(p))
			f.await(t, 200) // read again and again
			f.stop().all200(t, "known pair")
			before := len(a.sim.Requests(nil))
			for range 3 {
				if got := a.ask(g, a.credential(nil)); got.Status != 200 {
					t.Errorf("with a token: %d %s", got.Status, got.Body)
				}
			}
			if n := len(a.sim.Requests(nil)) - before; n != 3 {
				t.Errorf("3 reads with a token made %d requests", n)
			}
		})
	}
}

func TestRevokedAccessTokenIsReplacedAtOnce(t *testing.T) {
	for name, claimsChallenge := range map[string]bool{"with a claims challenge": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			a := newAzure(t)
			g := a.guard(thePlugin, byClientSecret(nil))
			for range 2 {
				if got := a.ask(g, a.credential(nil)); got.Status != 200 {
					t.Errorf("%d %s", got.Status, got.Body)
				}
				a.sim.RevokeTokens(claimsChallenge)
			}
			if n := len(a.logins()); n != 2 {
				t.Errorf("%d logins", n)
			}
		})
	}
}

// TestThousandRequestsForANewTokenAreOneSecretRead: the simulator has logged that one request,
// and none to Entra.
func TestThousandRequestsForANewTokenAreOneSecretRead(t *testing.T) {
	a := newAzure(t)
	g := a.guard(thePlugin, byClientSecret(nil))
	if got := a.ask(g, a.credential(nil)); got.Status != 200 {
		t.Fatalf("before: %d %s", got.Status, got.Body)
	}
	p := a.credential(nil)
	before := len(a.sim.Requests(nil))
	if diff := cmp.Diff(map[int]int{200: 1000}, a.together(g, 1000, p)); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if n := len(a.sim.Requests(nil)) - before; n != 1 || a.reads(p) != 1 {
		t.Errorf("Azure was asked %d times, for the secret %d times", n, a.reads(p))
	}
}

// TestRefusedApplicationIsTrustedForAShorterTime than Azure is in an outage.
func TestRefusedApplicationIsTrustedForAShorterTime(t *testing.T) {
	a := newAzure(t)
	p := a.credential(nil)
	g := a.guard(thePlugin, byClientSecret(object{"ttl": 0.01, "resurrect_denied_ttl": 1}))
	if got := a.ask(g, p); got.Status != 200 {
		t.Fatalf("before: %d %s", got.Status, got.Body)
	}
	a.app(func(app *akvsim.App) { app.SecretExpired = true })
	a.sim.RevokeTokens(false)
	program.Eventually(t, "the cached pair is no longer accepted", func() bool { return a.ask(g, p).Status == 503 })
	a.logs(g, "[error]", "reason=login", "AADSTS7000222")
}
