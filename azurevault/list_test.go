package azurevault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	gocmp "github.com/google/go-cmp/cmp"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/cache"
	"kong-vault-auth/secretstore"
)

func listAll(ctx context.Context, s *store) (all []secretstore.Listed, pages int, err error) {
	err = s.List(ctx, func(page []secretstore.Listed) error {
		pages++
		all = append(all, page...)
		return nil
	})
	slices.SortFunc(all, func(a, b secretstore.Listed) int { return cmp.Compare(a.Key, b.Key) })
	return all, pages, err
}

func TestListing(t *testing.T) {
	a := newAzure(t, akvsim.Options{})
	at := time.Unix(1_800_000_000, 0).UTC()
	a.put("Alice", "s", nil)
	a.put("bob", "s", &azsecrets.SecretAttributes{Enabled: to.Ptr(false)})
	a.put("a.b", "s", nil) // under a digest
	for _, name := range []string{"Alice", "bob", "a.b"} {
		a.Change(secretName(prefix, name), "", azsecrets.SecretAttributes{Updated: &at})
	}
	a.put("gone", "s", nil)
	a.Delete(prefix + "gone")
	for i := range 30 {
		a.Put(fmt.Sprintf("others-%d", i), "hunter2", nil)
	}
	s := a.open(t, func(c *Config) { c.NamePrefix = "Kong-Auth-" })
	got, pages, err := listAll(t.Context(), s)
	want := []secretstore.Listed{
		{Key: s.Key("alice"), Version: "1800000000"},
		{Key: s.Key("bob"), Version: "1800000000", Disabled: true},
		{Key: s.Key("a.b"), Version: "1800000000"},
	}
	if diff := gocmp.Diff(want, got); diff != "" || err != nil || pages != 2 {
		t.Errorf("%d pages, %v (-want +got):\n%s", pages, err, diff)
	}
	a.Change(prefix+"alice", "", azsecrets.SecretAttributes{Updated: to.Ptr(at.Add(time.Second))})
	if got, _, err = listAll(t.Context(), s); err != nil || got[0].Version == want[0].Version {
		t.Errorf("a change is not told: %v, %v", got, err)
	}
}

func TestEmptyVaultIsListed(t *testing.T) {
	got, pages, err := listAll(t.Context(), newAzure(t, akvsim.Options{}).open(t, nil))
	if len(got) != 0 || pages != 1 || err != nil {
		t.Errorf("%v, %d pages, %v", got, pages, err)
	}
}

func TestListingAcrossARevokedToken(t *testing.T) {
	a := newAzure(t, akvsim.Options{})
	for i := range 60 {
		a.put(fmt.Sprint(i), "s", nil)
	}
	s, n := a.open(t, nil), 0
	err := s.List(t.Context(), func(page []secretstore.Listed) error {
		if n == 0 {
			a.RevokeTokens(true)
		}
		n += len(page)
		return nil
	})
	if n != 60 || err != nil {
		t.Errorf("%d secrets, %v", n, err)
	}
}

func TestListingsThatFail(t *testing.T) {
	secretNotFound := akvsim.VaultError(404, "SecretNotFound", "", "no")
	for name, tt := range map[string]struct {
		policies bool
		do       func(azure)
		want     string
		says     string
	}{
		"no permission": {true, func(a azure) {
			a.AddApp(akvsim.App{ClientID: clientID, ObjectID: objectID, Secret: clientSecret, May: akvsim.Get})
		}, "denied", "--secret-permissions get list"},
		"no role": {false, func(a azure) {
			a.AddApp(akvsim.App{ClientID: clientID, ObjectID: objectID, Secret: clientSecret, May: akvsim.Get})
		}, "denied", "revocation_interval needs the permission to list: list the secrets: "},
		"throttled":             {false, func(a azure) { a.Fail(akvsim.KeyVault, akvsim.Throttled("3")) }, "rate_limited", ""},
		"a load balancer's 404": {false, func(a azure) { a.Fail(akvsim.KeyVault, akvsim.Fault{Status: 404}) }, "unexpected", ""},
		"a secret's 404":        {false, func(a azure) { a.Fail(akvsim.KeyVault, secretNotFound) }, "unexpected", "the answer belongs to a read"},
		"an empty answer":       {false, func(a azure) { a.Fail(akvsim.KeyVault, akvsim.Fault{Status: 200}) }, "unexpected", ""},
		"an empty object":       {false, func(a azure) { a.Fail(akvsim.KeyVault, akvsim.Fault{Status: 200, Body: "{}"}) }, "unexpected", ""},
		"null":                  {false, func(a azure) { a.Fail(akvsim.KeyVault, akvsim.Fault{Status: 200, Body: `{"value":null}`}) }, "unexpected", ""},
		"a link elsewhere": {false, func(a azure) {
			a.Fail(akvsim.KeyVault, akvsim.Fault{Status: 200, Body: `{"value":[],"nextLink":"https://example.com/secrets"}`})
		}, "unexpected", ""},
		"no attributes": {false, func(a azure) {
			a.Fail(akvsim.KeyVault, akvsim.Fault{Status: 200, Body: `{"value":[{"id":"https://contoso.vault.azure.net/secrets/kong-auth-a"}]}`})
		}, "unexpected", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAzure(t, akvsim.Options{AccessPolicies: tt.policies})
			a.put("alice", "s", nil)
			a.put("bob", "s", nil)
			s := a.open(t, nil)
			if got := outcome(s.Read(t.Context(), "alice")); got != "found alice s" { // vouches for the login
				t.Fatal(got)
			}
			tt.do(a)
			_, pages, err := listAll(t.Context(), s)
			if got := outcome(nil, err); got != "failure: "+tt.want || pages > 1 || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%d pages, %q: %v", pages, got, err)
			}
		})
	}
}

func TestPageThatFailsLaterFailsTheListing(t *testing.T) {
	a := newAzure(t, akvsim.Options{})
	for i := range 60 {
		a.put(fmt.Sprint(i), "s", nil)
	}
	s := a.open(t, nil)
	err := s.List(t.Context(), func([]secretstore.Listed) error {
		a.Fail(akvsim.KeyVault, akvsim.Unavailable())
		return nil
	})
	if got := outcome(nil, err); got != "failure: server" {
		t.Error(got, err)
	}
	a.Recover()
	enough := errors.New("enough")
	if err := s.List(t.Context(), func([]secretstore.Listed) error { return enough }); err != enough {
		t.Errorf("%v, want what yield said", err)
	}
}

func TestListingAfterCloseFails(t *testing.T) {
	s := newAzure(t, akvsim.Options{}).open(t, nil)
	s.Close()
	if _, _, err := listAll(t.Context(), s); err == nil {
		t.Error("it did not")
	}
}

func FuzzListings(f *testing.F) {
	f.Add(200, `{"value":[{"id":"https://contoso.vault.azure.net/secrets/kong-auth-a","attributes":{"enabled":true,"updated":1}}],"nextLink":null}`)
	f.Add(200, `{"value":[{"id":"/","attributes":{"enabled":true}}]}`)
	f.Add(200, `{"value":[]}`)
	f.Add(404, `{"error":{"code":"SecretNotFound"}}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 100 || status > 999 {
			t.Skip("a status that no HTTP server sends")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s := answering(t, status, http.Header{}, body)
		_, _, err := listAll(ctx, s)
		if errors.Is(err, cache.ErrAbsent) {
			t.Errorf("a definite no: %v", err)
		}
		if err == nil && status != http.StatusOK {
			t.Errorf("status %d makes a listing", status)
		}
	})
}
