package azurevault

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/secretstore"
)

func TestThePreviousVersionIsAcceptedForAWhile(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	ago := func(d time.Duration) *azsecrets.SecretAttributes {
		return &azsecrets.SecretAttributes{Created: to.Ptr(now.Add(-d))}
	}
	disabled := func(d time.Duration) *azsecrets.SecretAttributes {
		a := ago(d)
		a.Enabled = to.Ptr(false)
		return a
	}
	expiring := func(d, exp time.Duration) *azsecrets.SecretAttributes {
		a := ago(d)
		a.Expires = to.Ptr(now.Add(exp))
		return a
	}
	ownPrevious := fmt.Sprintf(`{"access_token":"alice","secret_token":"new","consumer":"bob","previous_secret_token":"own","previous_expires_at":%d}`, now.Add(time.Minute).Unix())
	const window = 10 * time.Minute
	for name, tt := range map[string]struct {
		window time.Duration
		do     func(azure)
		want   string        // the previous secret
		until  time.Duration // from now
		lists  int
	}{
		"a new version": {window, func(a azure) { a.put("alice", "old", ago(time.Hour)); a.put("alice", "new", ago(time.Minute)) },
			"old", window - time.Minute, 1},
		"switched off": {0, func(a azure) { a.put("alice", "old", ago(time.Hour)); a.put("alice", "new", ago(time.Minute)) },
			"", 0, 0},
		"long ago": {window, func(a azure) { a.put("alice", "old", ago(time.Hour)); a.put("alice", "new", ago(window)) },
			"", 0, 0},
		"the first version": {window, func(a azure) { a.put("alice", "new", ago(time.Minute)) },
			"", 0, 1},
		"the newest of them": {window, func(a azure) {
			a.put("alice", "old", ago(2*time.Hour))
			for i := range 60 { // three pages
				a.put("alice", fmt.Sprint("older ", i), ago(24*time.Hour))
			}
			a.put("alice", "new", ago(time.Minute))
		}, "old", window - time.Minute, 3},
		"a disabled one brings no older one back": {window, func(a azure) {
			a.put("alice", "older", ago(2*time.Hour))
			a.put("alice", "stolen", disabled(time.Hour))
			a.put("alice", "new", ago(time.Minute))
		}, "", 0, 1},
		"nor does an expired one": {window, func(a azure) {
			a.put("alice", "older", ago(2*time.Hour))
			a.put("alice", "old", expiring(time.Hour, -time.Minute))
			a.put("alice", "new", ago(time.Minute))
		}, "", 0, 1},
		"an older one that is disabled does no harm": {window, func(a azure) {
			a.put("alice", "stolen", disabled(2*time.Hour))
			a.put("alice", "old", ago(time.Hour))
			a.put("alice", "new", ago(time.Minute))
		}, "old", window - time.Minute, 1},
		"one disabled of two of the same second": {window, func(a azure) {
			a.put("alice", "old", ago(time.Hour))
			a.put("alice", "stolen", disabled(time.Hour))
			a.put("alice", "old", ago(time.Hour))
			a.put("alice", "new", ago(time.Minute))
		}, "", 0, 1},
		"two of the same second": {window, func(a azure) {
			a.put("alice", "older", ago(2*time.Hour))
			a.put("alice", "old", ago(time.Hour))
			a.put("alice", "old", ago(time.Hour))
			a.put("alice", "new", ago(time.Minute))
		}, "old", window - time.Minute, 1},
		"only disabled ones": {window, func(a azure) { a.put("alice", "stolen", disabled(time.Hour)); a.put("alice", "new", ago(time.Minute)) },
			"", 0, 1},
		"an expired one": {window, func(a azure) {
			a.put("alice", "old", expiring(time.Hour, -time.Minute))
			a.put("alice", "new", ago(time.Minute))
		},
			"", 0, 1},
		"one that expires soon": {window, func(a azure) {
			a.put("alice", "old", expiring(time.Hour, time.Minute))
			a.put("alice", "new", ago(time.Minute))
		},
			"old", time.Minute, 1},
		"one that is no record": {window, func(a azure) { a.Put(prefix+"alice", "old", ago(time.Hour)); a.put("alice", "new", ago(time.Minute)) },
			"", 0, 1},
		"another's record": {window, func(a azure) {
			a.Put(prefix+"alice", recordOf("carol", "old"), ago(time.Hour))
			a.put("alice", "new", ago(time.Minute))
		}, "", 0, 1},
		"another spelling's record": {window, func(a azure) {
			a.put("ALICE", "old", ago(time.Hour))
			a.put("alice", "new", ago(time.Minute))
		}, "", 0, 1},
		"one whose record is disabled": {window, func(a azure) {
			a.Put(prefix+"alice", strings.TrimSuffix(recordOf("alice", "old"), "}")+`,"enabled":false}`, ago(time.Hour))
			a.put("alice", "new", ago(time.Minute))
		}, "", 0, 1},
		"one whose record is not valid yet": {window, func(a azure) {
			a.Put(prefix+"alice", strings.TrimSuffix(recordOf("alice", "old"), "}")+`,"not_before":"9999-01-01T00:00:00Z"}`, ago(time.Hour))
			a.put("alice", "new", ago(time.Minute))
		}, "", 0, 1},
		"the record names one itself": {window, func(a azure) {
			a.put("alice", "old", ago(time.Hour))
			a.Put(prefix+"alice", ownPrevious, ago(time.Minute))
		}, "own", time.Minute, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAzure(t, akvsim.Options{})
			tt.do(a)
			s := a.open(t, func(c *Config) { c.AcceptPreviousVersion = secretstore.Seconds(tt.window.Seconds()) })
			r, err := s.Read(t.Context(), "alice")
			if err != nil {
				t.Fatal(err)
			}
			if r.Secret.Token != "new" || r.Previous.Token != tt.want || tt.want != "" && !r.PreviousExpiresAt.Equal(now.Add(tt.until)) {
				t.Errorf("got %q, and %q until %v", r.Secret.Token, r.Previous.Token, r.PreviousExpiresAt)
			}
			if n := len(a.Requests(listsVersions)); n != tt.lists {
				t.Errorf("versions were listed %d times, want %d", n, tt.lists)
			}
		})
	}
}

func listsVersions(r akvsim.Request) bool { return strings.HasSuffix(r.Path, "/versions") }

func TestWithoutPermissionToListTheCurrentVersionStillCounts(t *testing.T) {
	for _, policies := range []bool{false, true} {
		a := newAzure(t, akvsim.Options{AccessPolicies: policies})
		a.AddApp(akvsim.App{ClientID: clientID, ObjectID: objectID, Secret: clientSecret, May: akvsim.Get})
		a.put("alice", "old", &azsecrets.SecretAttributes{Created: to.Ptr(time.Now().Add(-time.Hour))})
		a.put("alice", "new", nil)
		a.put("carol", "s", nil)
		var logged bytes.Buffer
		s := a.openAs(t, Config{
			VaultURI: akvsim.VaultURI, NamePrefix: prefix, AuthMethod: "client_secret",
			TenantID: akvsim.Tenant, ClientID: clientID, ClientSecret: clientSecret, AcceptPreviousVersion: 60,
		}, secretstore.OpenOptions{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		for _, token := range []string{"alice", "carol", "alice"} { // also when others have been read
			if got := outcome(s.Read(t.Context(), token)); !strings.HasPrefix(got, "found "+token) {
				t.Errorf("got %q", got)
			}
		}
		if n := strings.Count(logged.String(), "accept_previous_version has no effect"); n != 3 || secrets.MatchString(logged.String()) {
			t.Errorf("logged:\n%s", logged.String())
		}
	}
}

func TestAFailureToFindThePreviousVersionIsAFailure(t *testing.T) {
	a, s := betweenVersions(t, func(a azure) { a.Fail(akvsim.KeyVault, akvsim.Unavailable()) })
	a.put("alice", "new", nil)
	if got := outcome(s.Read(t.Context(), "alice")); got != "failure: server" {
		t.Errorf("got %q: the old secret would be taken for wrong", got)
	}
}

func TestAVersionMadeMeanwhileIsNotThePreviousOne(t *testing.T) {
	a, s := betweenVersions(t, func(a azure) { a.put("alice", "newest", nil) })
	a.put("alice", "new", &azsecrets.SecretAttributes{Created: to.Ptr(time.Now().Add(-time.Second))})
	r, err := s.Read(t.Context(), "alice")
	if err != nil || r.Secret.Token != "new" || r.Previous.Token != "old" {
		t.Errorf("got %q and %q, %v", r.Secret.Token, r.Previous.Token, err)
	}
}

// betweenVersions is a store with an old version of a record, where do happens
// before each listing of versions.
func betweenVersions(t *testing.T, do func(azure)) (azure, *store) {
	t.Helper()
	a := newAzure(t, akvsim.Options{})
	a.put("alice", "old", &azsecrets.SecretAttributes{Created: to.Ptr(time.Now().Add(-time.Hour))})
	s := a.open(t, func(c *Config) { c.AcceptPreviousVersion = 60 })
	transport := s.http.Transport
	s.http.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/versions") {
			do(a)
		}
		return transport.RoundTrip(r)
	})
	return a, s
}

// Disabling the version before the current one ends the grace while it lasts.
func TestDisablingThePreviousVersionEndsItsGrace(t *testing.T) {
	a := newAzure(t, akvsim.Options{})
	ago := func(d time.Duration) *azsecrets.SecretAttributes {
		return &azsecrets.SecretAttributes{Created: to.Ptr(time.Now().Add(-d))}
	}
	a.put("alice", "older", ago(2*time.Hour))
	old := a.Put(prefix+"alice", recordOf("alice", "old"), ago(time.Hour))
	a.put("alice", "new", ago(time.Minute))
	s := a.open(t, func(c *Config) { c.AcceptPreviousVersion = 600 })
	previous := func() string {
		r, err := s.Read(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		return r.Previous.Token
	}
	before := previous()
	a.Change(prefix+"alice", old, azsecrets.SecretAttributes{Enabled: to.Ptr(false)})
	if after := previous(); before != "old" || after != "" {
		t.Errorf("the previous secret token is %q, and once its version is disabled %q", before, after)
	}
}
