package hashivault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/secretstore"
)

const loginRoute = "PUT auth/approle/login"

// appRoleVault has a record of alice's and grants logins.
func appRoleVault(ttl int) *fakeVault {
	v := newFakeVault()
	v.on(loginRoute, canned(200, granted(testToken, ttl)))
	v.on("PUT auth/token/renew-self", canned(200, granted(testToken, ttl)))
	v.on(alice, canned(200, secret("alice")))
	return v
}

func TestFailingLoginsAreRetriedWithBackoff(t *testing.T) {
	for _, test := range []struct {
		about  string
		answer http.HandlerFunc
		want   string // the failure's reason
		least  int    // logins in ten minutes
		most   int
	}{
		{"turned down", canned(400, `{"errors":["invalid role or secret ID"]}`), "login", 12, 30},
		{"can't answer", canned(503, sealed), "sealed", 120, 250},
	} {
		t.Run(test.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := appRoleVault(0)
				v.on(loginRoute, test.answer)
				s := openOn(t, config(appRoleConfig), nil, v)
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if got := v.count(loginRoute); got < test.least || got > test.most {
					t.Errorf("%d logins in ten minutes, want %d to %d", got, test.least, test.most)
				}
				started := time.Now()
				got, err := readWithin(t, s, time.Hour, "alice")
				var f *secretstore.Failure
				if got != (verdict{Failure: test.want}) || !errors.As(err, &f) || f.Wait <= 0 {
					t.Errorf("%v, %v", got, err)
				}
				if waited := time.Since(started); waited != 0 {
					t.Errorf("a read waited %v for a login that keeps failing", waited)
				}
				v.on(loginRoute, canned(200, granted(testToken, 0)))
				time.Sleep(f.Wait + time.Second)
				wantFound(t, s)
			})
		})
	}
}

func TestSlowLoginContinuesWithoutTheReadsThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := appRoleVault(0)
		v.on(loginRoute, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(9 * time.Second)
			canned(200, granted(testToken, 0))(w, r)
		})
		s := openOn(t, config(appRoleConfig), nil, v)
		got, err := readWithin(t, s, 2*time.Second, "alice")
		var f *secretstore.Failure
		if got != (verdict{Failure: "login"}) || !errors.As(err, &f) || f.Wait != time.Second {
			t.Errorf("%v, %v", got, err)
		}
		time.Sleep(8 * time.Second)
		wantFound(t, s)
		if got := v.count(loginRoute); got != 1 {
			t.Errorf("%d logins, want 1", got)
		}
	})
}

func TestHangingLoginIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := appRoleVault(0)
		v.on(loginRoute, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		s := openOn(t, config(appRoleConfig), nil, v)
		time.Sleep(loginTimeout + time.Millisecond)
		if got, err := readWithin(t, s, time.Second, "alice"); got != (verdict{Failure: "timeout"}) {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func TestLoginsThatDoNotHelpArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newFakeVault()
		v.on(loginRoute, canned(200, strings.Replace(granted(testToken, 0), "true", "false", 1)))
		for _, route := range []string{alice, "GET auth/token/lookup-self", "GET sys/internal/ui/mounts/secret"} {
			v.on(route, canned(403, deadToken))
		}
		s := openOn(t, config(appRoleConfig), nil, v)
		for range 600 {
			if got, err := readWithin(t, s, time.Second, "alice"); got != (verdict{Failure: "token"}) {
				t.Fatalf("%v, %v", got, err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if got := v.count(loginRoute); got > 12 {
			t.Errorf("%d logins in a minute", got)
		}
	})
}

// 200 reads find that the token has expired; one login follows, and all are answered.
// Vault is asked about the token once for the first reads, and at most once more for
// those that began during that.
func TestReadsShareTheLoginAfterARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var valid atomic.Value
		valid.Store("first")
		v := appRoleVault(0)
		guard := func(then http.HandlerFunc) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(time.Millisecond)
				if r.Header.Get("X-Vault-Token") != valid.Load() {
					canned(403, deadToken)(w, r)
					return
				}
				then(w, r)
			}
		}
		v.on(loginRoute, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(100 * time.Millisecond)
			canned(200, granted(valid.Load().(string), 0))(w, r)
		})
		for route, answer := range map[string]string{
			alice: secret("alice"), "GET auth/token/lookup-self": `{"data":{"ttl":0}}`, "GET sys/internal/ui/mounts/secret": `{"data":{"path":"secret/","type":"kv","options":{"version":"2"}}}`,
		} {
			v.on(route, guard(canned(200, answer)))
		}
		s := openOn(t, config(appRoleConfig), nil, v)
		wantFound(t, s)
		asked := v.count("GET auth/token/lookup-self")
		valid.Store("second")
		var reads sync.WaitGroup
		for range 200 {
			reads.Go(func() { wantFound(t, s) })
		}
		reads.Wait()
		if got := v.count(loginRoute); got != 2 {
			t.Errorf("%d logins, want 2", got)
		}
		if got := v.count("GET auth/token/lookup-self") - asked; got > 2 {
			t.Errorf("Vault was asked %d times whether the token lives", got)
		}
	})
}

func TestDenialIsAboutTheNameOnlyWhileAnotherCanBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := appRoleVault(0)
		v.on("GET secret/data/kong-auth/bob", canned(403, noPermission))
		s := openOn(t, config(appRoleConfig), nil, v)
		read := func(after time.Duration, name string) verdict {
			time.Sleep(after)
			got, _ := readWithin(t, s, time.Second, name)
			return got
		}
		got := []verdict{
			read(0, "bob"),
			read(0, "alice"), read(60*time.Second, "bob"),
			read(61*time.Second, "bob"),
			read(0, "alice"), read(0, "bob"),
		}
		v.on(alice, canned(403, noPermission))
		// A token that can no longer read anything proves nothing, and a secret doesn't count for itself.
		got = append(got, read(0, "bob"), read(0, "alice"))
		want := []verdict{
			{Failure: "denied"},
			{Found: "alice"}, {Absent: secretstore.ReasonDenied},
			{Failure: "denied"},
			{Found: "alice"}, {Absent: secretstore.ReasonDenied},
			{Failure: "denied"}, {Failure: "denied"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDenialBeforeAnythingIsKnownOfTheTokenIsAFailure(t *testing.T) {
	v := appRoleVault(0)
	v.on(alice, canned(403, noPermission))
	v.on("GET auth/token/lookup-self", canned(503, sealed))
	if got, err := readWithin(t, openOn(t, config(appRoleConfig), nil, v), time.Second, "alice"); got != (verdict{Failure: "sealed"}) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestDeadTokenIsNeverTakenForADenial(t *testing.T) {
	v := appRoleVault(0)
	v.on("GET secret/data/kong-auth/bob", canned(200, secret("bob")))
	s := openOn(t, config(nil), nil, v)
	wantFound(t, s)
	for _, route := range []string{"GET secret/data/kong-auth/bob", "GET auth/token/lookup-self", "GET sys/internal/ui/mounts/secret"} {
		v.on(route, canned(403, deadToken))
	}
	if got, err := readWithin(t, s, time.Second, "bob"); got != (verdict{Failure: "token"}) {
		t.Errorf("%v, %v", got, err)
	}
}

// expiring answers as Vault does about a token that was made at the start of the test.
func expiring(life time.Duration, renewable bool) http.HandlerFunc {
	end := time.Now().Add(life)
	return func(w http.ResponseWriter, r *http.Request) {
		left := int(time.Until(end).Seconds())
		canned(200, fmt.Sprintf(`{"data":{"ttl":%d,"creation_ttl":%d,"renewable":%v},"auth":{"client_token":"x","lease_duration":%d,"renewable":%v}}`,
			left, int(life.Seconds()), renewable, left, renewable))(w, r)
	}
}

func TestGivenTokenWarnsBeforeItExpires(t *testing.T) {
	for _, test := range []struct {
		about     string
		renewable bool
		quiet     time.Duration // until then
		warned    time.Duration // from then on
	}{
		{"not renewable", false, 799 * time.Second, 801 * time.Second},
		{"renewed until its max_ttl", true, 700 * time.Second, 950 * time.Second},
	} {
		t.Run(test.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newFakeVault()
				v.on("GET auth/token/lookup-self", expiring(1000*time.Second, test.renewable))
				v.on("PUT auth/token/renew-self", expiring(1000*time.Second, true))
				log := &journal{}
				openOn(t, config(nil), log, v)
				time.Sleep(test.quiet)
				if strings.Contains(log.String(), "token_expiry") {
					t.Errorf("too early: %s", log)
				}
				time.Sleep(test.warned - test.quiet)
				if strings.Count(log.String(), "token_expiry") != 1 {
					t.Errorf("no warning, or more than one: %s", log)
				}
			})
		})
	}
}

func TestTokensWithoutAnEndAreNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := appRoleVault(0)
		log := &journal{}
		openOn(t, config(nil), log, v)
		time.Sleep(24 * time.Hour)
		if got := v.count("PUT auth/token/renew-self"); got != 0 || strings.Contains(log.String(), "WARN") {
			t.Errorf("%d renewals: %s", got, log)
		}
	})
}

func TestLoginIsRepeatedWhenRenewalEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := appRoleVault(100)
		v.on(loginRoute, func(w http.ResponseWriter, r *http.Request) {
			v.on("PUT auth/token/renew-self", expiring(100*time.Second, true))
			canned(200, granted(testToken, 100))(w, r)
		})
		s := openOn(t, config(appRoleConfig), nil, v)
		for range 99 {
			time.Sleep(time.Second)
			wantFound(t, s)
		}
		if got := v.count(loginRoute); got != 2 {
			t.Errorf("%d logins, want 2", got)
		}
	})
}

func TestTokensThatEndAtOnceCauseNoFloodOfLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := appRoleVault(100)
		v.on("PUT auth/token/renew-self", canned(200, granted(testToken, 0)))
		s := openOn(t, config(appRoleConfig), nil, v)
		for range 60 {
			time.Sleep(time.Second)
			wantFound(t, s)
		}
		if got := v.count(loginRoute); got > 121 {
			t.Errorf("%d logins in a minute", got)
		}
	})
}

// The token in the file is the one whose end has come.
func TestLoginIsRepeatedBesideATokenSink(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	synctest.Test(t, func(t *testing.T) {
		v := appRoleVault(100)
		v.on("PUT auth/token/renew-self", expiring(100*time.Second, true))
		s := openOn(t, config(func(c *Config) { appRoleConfig(c); c.TokenSinkFile = file }), nil, v)
		wantFound(t, s)
		v.on(loginRoute, canned(200, granted("hvs.second", 0)))
		time.Sleep(100 * time.Second)
		wantFound(t, s)
		if got := v.count(loginRoute); got != 2 {
			t.Errorf("%d logins, want 2", got)
		}
	})
	if got, err := os.ReadFile(file); string(got) != "hvs.second\n" {
		t.Errorf("the file holds %q: %v", got, err)
	}
}

func TestOutageDuringRenewalFailsNoRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := appRoleVault(100)
		s := openOn(t, config(appRoleConfig), nil, v)
		wantFound(t, s)
		v.on("PUT auth/token/renew-self", canned(500, ""))
		v.on(loginRoute, canned(500, ""))
		for range 99 {
			time.Sleep(time.Second)
			wantFound(t, s)
		}
	})
}

func TestAdviceInTheLog(t *testing.T) {
	for _, test := range []struct {
		about string
		edit  func(*Config, *fakeVault)
		want  string
	}{
		{"root token", func(_ *Config, v *fakeVault) {
			v.on("GET auth/token/lookup-self", canned(200, `{"data":{"ttl":0,"policies":["root"]}}`))
		}, "reason=root_token"},
		{"kv contradicts the mount", func(_ *Config, v *fakeVault) {
			v.on("GET sys/internal/ui/mounts/secret", canned(200, `{"data":{"path":"secret/","type":"kv","options":{}}}`))
		}, "mount_has=v1"},
		{"kv can't be asked", func(c *Config, v *fakeVault) {
			c.KV = ""
			v.on("GET sys/internal/ui/mounts/secret", canned(403, noPermission))
		}, "assumed to be v1"},
	} {
		t.Run(test.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v, log, cfg := newFakeVault(), &journal{}, config(nil)
				test.edit(&cfg, v)
				openOn(t, cfg, log, v)
				time.Sleep(time.Second)
				if !strings.Contains(log.String(), test.want) {
					t.Errorf("want %s: %s", test.want, log)
				}
			})
		})
	}
}

func TestKVIsReadAsV1IfTheTokenMayNotAsk(t *testing.T) {
	v := newFakeVault()
	v.on("GET sys/internal/ui/mounts/secret", canned(403, noPermission))
	v.on("GET secret/kong-auth/alice", canned(200, `{"data":`+record("alice")+`}`))
	wantFound(t, openOn(t, config(func(c *Config) { c.KV = "" }), nil, v))
}

func TestChangedSecretIDIsTriedWithoutGivingUpTheToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret-id")
	replaceFile(t, file, "first")
	v := appRoleVault(0)
	v.on(loginRoute, func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			SecretID string `json:"secret_id"`
		}
		json.NewDecoder(r.Body).Decode(&body)
		if body.SecretID == "wrong" {
			canned(400, `{"errors":["invalid secret id wrong"]}`)(w, r)
			return
		}
		canned(200, granted("token of "+body.SecretID, 0))(w, r)
	})
	log := &journal{}
	s := openOn(t, config(func(c *Config) {
		appRoleConfig(c)
		c.AppRoleSecretID, c.AppRoleSecretFile = "", file
	}), log, v)
	wantFound(t, s)

	replaceFile(t, file, "wrong")
	eventually(t, "the wrong one is tried", func() bool { return strings.Contains(log.String(), "the current token stays in use") })
	wantFound(t, s)
	if strings.Contains(log.String(), "wrong") {
		t.Errorf("the log holds the secret id: %s", log)
	}

	replaceFile(t, file, "second")
	eventually(t, "the first token is revoked", func() bool { return v.count("PUT auth/token/revoke-self") == 1 })
	wantFound(t, s)
}

// A secret id may be good for one login only.
func TestTokenIsKeptWhileTheMountCannotBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := appRoleVault(0)
		mount := "GET sys/internal/ui/mounts/secret"
		found := v.routes[mount]
		v.on(mount, canned(503, sealed))
		s := openOn(t, config(func(c *Config) { appRoleConfig(c); c.KV = "" }), nil, v)
		time.Sleep(time.Minute)
		v.on(mount, found)
		time.Sleep(5 * time.Second)
		wantFound(t, s)
		if got := v.count(loginRoute); got != 1 {
			t.Errorf("%d logins, want 1", got)
		}
	})
}

func TestCloseIsPromptWhateverGoesOn(t *testing.T) {
	for _, test := range []struct {
		about string
		login http.HandlerFunc
	}{
		{"during a login", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		{"during a pause", canned(400, `{"errors":["invalid role or secret ID"]}`)},
		{"with a token", canned(200, granted(testToken, 100))},
	} {
		t.Run(test.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := appRoleVault(100)
				v.on(loginRoute, test.login)
				s := openOn(t, config(appRoleConfig), nil, v)
				time.Sleep(time.Second)
				started := time.Now()
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if took := time.Since(started); took != 0 {
					t.Errorf("Close took %v", took)
				}
				if err := s.Close(); err != nil {
					t.Errorf("closed again: %v", err)
				}
			})
		})
	}
}

func TestCloseReportsATokenThatRemainsValid(t *testing.T) {
	v := appRoleVault(0)
	v.on("PUT auth/token/revoke-self", canned(403, noPermission))
	s := openOn(t, config(appRoleConfig), nil, v)
	wantFound(t, s)
	if err := s.Close(); err == nil || strings.Contains(err.Error(), testToken) {
		t.Error(err)
	}
}

// A check that began before an event must not answer those who ask after it.
func TestCheckIsJoinedOnlyBeforeItStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			q      sharedCheck
			checks atomic.Int32
			asked  sync.WaitGroup
		)
		check := func(context.Context) (tokenStatus, error) {
			n := checks.Add(1)
			time.Sleep(time.Second)
			return tokenStatus{token: tokenInfo{TTL: int(n)}}, nil
		}
		ask := func(want int) {
			asked.Go(func() {
				if got, err := q.do(t.Context(), check); err != nil || got.token.TTL != want {
					t.Errorf("answer %d, want %d: %v", got.token.TTL, want, err)
				}
			})
			synctest.Wait()
		}
		ask(1)
		ask(2)
		ask(2)
		asked.Wait()
		if got := checks.Load(); got != 2 {
			t.Errorf("checked %d times", got)
		}
	})
}

func TestLoginFailuresHoldNoSecret(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		var body map[string]string
		json.NewDecoder(r.Body).Decode(&body)
		said, _ := json.Marshal(fmt.Sprint(body))
		canned(400, `{"errors":[`+string(said)+`]}`)(w, r)
	}
	file := filepath.Join(t.TempDir(), "jwt")
	replaceFile(t, file, "the-secret-id")
	for path, edit := range map[string]func(*Config){
		"auth/approle/login":    appRoleConfig,
		"auth/kubernetes/login": func(c *Config) { c.AuthMethod, c.KubeRole, c.KubeAPITokenFile = "kubernetes", "kong", file },
		"auth/jwt/login":        func(c *Config) { c.AuthMethod, c.JWTRole, c.JWTTokenFile = "jwt", "kong", file },
	} {
		v, log := newFakeVault(), &journal{}
		v.on("PUT "+path, echo)
		_, err := readWithin(t, openOn(t, config(edit), log, v), time.Second, "alice")
		if err == nil || !strings.Contains(err.Error(), "status 400") || strings.Contains(err.Error()+log.String(), "the-secret-id") {
			t.Errorf("%s: %v\n%s", path, err, log)
		}
	}
}

func TestLoginAnswersWithoutAToken(t *testing.T) {
	for _, test := range []struct {
		answer http.HandlerFunc
		want   string
	}{
		{canned(200, `{"request_id":"1","auth":{"client_token":"","mfa_requirement":{"mfa_request_id":"1"}}}`), "a second factor"},
		{canned(200, `{"request_id":"1","data":{}}`), "not one of Vault's"},
		{canned(200, ""), "not one of Vault's"},
		{canned(200, "<html>"), "log in at auth/approle"},
		{canned(403, noPermission), "the auth method is enabled at auth/approle"},
		{canned(200, `{"auth":"`+strings.Repeat("x", maxBody)+`"}`), "too large"},
	} {
		v := appRoleVault(0)
		v.on(loginRoute, test.answer)
		_, err := readWithin(t, openOn(t, config(appRoleConfig), nil, v), time.Second, "alice")
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("want %q: %v", test.want, err)
		}
	}
}

func TestTokenSinkFileMustBeOurs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("hvs.x"), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg := config(func(c *Config) { appRoleConfig(c); c.TokenSinkFile = file })
	_, err := readWithin(t, openOn(t, cfg, nil, appRoleVault(0)), time.Second, "alice")
	if err == nil || !strings.Contains(err.Error(), "chmod 0640 "+file) {
		t.Error(err)
	}
}

func TestTokenThatCannotBeKeptIsUsedAndReported(t *testing.T) {
	cfg := config(func(c *Config) { appRoleConfig(c); c.TokenSinkFile = filepath.Join(t.TempDir(), "missing", "token") })
	log := &journal{}
	wantFound(t, openOn(t, cfg, log, appRoleVault(0)))
	if !strings.Contains(log.String(), "reason=token_sink_file") {
		t.Error(log)
	}
}

func TestEndOfTheLoginIsKnown(t *testing.T) {
	for name, test := range map[string]struct {
		login bool
		token func() http.HandlerFunc // about a given token
		want  time.Duration           // after a minute, from the beginning; 0: not known
	}{
		"of a login":                 {login: true, want: 600 * time.Second},
		"of a given token":           {token: func() http.HandlerFunc { return expiring(1000*time.Second, false) }, want: 1000 * time.Second},
		"of a token that lives on":   {token: func() http.HandlerFunc { return canned(200, `{"data":{"ttl":0}}`) }},
		"of a token that can't tell": {token: func() http.HandlerFunc { return canned(403, deadToken) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v, cfg := newFakeVault(), config(nil)
				if test.login {
					v, cfg = appRoleVault(600), config(appRoleConfig)
				} else {
					v.on("GET auth/token/lookup-self", test.token())
				}
				start := time.Now()
				s := openOn(t, cfg, nil, v)
				time.Sleep(time.Minute)
				got := s.LoginEnds()
				if test.want == 0 && !got.IsZero() || test.want != 0 && got.Sub(start).Round(time.Minute/2) != test.want.Round(time.Minute/2) {
					t.Errorf("it ends after %s, want %s", got.Sub(start), test.want)
				}
			})
		})
	}
}
