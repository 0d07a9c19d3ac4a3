package e2e

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"kong-vault-auth/azurevault/akvsim"
)

// TestOutageOfKeyVaultIsSurvived: what was read keeps working, long past its
// ttl; what was not is answered 503, not 401; and afterwards all is as before.
func TestOutageOfKeyVaultIsSurvived(t *testing.T) {
	for name, fault := range map[string]akvsim.Fault{
		"no connection":         {Drop: true},
		"no answer":             {Hang: true},
		"503":                   akvsim.Unavailable(),
		"throttled":             akvsim.Throttled(""),
		"throttled for a while": akvsim.Throttled("1"),
		"role taken away":       akvsim.VaultError(403, "Forbidden", "ForbiddenByRbac", ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAzure(t)
			known, unread := a.credential(nil), a.credential(nil)
			g := a.guard(thePlugin, byClientSecret(object{"ttl": 0.01}))
			if got := a.ask(g, known); got.Status != 200 {
				t.Fatalf("before: %d %s", got.Status, got.Body)
			}

			a.sim.Fail(akvsim.KeyVault, fault)
			for range 20 {
				if got := a.ask(g, known); got.Status != 200 {
					t.Fatalf("known pair: %d %s", got.Status, got.Body)
				}
			}
			for range 3 {
				if diff := cmp.Diff(unavailable, refused(a.ask(g, unread))); diff != "" {
					t.Errorf("pair that was never read (-want +got):\n%s", diff)
				}
			}
			if got := a.ask(g, pair{known.access, newPair().secret}); got.Status == 200 {
				t.Errorf("wrong secret token: %d", got.Status)
			}

			a.sim.Recover()
			eventually(t, "Key Vault's answers count again", func() bool { return a.ask(g, unread).Status == 200 })
			if got := a.ask(g, newPair()); got.Status != 401 {
				t.Errorf("afterwards, an unknown pair: %d %s", got.Status, got.Body)
			}
			eventually(t, "the log says that it is over", func() bool {
				a.ask(g, unread) // lines of the background ride on requests
				return strings.Contains(g.Log(), "the secret store answers again")
			})
		})
	}
}

// TestThrottlingKeyVaultIsLeftAlone for as long as it asks for, and clients are
// told so.
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

// TestOutageOfEntraIsSurvived while the access token is valid, and ends when
// Entra's does where there is none.
func TestOutageOfEntraIsSurvived(t *testing.T) {
	for name, fault := range map[string]akvsim.Fault{
		"no connection": {Drop: true},
		"503":           akvsim.Unavailable(),
	} {
		t.Run(name, func(t *testing.T) {
			a := newAzure(t)
			a.sim.Fail(akvsim.Entra, fault)
			g := a.guard(thePlugin, byClientSecret(nil))
			p := a.credential(nil)
			if diff := cmp.Diff(unavailable, refused(a.ask(g, p))); diff != "" {
				t.Errorf("without a token (-want +got):\n%s", diff)
			}
			a.logs(g, "[error]", "login with client_secret", "login.microsoftonline.com")
			a.sim.Recover()
			eventually(t, "the login succeeds", func() bool { return a.ask(g, p).Status == 200 })

			a.sim.Fail(akvsim.Entra, fault)
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

// TestThousandRequestsForANewTokenAreOneSecretRead: the simulator has logged
// that one request, and none of Entra's.
func TestThousandRequestsForANewTokenAreOneSecretRead(t *testing.T) {
	a := newAzure(t)
	g := a.guard(thePlugin, byClientSecret(nil))
	if got := a.ask(g, a.credential(nil)); got.Status != 200 {
		t.Fatalf("before: %d %s", got.Status, got.Body)
	}
	p := a.credential(nil)
	before := len(a.sim.Requests(nil))
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var together, done sync.WaitGroup
	const requests = 1000
	together.Add(requests)
	for range requests {
		done.Go(func() {
			together.Done()
			together.Wait()
			if got := a.fetch(client, g.URL(), http.MethodGet, "/", p.header(), ""); got.Status != 200 {
				t.Errorf("%d %s", got.Status, got.Body)
			}
		})
	}
	done.Wait()
	if n := len(a.sim.Requests(nil)) - before; n != 1 || a.reads(p) != 1 {
		t.Errorf("Azure was asked %d times, for the secret %d times", n, a.reads(p))
	}
}
