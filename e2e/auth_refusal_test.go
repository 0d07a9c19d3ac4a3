package e2e

import (
	"crypto/rand"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/certificatetest"
	"kong-vault-auth/e2e/program"
	"kong-vault-auth/e2e/vaultserver"
)

// stanza is the smallest policy for the credentials of an authEnv.
const stanza = `add to one of its policies: path \"secret/data/kong-auth/*\" { capabilities = [\"read\"] }`

// TestRefusedReadsExplainThemselves: the log says what was read, by the fingerprint, why that
// is refused, and what would allow it.
func TestRefusedReadsExplainThemselves(t *testing.T) {
	a := newAuthEnv(t)
	p := a.credential(nil)
	revoked := a.token
	a.must(a.vault.RevokeToken(t.Context(), revoked))
	token := func(policy, rules string) string {
		t.Helper()
		a.must(a.vault.PutPolicy(t.Context(), policy, rules))
		token, err := a.vault.TokenWith(t.Context(), policy, time.Hour)
		a.must(err)
		return token
	}
	mounted := token("below-nothing", `path "nothing-here/*" { capabilities = ["read"] }`)
	const place = `read secret/data/kong-auth/FINGERPRINT: `
	tests := []struct {
		name     string
		settings object
		logged   string // as the log quotes it
	}{
		{
			"policy without read", object{"token": token("list-only", `path "secret/data/kong-auth/*" { capabilities = ["list"] }`)},
			place + `status 403: the token (policies default, list-only; expires in TIME) lacks the capability read on it (` + stanza,
		},
		{
			"no policy on the mount", object{"token": mounted},
			place + `status 403: the token (policies below-nothing, default; expires in TIME) has no right at all below secret/, or nothing is mounted there ` +
				`(compare mount and namespace with vault secrets list; if they are right, ` + stanza,
		},
		{
			"missing mount", object{"token": mounted, "mount": "nothing-here"},
			`read nothing-here/data/kong-auth/FINGERPRINT: nothing is mounted at nothing-here/ (check mount and namespace against: vault secrets list)`,
		},
		{
			"revoked token", object{"token": revoked},
			place + `the Vault token is refused: it has expired or was revoked (put a valid token into token, or let the plugin log in by itself: see auth_method)`,
		},
		{
			"the other KV version", object{"token": token("read-only", `path "secret/data/kong-auth/*" { capabilities = ["read"] }`), "kv": "v1"},
			`read secret/kong-auth/FINGERPRINT: status 403, and the secrets engine at secret/ is KV v2, read as v1 (set kv to v2; `,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := a.in(t)
			g := a.node(tt.settings)
			if diff := cmp.Diff(unavailable, refused(a.ask(g, p))); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			want := strings.NewReplacer("FINGERPRINT", "[0-9a-f]{12}", "TIME", "[0-9hms]+").Replace(regexp.QuoteMeta(tt.logged))
			if log := g.Log(); !regexp.MustCompile(`\[error\].* 503 .*` + want).MatchString(log) {
				t.Errorf("the log does not say %s:\n%s", tt.logged, log)
			}
		})
	}
}

// TestGrantedPolicyIsEnough: adding the stanza of the log line to a policy of the token fixes
// what the line reports. The fingerprint is that of the credential identifier that the
// upstream gets.
func TestGrantedPolicyIsEnough(t *testing.T) {
	a := newAuthEnv(t)
	p := a.credential(nil)
	policy := "fixed-" + strings.ToLower(rand.Text())
	a.must(a.vault.PutPolicy(t.Context(), policy, `path "secret/data/kong-auth/*" { capabilities = ["list"] }`))
	token, err := a.vault.TokenWith(t.Context(), policy, time.Hour)
	a.must(err)
	g := a.node(object{"token": token})
	if got := a.ask(g, p); got.Status != 503 {
		t.Fatalf("before: %d %s", got.Status, got.Body)
	}
	line := regexp.MustCompile(`secret/data/kong-auth/([0-9a-f]{12}): status 403.*: (path .* \})\)`).FindStringSubmatch(g.Log())
	if line == nil {
		t.Fatalf("the log has no stanza:\n%s", g.Log())
	}
	a.must(a.vault.PutPolicy(t.Context(), policy, strings.ReplaceAll(line[2], `\"`, `"`)))
	var got answer
	program.Eventually(t, "the pair is accepted", func() bool {
		got = a.ask(g, p)
		return got.Status == 200
	})
	if id := got.Upstream.Header.Get("X-Credential-Identifier"); !strings.HasPrefix(strings.ReplaceAll(id, "-", ""), line[1]) {
		t.Errorf("the fingerprint is %s, the identifier %s", line[1], id)
	}
}

// TestServerOfAnotherCAGetsNoToken, until ca_cert names its CA.
func TestServerOfAnotherCAGetsNoToken(t *testing.T) {
	a := newAuthEnv(t)
	p := a.credential(nil)
	mount, login := a.withSecretID(nil)
	settings := a.overTLS(login)
	a.file("ca.pem", certificatetest.NewCA().PEM())
	g := a.node(settings)
	if diff := cmp.Diff(unavailable, refused(a.ask(g, p))); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	a.says([]string{"reason=tls", "put that CA's certificate into ca_cert"}, g.Log())
	if n := a.logins(mount); n != 0 {
		t.Errorf("%d logins", n)
	}
	a.file("ca.pem", string(a.vault.CA))
	program.Eventually(t, "the pair is accepted", func() bool { return a.ask(g, p).Status == 200 })
}

// TestVaultIsToldWhoAsksAndWhere: its audit file holds the plugin's name and the namespace, of
// the login and of the read.
func TestVaultIsToldWhoAsksAndWhere(t *testing.T) {
	a := newAuthEnv(t)
	for _, header := range []string{"User-Agent", "X-Vault-Namespace"} {
		a.must(a.vault.AuditHeader(t.Context(), header))
	}
	p := a.credential(nil)
	mount, login := a.withSecretID(nil)
	login["namespace"] = "team/a/"
	if got := a.ask(a.node(login), p); got.Status != 200 {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	for operation, path := range map[string]string{"update": "auth/" + mount + "/login", "read": a.kv.Secret(p.access)} {
		requests, err := a.vault.Requests(operation, path)
		a.must(err)
		if len(requests) != 1 {
			t.Fatalf("%s: %d requests", path, len(requests))
		}
		got := requests[0].Headers
		if diff := cmp.Diff([]string{"team/a"}, got["x-vault-namespace"]); diff != "" {
			t.Errorf("%s, namespace (-want +got):\n%s", path, diff)
		}
		if agent := strings.Join(got["user-agent"], " "); !strings.HasPrefix(agent, "kong-vault-auth/") {
			t.Errorf("%s: User-Agent: %s", path, agent)
		}
	}
}

// TestKVVersionIsDetected where kv is left out.
func TestKVVersionIsDetected(t *testing.T) {
	vault := ownVault(t)
	for version, kv := range map[string]vaultserver.KV{
		"v1": {Mount: "teams/one/kv", Version: 1, Path: "gateway/kong"},
		"v2": {Mount: "teams/two/kv", Version: 2, Path: "gateway/kong"},
	} {
		t.Run(version, func(t *testing.T) {
			if err := vault.MountKV(t.Context(), kv); err != nil {
				t.Fatal(err)
			}
			a := &authEnv{testEnv: newEnvOn(t, vault, kv), dir: t.TempDir()}
			p := a.credential(nil)
			g := a.node(object{"kv": nil})
			if got := a.ask(g, p); got.Status != 200 || a.reads(p.access) != 1 {
				t.Errorf("%d %s, %d reads at %s", got.Status, got.Body, a.reads(p.access), kv.Secret("*"))
			}
			if got := a.ask(g, newPair()); got.Status != 401 {
				t.Errorf("an unknown pair: %d %s", got.Status, got.Body)
			}
			a.must(a.vault.Delete(t.Context(), kv, p.access))
			if got := a.ask(a.node(object{"kv": nil}), p); got.Status != 401 {
				t.Errorf("deleted: %d %s", got.Status, got.Body)
			}
		})
	}
}
