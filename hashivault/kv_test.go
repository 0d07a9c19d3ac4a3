package hashivault

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/vault"
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

	at := func(mount, path, kv string) vault.HCV {
		return v.config(func(c *vault.HCV) { c.Token, c.Mount, c.Path, c.KV = token, mount, path, kv })
	}
	for _, test := range []struct {
		about string
		cfg   vault.HCV
		read  string
		want  verdict
	}{
		{"KV v2", at("secret", "kong-auth", "v2"), "alice", verdict{Found: "alice"}},
		{"KV v2, not told", at("secret", "kong-auth", ""), "alice", verdict{Found: "alice"}},
		{"KV v2, no such secret", at("secret", "kong-auth", "v2"), "nobody", verdict{Absent: vault.ReasonNotFound}},
		{"KV v2, deleted version", at("secret", "kong-auth", "v2"), "deleted", verdict{Absent: vault.ReasonDeleted}},
		{"KV v2, destroyed version", at("secret", "kong-auth", "v2"), "destroyed", verdict{Absent: vault.ReasonDeleted}},
		{"KV v2, no usable record", at("secret", "kong-auth", "v2"), "unusable", verdict{Absent: vault.ReasonUnusable}},
		{"KV v2 read as v1", at("secret", "kong-auth", "v1"), "alice", verdict{Failure: "kv_version"}},
		{"KV v1", at("plain", "kong-auth", "v1"), "alice", verdict{Found: "alice"}},
		{"KV v1, not told", at("plain", "kong-auth", ""), "alice", verdict{Found: "alice"}},
		{"KV v1, no such secret", at("plain", "kong-auth", ""), "nobody", verdict{Absent: vault.ReasonNotFound}},
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
