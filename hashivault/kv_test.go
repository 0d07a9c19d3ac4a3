package hashivault

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/secretstore"
	"kong-vault-auth/secretstore/storetest"
)

func TestOutcomesOfARealVault(t *testing.T) {
	v := startVault(t)
	v.do("POST", "sys/mounts/plain", fields{"type": "kv"})
	v.do("POST", "sys/mounts/team/kong/kv", fields{"type": "kv", "options": fields{"version": "2"}})
	for _, name := range []string{"alice", "deleted", "destroyed", "unusable"} {
		v.put(name)
	}
	v.do("DELETE", "secret/data/kong-auth/deleted", nil)
	v.do("PUT", "secret/destroy/kong-auth/destroyed", fields{"versions": []int{1}})
	v.do("POST", "secret/data/kong-auth/unusable", fields{"data": fields{"access_token": "unusable"}})
	v.do("POST", "plain/kong-auth/alice", fields{"access_token": "alice", "secret_token": "s", "consumer": "alice"})
	v.do("POST", "team/kong/kv/data/a/b/alice", fields{"data": fields{"access_token": "alice", "secret_token": "s", "consumer": "alice"}})
	token := v.token(fields{"policies": []string{
		v.policy("secret/*"), v.policy("plain/*"), v.policy("team/kong/kv/data/a/*"), v.policy("elsewhere/*"),
	}})

	at := func(mount, path, kv string) Config {
		return v.config(func(c *Config) { c.Token, c.Mount, c.Path, c.KV = token, mount, path, kv })
	}
	for _, test := range []struct {
		about string
		cfg   Config
		read  string
		want  verdict
	}{
		{"KV v2", at("secret", "kong-auth", "v2"), "alice", verdict{Found: "alice"}},
		{"KV v2, left out", at("secret", "kong-auth", ""), "alice", verdict{Found: "alice"}},
		{"KV v2, no such secret", at("secret", "kong-auth", "v2"), "nobody", verdict{Absent: secretstore.ReasonNotFound}},
		{"KV v2, deleted version", at("secret", "kong-auth", "v2"), "deleted", verdict{Absent: secretstore.ReasonDeleted}},
		{"KV v2, destroyed version", at("secret", "kong-auth", "v2"), "destroyed", verdict{Absent: secretstore.ReasonDeleted}},
		{"KV v2, no usable record", at("secret", "kong-auth", "v2"), "unusable", verdict{Absent: secretstore.ReasonUnusable}},
		{"KV v2 read as v1", at("secret", "kong-auth", "v1"), "alice", verdict{Failure: "kv_version"}},
		{"KV v1", at("plain", "kong-auth", "v1"), "alice", verdict{Found: "alice"}},
		{"KV v1, left out", at("plain", "kong-auth", ""), "alice", verdict{Found: "alice"}},
		{"KV v1, no such secret", at("plain", "kong-auth", ""), "nobody", verdict{Absent: secretstore.ReasonNotFound}},
		{"a mount with slashes", at("/team/kong/kv/", "/a/b/", ""), "alice", verdict{Found: "alice"}},
		{"no such mount", at("elsewhere", "kong-auth", "v2"), "alice", verdict{Failure: "mount"}},
		{"no policy there", at("team/kong/kv", "x", "v2"), "alice", verdict{Failure: "denied"}},
	} {
		t.Run(test.about, func(t *testing.T) {
			got, err := readWithin(t, openAt(t, test.cfg, nil), 5*time.Second, test.read)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}

// A version with delete_version_after expires like one with expires_at, whichever comes
// first. Vault reports the time, so a cache knows it even if Vault is down.
func TestVersionsEndWhenVaultWillDeleteThem(t *testing.T) {
	v := startVault(t)
	ends := func(name string) time.Time {
		metadata := v.do("GET", "secret/data/kong-auth/"+name, nil)["data"].(fields)["metadata"].(fields)
		end, err := time.Parse(time.RFC3339Nano, metadata["deletion_time"].(string))
		if err != nil {
			t.Fatal(err)
		}
		return end
	}
	put := func(name string, expiresAt any) {
		v.do("POST", "secret/metadata/kong-auth/"+name, fields{"delete_version_after": "1h"})
		v.do("POST", "secret/data/kong-auth/"+name, fields{"data": fields{
			"access_token": name, "secret_token": "s", "consumer": "alice", "expires_at": expiresAt,
		}})
	}
	soon, late := time.Now().Add(time.Minute).Truncate(time.Second), time.Now().Add(24*time.Hour).Truncate(time.Second)
	v.put("forever")
	put("ending", nil)
	put("sooner", soon.Unix())
	put("later", late.Unix())
	token := v.token(nil)
	s := openAt(t, v.config(func(c *Config) { c.Token = token }), nil)
	for name, want := range map[string]time.Time{"forever": {}, "ending": ends("ending"), "sooner": soon, "later": ends("later")} {
		r, err := s.Read(t.Context(), name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !r.ExpiresAt.Equal(want) {
			t.Errorf("%s ends %v, want %v", name, r.ExpiresAt, want)
		}
	}
}

func TestVaultHasAnAnswerForEveryAccessToken(t *testing.T) {
	v := startVault(t)
	v.do("POST", "sys/mounts/plain", fields{"type": "kv"})
	token := v.token(fields{"policies": []string{v.policy("secret/*"), v.policy("plain/*")}})
	for kv, mount := range map[string]string{kv1: "plain", kv2: "secret"} {
		t.Run(kv, func(t *testing.T) {
			t.Parallel()
			s := openAt(t, v.config(func(c *Config) { c.Token, c.Mount, c.KV = token, mount, kv }), nil)
			for accessToken := range storetest.AccessTokens() {
				if got, err := readWithin(t, s, 5*time.Second, accessToken); got != (verdict{Absent: secretstore.ReasonNotFound}) {
					t.Errorf("%q: %v, %v", accessToken, got, err)
				}
			}
		})
	}
}

// A common mistake with KV v2: its API and policies have data/ between mount and path,
// but the configuration doesn't.
func TestDataInTheConfigurationIsReported(t *testing.T) {
	v := startVault(t)
	v.put("alice")
	v.do("POST", "secret/data/data/alice", fields{"data": fields{"access_token": "alice", "secret_token": "s", "consumer": "alice"}})
	v.do("POST", "sys/mounts/v1/data", fields{"type": "kv"})
	wide, exact := v.token(fields{"policies": []string{v.policy("secret/*"), v.policy("v1/*")}}), v.token(nil)
	const reported = "the path has KV v2's data/ twice"
	for _, test := range []struct {
		about       string
		mount, path string
		kv, token   string
		read        []string // one after the other
		want        verdict  // of the last
		log, err    string   // parts of what is said; empty: nothing
	}{
		{"in the path", "secret", "data/kong-auth", "v2", wide, []string{"alice"}, verdict{Absent: secretstore.ReasonNotFound}, `remedy="set path to \"kong-auth\""`, ""},
		{"in the path, version not told", "secret", "/data/kong-auth/", "", wide, []string{"alice"}, verdict{Absent: secretstore.ReasonNotFound}, `remedy="set path to \"kong-auth\""`, ""},
		{"in the mount", "secret/data", "kong-auth", "v2", wide, []string{"alice"}, verdict{Absent: secretstore.ReasonNotFound}, `remedy="set mount to \"secret\""`, ""},
		{"in the mount, version not told", "secret/data", "kong-auth", "", wide, []string{"alice"}, verdict{Absent: secretstore.ReasonNotFound}, `remedy="set mount to \"secret\""`, ""},
		{"in the path, by a token that may read only what it should", "secret", "data/kong-auth", "v2", exact, []string{"alice"}, verdict{Failure: "denied"}, "", `twice (set path to "kong-auth")`},
		{"in the mount, likewise", "secret/data", "kong-auth", "v2", exact, []string{"alice"}, verdict{Failure: "denied"}, "", `twice (set mount to "secret")`},
		{"a path that is really data", "secret", "data", "v2", wide, []string{"alice", "nobody"}, verdict{Absent: secretstore.ReasonNotFound}, "", ""},
		{"a KV v1 engine at such a mount", "v1/data", "data", "", wide, []string{"nobody"}, verdict{Absent: secretstore.ReasonNotFound}, "", ""},
		{"a name that begins so", "secret", "database", "v2", wide, []string{"nobody"}, verdict{Absent: secretstore.ReasonNotFound}, "", ""},
	} {
		t.Run(test.about, func(t *testing.T) {
			log := &journal{}
			s := openAt(t, v.config(func(c *Config) { c.Mount, c.Path, c.KV, c.Token = test.mount, test.path, test.kv, test.token }), log)
			var got verdict
			var err error
			for _, name := range test.read {
				got, err = readWithin(t, s, 5*time.Second, name)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
			if !strings.Contains(log.String(), test.log) || strings.Contains(log.String(), reported) != (test.log != "") {
				t.Errorf("log %s", log)
			}
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v", err)
			}
			if strings.Contains(log.String(), "alice") {
				t.Errorf("the access token is in the log: %s", log)
			}
		})
	}
}
