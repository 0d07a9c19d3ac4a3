package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kong-vault-auth/certificatetest"
	"kong-vault-auth/e2e/program"

	"github.com/google/go-cmp/cmp"
)

// TestTokensOutliveTheirTTLUnderLoad: a token of 3 seconds is renewed until it
// is 6 seconds old, and then replaced, without one failed request.
func TestTokensOutliveTheirTTLUnderLoad(t *testing.T) {
	t.Parallel()
	a := newAuthEnvOn(t, ownVault(t))
	p := a.credential(nil)
	mount, login := a.withSecretID(object{"token_ttl": "3s", "token_max_ttl": "6s"})
	g := a.node(neverCached(login))
	a.underLoad(g, p, "a third login, and renewals before", func() bool {
		return a.logins(mount) >= 3 && a.requests("update", "auth/token/renew-self") >= 3
	})
	if n := a.reads(p.access); n < 100 {
		t.Errorf("Vault was read only %d times", n)
	}
}

// TestOneLoginAfterARevocation, however many requests find the token revoked. They are for 50
// pairs, since lookups of more from one address would have to wait.
func TestOneLoginAfterARevocation(t *testing.T) {
	a := newAuthEnv(t)
	const requests = 200
	pairs := a.credentials(50)
	mount, login := a.withSecretID(nil)
	g := a.node(login)
	if got := a.ask(g, a.credential(nil)); got.Status != 200 {
		t.Fatalf("before: %d %s", got.Status, got.Body)
	}
	a.must(a.vault.RevokeGranted(t.Context(), mount))

	if diff := cmp.Diff(map[int]int{200: requests}, a.together(g, requests, pairs...)); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if n := a.logins(mount); n != 2 {
		t.Errorf("%d logins, want the first and one more", n)
	}
}

// TestTokenFileIsFollowed: Vault Agent writes a new token, and soon after the old one is
// revoked.
func TestTokenFileIsFollowed(t *testing.T) {
	a := newAuthEnv(t)
	p := a.credential(nil)
	g := a.node(neverCached(object{"token_file": a.file("token", a.token)}))
	lookUps := func() int { return a.requests("read", "auth/token/lookup-self") } // one for each token that is given
	readsMore := func() func() bool {
		before := a.reads(p.access)
		return func() bool { return a.reads(p.access) > before+3 }
	}
	a.underLoad(g, p, "the first token is in use", readsMore())
	for range 3 {
		old, before := a.token, lookUps()
		var err error
		a.token, err = a.vault.TokenWith(t.Context(), a.policy, time.Hour)
		a.must(err)
		a.file("token", a.token+"\n")
		a.underLoad(g, p, "the next token is in use", func() bool { return lookUps() > before })
		a.must(a.vault.RevokeToken(t.Context(), old))
		a.underLoad(g, p, "the old token isn't needed", readsMore())
	}
}

// TestClientCertificateIsFollowed to one of another CA, while both are trusted.
func TestClientCertificateIsFollowed(t *testing.T) {
	a := newAuthEnv(t)
	p := a.credential(nil)
	before, after := certificatetest.NewCA(), certificatetest.NewCA()
	mount, login := a.cert(before)
	g := a.node(neverCached(login))
	a.underLoad(g, p, "the first login", func() bool { return a.logins(mount) == 1 })

	a.trust(mount, before, after)
	next := after.Issue("kong")
	a.file("client.pem", next.PEM())
	a.file("client.key", next.KeyPEM())
	a.underLoad(g, p, "a login after the files have changed", func() bool { return a.logins(mount) >= 2 })
	a.trust(mount, after)
	a.must(a.vault.RevokeGranted(t.Context(), mount))
	a.underLoad(g, p, "a login with the new certificate", func() bool { return a.granted(mount) == 1 })
}

// TestWrappedSecretIDServesAllPluginServersOfANode, through token_sink_file, and nobody else.
func TestWrappedSecretIDServesAllPluginServersOfANode(t *testing.T) {
	a := newAuthEnv(t)
	mount, login := a.appRole(object{"secret_id_num_uses": 1})
	sink := filepath.Join(a.dir, "sink")
	maps.Copy(login, object{
		"approle_secret_id": a.wrappedSecretID(mount), "approle_response_wrapping": true, "token_sink_file": sink,
	})
	g := a.node(login)
	for range 2 {
		if got := a.ask(g, a.credential(nil)); got.Status != 200 {
			t.Fatalf("%d %s", got.Status, got.Body)
		}
		g.Server().upgrade()
	}
	if n := a.logins(mount); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
	if info, err := os.Stat(sink); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("token_sink_file: %v, %v", info, err)
	}

	login["token_sink_file"] = filepath.Join(a.dir, "another")
	g = a.node(login)
	if diff := cmp.Diff(unavailable, refused(a.ask(g, a.credential(nil)))); diff != "" {
		t.Errorf("used twice (-want +got):\n%s", diff)
	}
	a.says([]string{"unwrap the secret id: the wrapping token has been used already or has expired", "somebody else has"}, g.Log())

	delete(login, "token_sink_file")
	g = a.node(login)
	if got := a.ask(g, a.credential(nil)); got.Status != 500 {
		t.Errorf("without token_sink_file: %d %s", got.Status, got.Body)
	}
	a.says([]string{"a wrapped secret id can be unwrapped once", "Set token_sink_file"}, g.Log())
}

// TestDeadVaultNeverStopsTheStart: the first login succeeds once Vault runs.
func TestDeadVaultNeverStopsTheStart(t *testing.T) {
	a := newAuthEnvOn(t, ownVault(t))
	p := a.credential(nil)
	mount, login := a.withSecretID(nil)
	a.must(a.vault.Stop())
	g := a.node(login)
	if diff := cmp.Diff(unavailable, refused(a.ask(g, p))); diff != "" {
		t.Errorf("without Vault (-want +got):\n%s", diff)
	}
	a.must(a.vault.Restart(t.Context()))
	program.Eventually(t, "the pair is accepted", func() bool { return a.ask(g, p).Status == 200 })
	if n := a.logins(mount); n != 1 {
		t.Errorf("%d logins", n)
	}
}

// TestUnusableLoginFileIsNamed with the remedy, which is enough.
func TestUnusableLoginFileIsNamed(t *testing.T) {
	a := newAuthEnv(t)
	p := a.credential(nil)
	tests := []struct {
		name   string
		spoil  func(file string)
		logged string // with FILE in it
	}{
		{"before Vault Agent has written it", func(string) {}, "open FILE: no such file or directory (it is read as soon as it is there)"},
		{
			"open to others", func(file string) { a.must(os.WriteFile(file, []byte(a.token), 0o644)) },
			"FILE has mode 0644, too open for what it holds (chmod 0640 FILE",
		},
		{
			"not written to its end", func(file string) { a.must(os.WriteFile(file, nil, 0o600)) },
			"FILE: the file is empty (it is read again when it changes)",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := a.in(t)
			a.dir = t.TempDir()
			file := filepath.Join(a.dir, "token")
			tt.spoil(file)
			g := a.node(object{"token_file": file})
			if diff := cmp.Diff(unavailable, refused(a.ask(g, p))); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			a.says([]string{"reason=file", strings.ReplaceAll(tt.logged, "FILE", file)}, g.Log())
			a.file("token", a.token)
			program.Eventually(t, "the pair is accepted", func() bool { return a.ask(g, p).Status == 200 })
		})
	}
}

// TestRefusedLoginIsTrustedForAShorterTime: when Vault refuses the plugin's login, cached
// records are used for resurrect_denied_ttl only, which is shorter than in an outage.
func TestRefusedLoginIsTrustedForAShorterTime(t *testing.T) {
	for name, tt := range map[string]struct {
		login  func(*authEnv) (mount string, settings object)
		refuse func(a *authEnv, mount string, settings object)
	}{
		"the token is revoked": {
			func(a *authEnv) (string, object) { return "", object{} },
			func(a *authEnv, _ string, _ object) { a.must(a.vault.RevokeToken(a.Context(), a.token)) },
		},
		"the secret id is destroyed": {
			func(a *authEnv) (string, object) { return a.withSecretID(nil) },
			func(a *authEnv, mount string, settings object) {
				a.write("auth/"+mount+"/role/kong/secret-id/destroy", object{"secret_id": settings["approle_secret_id"]})
				a.must(a.vault.RevokeGranted(a.Context(), mount))
			},
		},
		"the role is deleted": {
			func(a *authEnv) (string, object) { return a.withSecretID(nil) },
			func(a *authEnv, mount string, _ object) {
				a.must(a.vault.DeletePath(a.Context(), "auth/"+mount+"/role/kong"))
				a.must(a.vault.RevokeGranted(a.Context(), mount))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAuthEnv(t)
			p := a.credential(nil)
			mount, settings := tt.login(a)
			settings["ttl"], settings["resurrect_denied_ttl"] = 0.01, 1
			g := a.node(settings)
			if got := a.ask(g, p); got.Status != 200 {
				t.Fatalf("before: %d %s", got.Status, got.Body)
			}
			tt.refuse(a, mount, settings)
			program.Eventually(t, "the cached pair is no longer accepted", func() bool { return a.ask(g, p).Status == 503 })
		})
	}
}
