package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/credential"
)

// TestGroupsOfARecordDecideInACL: with groups in the store, one consumer for all credentials is
// enough.
func TestGroupsOfARecordDecideInACL(t *testing.T) {
	w := newEnv(t)
	early, acl := object{"name": "early-auth"}, func(config object) object { return object{"name": "acl", "config": config} }
	always := func(field, group string) object {
		return object{field: []string{group}, "always_use_authenticated_groups": true}
	}
	everyone := append(consumers(), object{"id": "d0000000-0000-4000-8000-000000000005", "username": "dora", "acls": []object{{"group": "gold"}}})
	g := startBy(t, apart, w.declare(everyone,
		route{"/gold", []object{w.vaultAuth(nil), acl(always("allow", "gold"))}},
		route{"/not-iron", []object{w.vaultAuth(nil), acl(always("deny", "iron"))}},
		route{"/own", []object{w.vaultAuth(nil), acl(object{"allow": []string{"gold"}})}},
		route{"/free", []object{w.vaultAuth(nil)}},
		route{"/anonymous", []object{w.vaultAuth(object{"anonymous": "guest"}), acl(always("allow", "gold"))}},
		route{"/after", []object{early, w.vaultAuth(nil), acl(always("allow", "gold"))}},
		route{"/after-or", []object{early, w.vaultAuth(object{"anonymous": "guest"}), acl(always("allow", "gold"))}},
	))
	gold, iron := w.credential(object{"groups": []string{"gold", "night shift"}}), w.credential(object{"groups": "iron, gold-plated"})
	none, silent := w.credential(object{"groups": []string{}}), w.credential(nil)
	dora, doraIron := w.credential(object{"consumer": "dora"}), w.credential(object{"consumer": "dora", "groups": "iron"})
	forged := []string{"X-Authenticated-Groups", "gold", "x_authenticated_groups", "gold", "X-Consumer-Groups", "gold"}
	byBob := http.Header{"early": {"bob"}, "early-group": {"gold"}}
	tests := []struct {
		name   string
		path   string
		header http.Header
		status int
		groups string // that the upstream sees
	}{
		{"in the group", "/gold", gold.header(), 200, "gold, night shift"},
		{"in others", "/gold", iron.header(), 403, ""},
		{"in none", "/gold", none.header(), 403, ""},
		{"no field, and the consumer in none", "/gold", silent.header(), 403, ""},
		{"no field, and the consumer in it", "/gold", dora.header(), 200, "gold"},
		{"in others, and the consumer in it", "/gold", doraIron.header(), 403, ""},
		{"in a group that is denied", "/not-iron", iron.header(), 403, ""},
		{"in none that is denied", "/not-iron", gold.header(), 200, ""}, // Kong names the groups for allow only
		{"an ACL that isn't told to", "/own", gold.header(), 403, ""},
		{"no ACL", "/free", gold.header(), 200, ""},
		{"anonymous", "/anonymous", nil, 401, ""},
		{"anonymous, else in the group", "/anonymous", pair{gold.access, "wrong"}.header(), 401, ""},
		{"after another's groups, in none of its own", "/after", with(byBob, "access_token", silent.access, "secret_token", silent.secret), 403, ""},
		{"after another's groups, in others", "/after", with(byBob, "access_token", iron.access, "secret_token", iron.secret), 403, ""},
		{"authenticated before", "/after-or", byBob, 200, "gold"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, header := range []http.Header{tt.header, with(headerOf(tt.header), forged...)} {
				a := w.in(t).get(g, tt.path, header)
				if a.Status != tt.status {
					t.Errorf("%d %s, want %d", a.Status, a.Body, tt.status)
				}
				if got := told(a.Upstream).Groups; got != tt.groups {
					t.Errorf("the upstream sees the groups %q, want %q", got, tt.groups)
				}
			}
		})
	}
}

func headerOf(h http.Header) http.Header {
	if h == nil {
		return http.Header{}
	}
	return h
}

// TestRecordSaysFromWhereAPairMayBeUsed, and Kong what the client's address is.
func TestRecordSaysFromWhereAPairMayBeUsed(t *testing.T) {
	w := newEnv(t)
	office := w.credential(object{"allowed_ips": "192.0.2.0/24, 2001:db8::/32"})
	here := w.credential(object{"allowed_ips": []string{"127.0.0.1"}})
	broken := w.credential(object{"allowed_ips": "192.0.2.0/240"})
	yml := w.declare(consumers(), w.guarded("/", nil))
	direct, behind := startBy(t, apart, yml), startBy(t, apart, yml, "KONG_TRUSTED_IPS=127.0.0.0/8")
	for _, tt := range []struct {
		name    string
		g       gateway
		p       pair
		address string // X-Real-IP
		status  int
	}{
		{"from there", direct, here, "", 200},
		{"from elsewhere", direct, office, "", 401},
		{"from elsewhere, and says otherwise", direct, office, "192.0.2.7", 401},
		{"said by a trusted proxy", behind, office, "192.0.2.7", 200},
		{"said by a trusted proxy, IPv6", behind, office, "2001:db8::7", 200},
		{"said by a trusted proxy, IPv4 in IPv6", behind, office, "::ffff:192.0.2.7", 200},
		{"from elsewhere, by a trusted proxy", behind, office, "198.51.100.7", 401},
		{"not the proxy itself", behind, here, "192.0.2.7", 401},
		{"a list that can't be read", behind, broken, "192.0.2.7", 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 { // from the lookup, and from memory
				h := tt.p.header()
				if tt.address != "" {
					h.Set("X-Real-IP", tt.address)
				}
				if a := w.in(t).get(tt.g, "/", h); a.Status != tt.status || a.Status == 401 && a.Message != "Unauthorized" {
					t.Errorf("%d %s, want %d", a.Status, a.Body, tt.status)
				}
			}
		})
	}
	if log := direct.Log(); !strings.Contains(log, "address_not_allowed") || !strings.Contains(log, "127.0.0.1") {
		t.Errorf("it isn't logged: %s", log)
	}
	if log := behind.Log(); !strings.Contains(log, "allowed_ips: an entry is neither") {
		t.Errorf("the list isn't reported: %s", log)
	}
}

// hashOnly is a record without a secret token, in the middle of a rotation.
func hashOnly(t *testing.T, p, previous pair) []byte {
	t.Helper()
	r := &credential.Record{AccessToken: p.access, Secret: credential.HashedSecret(previous.secret), Consumer: credential.Consumer{ID: aliceID}}
	now := time.Now()
	r.Rotate(credential.HashedSecret(p.secret), now.Add(time.Hour), now)
	stored, err := credential.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(stored), p.secret) || strings.Contains(string(stored), previous.secret) {
		t.Fatalf("a secret token is stored: %s", stored)
	}
	return stored
}

// TestWhoReadsTheStoreCannotUseAHash: nothing that is stored of a credential is accepted as its
// secret token.
func TestWhoReadsTheStoreCannotUseAHash(t *testing.T) {
	p, previous := newPair(), newPair()
	stored := hashOnly(t, p, previous)
	previous.access = p.access
	var fields object
	if err := json.Unmarshal(stored, &fields); err != nil {
		t.Fatal(err)
	}
	var seen []string
	for _, name := range []string{"secret_token_hash", "previous_secret_token_hash"} {
		hash, _ := fields[name].(string)
		parts := strings.Split(hash, ":") // sha256, salt, digest
		if len(parts) != 3 {
			t.Fatalf("%s is %q", name, hash)
		}
		seen = append(seen, hash, parts[1]+":"+parts[2], parts[1], parts[2], strings.ToUpper(parts[2]))
	}
	seen = append(seen, string(stored))
	check := func(t *testing.T, get func(pair) answer) {
		for _, right := range []pair{p, previous} {
			if a := get(right); a.Status != 200 || cmp.Diff(alice, told(a.Upstream)) != "" {
				t.Errorf("a right pair: %d %s", a.Status, a.Body)
			}
		}
		for _, secret := range seen {
			if a := get(pair{p.access, secret}); a.Status != 401 || a.Upstream != nil {
				t.Errorf("%q as a secret token: %d %s", secret, a.Status, a.Body)
			}
		}
	}
	t.Run("Vault", func(t *testing.T) {
		w := newEnv(t)
		w.must(w.vault.Put(w.Context(), w.kv, p.access, fields))
		g := w.start(w.guarded("/", nil))
		check(t, func(p pair) answer { return w.get(g, "/", p.header()) })
	})
	t.Run("Azure", func(t *testing.T) {
		a := newAzure(t)
		a.sim.Put(secretName(p.access), string(stored), nil)
		g := a.guard(thePlugin, byClientSecret(nil))
		check(t, func(p pair) answer { return a.ask(g, p) })
	})
}
