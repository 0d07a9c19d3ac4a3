package hashivault

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"kong-vault-auth/secretstore"
)

// listAll is a whole listing, in order, with the number of its pages.
func listAll(t *testing.T, s secretstore.Store) (all []secretstore.Listed, pages int, err error) {
	t.Helper()
	err = s.(secretstore.Lister).List(t.Context(), func(page []secretstore.Listed) error {
		pages++
		all = append(all, page...)
		return nil
	})
	slices.SortFunc(all, func(a, b secretstore.Listed) int { return cmp.Compare(a.Key, b.Key) })
	return all, pages, err
}

// shelf is a fake Vault that answers listings, of KV v2 and then of v1, and of
// the former without what is deleted.
func shelf(all, alive http.HandlerFunc) *fakeVault {
	v := newFakeVault()
	v.on("GET secret/metadata/kong-auth/", func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query(); q.Get("list") != "true" {
			canned(405, `{"errors":[]}`)(w, r)
		} else if q.Get("exclude_deleted") == "true" {
			alive(w, r)
		} else {
			all(w, r)
		}
	})
	v.on("GET secret/kong-auth/", all)
	return v
}

// ignoredParameter is what an OpenBao 2.6 has answered about an empty folder.
const ignoredParameter = `{"request_id":"54d5cbdd","lease_id":"","renewable":false,"lease_duration":0,"data":{},"wrap_info":null,"warnings":["Endpoint ignored these unrecognized parameters: [exclude_deleted]"],"auth":null}`

func keys(names ...string) http.HandlerFunc {
	return canned(200, `{"request_id":"1","data":{"keys":["`+strings.Join(names, `","`)+`"]}}`)
}

func TestListing(t *testing.T) {
	deleted := func(key string) secretstore.Listed { return secretstore.Listed{Key: key, Version: deletedVersion} }
	var many []string
	for i := range 2500 {
		many = append(many, fmt.Sprintf("n-%04d", i))
	}
	for name, tt := range map[string]struct {
		kv         string
		all, alive http.HandlerFunc
		want       []secretstore.Listed
		pages      int
	}{
		"KV v1":                     {kv1, keys("alice", "bob"), nil, []secretstore.Listed{{Key: "alice"}, {Key: "bob"}}, 1},
		"KV v2":                     {kv2, keys("alice", "bob"), keys("alice", "bob"), []secretstore.Listed{{Key: "alice"}, {Key: "bob"}}, 2},
		"a deleted version":         {kv2, keys("alice", "bob"), keys("bob"), []secretstore.Listed{deleted("alice"), {Key: "bob"}}, 2},
		"only deleted versions":     {kv2, keys("alice"), canned(404, notFound), []secretstore.Listed{deleted("alice")}, 2},
		"created in between":        {kv2, keys("alice"), keys("alice", "bob"), []secretstore.Listed{{Key: "alice"}}, 2},
		"nothing":                   {kv2, canned(404, notFound), canned(404, notFound), nil, 2},
		"nothing, before 1.21":      {kv2, canned(404, notFound), canned(200, ignoredParameter), nil, 2},
		"folders and stray names":   {kv1, keys("alice", "bob/", "not a token"), nil, []secretstore.Listed{{Key: "alice"}}, 1},
		"a page for each 1000":      {kv1, keys(many...), nil, nil, 3},
		"a page for each 1000 of 2": {kv2, keys(many...), keys(many...), nil, 6},
	} {
		t.Run(name, func(t *testing.T) {
			s := openOn(t, config(func(c *Config) { c.KV = tt.kv }), nil, shelf(tt.all, tt.alive))
			got, pages, err := listAll(t, s)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(tt.want, got); diff != "" && tt.want != nil || tt.pages != pages {
				t.Errorf("%d pages, want %d (-want +got):\n%s", pages, tt.pages, diff)
			}
		})
	}
}

func TestWhatOnlyLooksLikeAnEmptyListingIsAFailure(t *testing.T) {
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   string // the failure's reason
	}{
		"a load balancer's 404":  {canned(404, ""), "unexpected"},
		"HTML":                   {canned(404, "<html>"), "unexpected"},
		"a mount that has moved": {canned(404, `{"errors":["no handler for route \"secret/metadata/kong-auth/\". route entry not found."]}`), "mount"},
		"a warning":              {canned(404, `{"request_id":"1","data":null,"warnings":["Invalid path for a versioned K/V secrets engine."]}`), "kv_version"},
		"an empty 200":           {canned(200, ""), "unexpected"},
		"no keys":                {canned(200, `{"request_id":"1","data":{}}`), "unexpected"},
		"no names":               {canned(200, `{"request_id":"1","data":{"keys":[]}}`), "unexpected"},
		"another warning":        {canned(200, `{"request_id":"1","data":{},"warnings":["Endpoint ignored these unrecognized parameters: [list]"]}`), "unexpected"},
		"keys without a list":    {canned(200, `{"request_id":"1","data":{"keys":"alice"}}`), "unexpected"},
		"cut off":                {canned(200, `{"request_id":"1","data":{"keys":["alice`), "unexpected"},
		"sealed":                 {canned(503, sealed), "sealed"},
		"a firewall's 403":       {canned(403, "<html>"), "unexpected"},
	} {
		t.Run(name, func(t *testing.T) {
			s := openOn(t, config(func(c *Config) { c.KV = kv1 }), nil, shelf(tt.answer, nil))
			_, pages, err := listAll(t, s)
			var f *secretstore.Failure
			if !errors.As(err, &f) || f.Reason != tt.want || pages != 0 {
				t.Errorf("%d pages, %v; want failure %s", pages, err, tt.want)
			}
		})
	}
}

func TestListingEndsWhenItsReaderSaysSo(t *testing.T) {
	enough := errors.New("enough")
	for kv, v := range map[string]*fakeVault{kv1: shelf(keys("alice"), nil), kv2: shelf(keys("alice"), keys("alice"))} {
		s := openOn(t, config(func(c *Config) { c.KV = kv }), nil, v)
		if err := s.List(t.Context(), func([]secretstore.Listed) error { return enough }); err != enough {
			t.Errorf("%s: %v", kv, err)
		}
	}
}

func TestListingAfterCloseFails(t *testing.T) {
	s := openOn(t, config(nil), nil, shelf(keys("alice"), keys("alice")))
	s.Close()
	if _, _, err := listAll(t, s); err == nil {
		t.Error("it did not")
	}
}

func TestVaultsOwnListings(t *testing.T) {
	v := startVault(t)
	v.do("POST", "sys/mounts/plain", fields{"type": "kv"})
	v.do("POST", "sys/mounts/empty", fields{"type": "kv", "options": fields{"version": "2"}})
	for _, name := range []string{"alice", "deleted", "destroyed", "expiring", "gone"} {
		v.put(name)
	}
	v.do("DELETE", "secret/data/kong-auth/deleted", nil)
	v.do("PUT", "secret/destroy/kong-auth/destroyed", fields{"versions": []int{1}})
	v.do("DELETE", "secret/metadata/kong-auth/gone", nil)
	v.do("POST", "secret/metadata/kong-auth/expiring", fields{"delete_version_after": "1h"})
	v.put("expiring")
	v.put("team/alice")
	v.do("POST", "plain/kong-auth/alice", fields{"access_token": "alice"})
	v.do("PUT", "sys/policies/acl/list", fields{"policy": `
		path "secret/data/kong-auth/*"     { capabilities = ["read"] }
		path "secret/metadata/kong-auth"   { capabilities = ["list"] }
		path "plain/kong-auth"             { capabilities = ["list"] }
		path "empty/metadata/kong-auth"    { capabilities = ["list"] }
		path "elsewhere/metadata/kong-auth" { capabilities = ["list"] }`})
	lister := v.token(fields{"policies": []string{"list"}})
	for _, test := range []struct {
		about, token, mount, kv string
		want                    []secretstore.Listed
		failure                 string // what it says
	}{
		{"KV v2", lister, "secret", kv2, []secretstore.Listed{
			{Key: "alice"}, {Key: "deleted", Version: deletedVersion}, {Key: "destroyed"}, {Key: "expiring", Version: deletedVersion},
		}, ""},
		{"KV v1", lister, "plain", kv1, []secretstore.Listed{{Key: "alice"}}, ""},
		{"an empty folder", lister, "empty", kv2, nil, ""},
		{"no such mount", lister, "elsewhere", kv2, nil, "nothing is mounted at elsewhere/"},
		{"KV v2 as v1", lister, "secret", kv1, nil, "secret/kong-auth: status 403"},
		{"no right to list", v.token(nil), "secret", kv2, nil,
			`lacks the capability list on it, which revocation_interval needs (add to one of its policies: path "secret/metadata/kong-auth" { capabilities = ["list"] })`},
	} {
		t.Run(test.about, func(t *testing.T) {
			s := openAt(t, v.config(func(c *Config) { c.Token, c.Mount, c.KV = test.token, test.mount, test.kv }), nil)
			got, _, err := listAll(t, s)
			if test.failure != "" {
				if err == nil || !strings.Contains(err.Error(), test.failure) {
					t.Errorf("%v, want %q", err, test.failure)
				}
				return
			}
			if diff := gocmp.Diff(test.want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestRevokedTokenIsReplacedToList(t *testing.T) {
	v := startVault(t)
	cfg := v.appRole(fields{})
	v.do("PUT", "sys/policies/acl/list", fields{"policy": `path "secret/metadata/kong-auth" { capabilities = ["list"] }`})
	v.do("POST", "auth/approle/role/kong", fields{"token_policies": "list"})
	s := openAt(t, cfg, nil)
	for range 2 {
		if got, _, err := listAll(t, s); err != nil || len(got) != 1 {
			t.Fatalf("%v, %v", got, err)
		}
		v.revokeLogins()
	}
}

// Only the second of a listing's two requests has such a name. If it looked deleted,
// its real deletion before the next listing would go unnoticed.
func TestNameThatAppearsDuringAListingIsNotTakenForDeleted(t *testing.T) {
	v := newFakeVault()
	requests := 0
	v.on("GET secret/metadata/kong-auth/", func(w http.ResponseWriter, r *http.Request) {
		names := `{"data":{"keys":["alice"]}}`
		if requests++; requests > 1 {
			names = `{"data":{"keys":["alice","bob"]}}`
		}
		canned(200, names)(w, r)
	})
	s := openOn(t, config(nil), nil, v)
	got := map[string]string{}
	err := s.List(t.Context(), func(page []secretstore.Listed) error {
		for _, l := range page {
			got[l.Key] = l.Version
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(map[string]string{s.Key("alice"): ""}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
