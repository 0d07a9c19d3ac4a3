package azurevault

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/cache"
	"kong-vault-auth/credential"
	"kong-vault-auth/kongschema"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/secretstore/storetest"
)

const (
	clientID     = "22222222-2222-2222-2222-222222222222"
	objectID     = "44444444-4444-4444-4444-444444444444"
	clientSecret = "cl1ent~s3cret"
	prefix       = "kong-auth-"
)

// azure is a simulated Azure with one application, which may read and list
// secrets.
type azure struct {
	*akvsim.Sim
	server *akvsim.Server
}

func newAzure(t *testing.T, o akvsim.Options) azure {
	t.Helper()
	sim := akvsim.New(o)
	sim.AddApp(akvsim.App{ClientID: clientID, ObjectID: objectID, Secret: clientSecret, May: akvsim.Get | akvsim.List})
	server, err := sim.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return azure{sim, server}
}

// open opens a store that logs in as the application. change changes its settings.
func (a azure) open(t *testing.T, change func(*Config)) *store {
	t.Helper()
	cfg := Config{
		VaultURI: akvsim.VaultURI, NamePrefix: prefix,
		AuthMethod: "client_secret", TenantID: akvsim.Tenant, ClientID: clientID, ClientSecret: clientSecret,
	}
	if change != nil {
		change(&cfg)
	}
	return a.openAs(t, cfg, secretstore.OpenOptions{})
}

// complete is cfg with defaults, and with the settings from the environment of a node.
func complete(cfg Config, env ...string) Config {
	var c Config
	if err := kongschema.ApplyDefaults(&c); err != nil {
		panic(err)
	}
	limits, given, all := c.Limits, reflect.ValueOf(cfg), reflect.ValueOf(&c).Elem()
	for i := range given.NumField() {
		if !given.Field(i).IsZero() {
			all.Field(i).Set(given.Field(i))
		}
	}
	c.NamePrefix, c.Limits, c.Base64Decode = cfg.NamePrefix, limits, cfg.Base64Decode
	if err := c.FromEnvironment(nil, environ(env...)); err != nil {
		panic(err)
	}
	return c
}

func (a azure) openAs(t *testing.T, cfg Config, o secretstore.OpenOptions) *store {
	t.Helper()
	o.Name, o.Identity, o.UserAgent = "kong-auth", "test", "kong-vault-auth/1.2.3-rc.1+build"
	transport, simulated := newTransport(o.Reach), a.server.Transport()
	transport.Proxy, transport.TLSClientConfig = simulated.Proxy, simulated.TLSClientConfig
	s, err := open(complete(cfg), o, newHTTPClient(newRedialing(transport)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// put stores the record of a pair.
func (a azure) put(accessToken, secretToken string, attributes *azsecrets.SecretAttributes) {
	a.Put(secretName(prefix, accessToken), recordOf(accessToken, secretToken), attributes)
}

func recordOf(accessToken, secretToken string) string {
	return fmt.Sprintf(`{"access_token":%q,"secret_token":%q,"consumer":{"username":"bob"}}`, accessToken, secretToken)
}

// outcome is the outcome of a read in a few words.
func outcome(r *credential.Record, err error) string {
	var absent *secretstore.Absent
	var failure *secretstore.Failure
	switch {
	case err == nil:
		return "found " + r.AccessToken + " " + r.Secret.Token
	case errors.As(err, &absent) && errors.Is(err, cache.ErrAbsent):
		return "absent: " + absent.Error()
	case errors.As(err, &failure) && !errors.Is(err, cache.ErrAbsent):
		return "failure: " + failure.Reason
	}
	return fmt.Sprintf("%T %v", err, err)
}

func TestOutcomes(t *testing.T) {
	long := strings.Repeat("long-", 30)
	now := time.Now()
	for name, tt := range map[string]struct {
		change func(*Config)
		do     func(azure)
		token  string
		want   string
	}{
		"found":                   {do: func(a azure) { a.put("alice", "s", nil) }, token: "alice", want: "found alice s"},
		"a name Azure can't have": {do: func(a azure) { a.put("al.ice_~", "s", nil) }, token: "al.ice_~", want: "found al.ice_~ s"},
		"too long a name":         {do: func(a azure) { a.put(long, "s", nil) }, token: long, want: "found " + long + " s"},
		"another spelling":        {do: func(a azure) { a.put("Alice", "s", nil) }, token: "aLICE", want: "found Alice s"},
		"without a prefix":        {change: func(c *Config) { c.NamePrefix = "" }, do: func(a azure) { a.Put("alice", recordOf("alice", "s"), nil) }, token: "alice", want: "found alice s"},
		"outside the prefix":      {do: func(a azure) { a.Put("alice", recordOf("alice", "s"), nil) }, token: "alice", want: "absent: not_found"},
		"not found":               {token: "alice", want: "absent: not_found"},
		"soft-deleted":            {do: func(a azure) { a.put("alice", "s", nil); a.Delete(prefix + "alice") }, token: "alice", want: "absent: not_found"},
		"disabled":                {do: func(a azure) { a.put("alice", "s", &azsecrets.SecretAttributes{Enabled: to.Ptr(false)}) }, token: "alice", want: "absent: disabled"},
		"expired": {do: func(a azure) {
			a.put("alice", "s", &azsecrets.SecretAttributes{Expires: to.Ptr(now.Add(-time.Second))})
		}, token: "alice", want: "absent: outside"},
		"not yet valid": {do: func(a azure) { a.put("alice", "s", &azsecrets.SecretAttributes{NotBefore: to.Ptr(now.Add(time.Hour))}) }, token: "alice", want: "absent: outside"},
		"within its dates": {do: func(a azure) {
			a.put("alice", "s", &azsecrets.SecretAttributes{NotBefore: to.Ptr(now.Add(-time.Hour)), Expires: to.Ptr(now.Add(time.Hour))})
		}, token: "alice", want: "found alice s"},
		"no record": {do: func(a azure) { a.Put(prefix+"alice", "hunter2", nil) }, token: "alice", want: "absent: unusable: json: it is not valid JSON"},
		"base64": {change: func(c *Config) { c.Base64Decode = true }, do: func(a azure) {
			a.Put(prefix+"alice", base64.StdEncoding.EncodeToString([]byte(recordOf("alice", "s")))+"\n", nil)
		}, token: "alice", want: "found alice s"},
		"not the base64 it should be": {change: func(c *Config) { c.Base64Decode = true }, do: func(a azure) { a.put("alice", "s", nil) }, token: "alice", want: "absent: unusable: base64: base64_decode is set, and the secret's value is not base64"},
		"no permission":               {do: func(a azure) { a.AddApp(akvsim.App{ClientID: clientID, Secret: clientSecret}) }, token: "alice", want: "failure: denied"},
		"a managed challenge": {do: func(a azure) {
			a.Fail(akvsim.KeyVault, challenge(`Bearer authorization="x", resource="https://vault.azure.net"`))
		}, token: "alice", want: "failure: unexpected"},
		"a challenge for others": {do: func(a azure) {
			a.Fail(akvsim.KeyVault, challenge(`Bearer authorization="https://login.microsoftonline.com/x", resource="https://example.com"`))
		}, token: "alice", want: "failure: unexpected"},
		"a load balancer's 404": {do: func(a azure) { a.Fail(akvsim.KeyVault, akvsim.Fault{Status: 404, Body: "<html>"}) }, token: "alice", want: "failure: unexpected"},
		"another 404":           {do: func(a azure) { a.Fail(akvsim.KeyVault, akvsim.VaultError(404, "NotFound", "", "")) }, token: "alice", want: "failure: unexpected"},
		"an empty answer":       {do: func(a azure) { a.Fail(akvsim.KeyVault, akvsim.Fault{Status: 200, Body: "{}"}) }, token: "alice", want: "failure: unexpected"},
		"an answer in HTML":     {do: func(a azure) { a.Fail(akvsim.KeyVault, akvsim.Fault{Status: 200, Body: "<html>"}) }, token: "alice", want: "failure: unexpected"},
		"a redirect": {do: func(a azure) {
			a.Fail(akvsim.KeyVault, akvsim.Fault{Status: 302, Header: http.Header{"Location": {"https://example.com/"}}})
		}, token: "alice", want: "failure: unexpected"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAzure(t, akvsim.Options{})
			if tt.do != nil {
				tt.do(a)
			}
			got, _, _ := strings.Cut(outcome(a.open(t, tt.change).Read(t.Context(), tt.token)), " (") // what to do about it
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func challenge(text string) akvsim.Fault {
	return akvsim.Fault{Status: 401, Header: http.Header{"Www-Authenticate": {text}}}
}

func TestADisabledSecretIsAbsentWhateverTheStatus(t *testing.T) {
	s := answering(t, http.StatusOK, nil, `{"id":"https://contoso.vault.azure.net/secrets/kong-auth-alice/1","value":"{}","attributes":{"enabled":false}}`)
	if got := outcome(s.Read(t.Context(), "alice")); got != "absent: disabled" {
		t.Errorf("got %q", got)
	}
}

func TestARecordEndsWithItsSecret(t *testing.T) {
	a := newAzure(t, akvsim.Options{})
	exp := time.Now().Add(time.Hour).Truncate(time.Second).UTC()
	a.Put(prefix+"alice", `{"access_token":"alice","secret_token":"s","consumer":"bob","ttl":7200,"expires_at":"4102444800"}`,
		&azsecrets.SecretAttributes{Expires: &exp})
	got, err := a.open(t, nil).Read(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	want := &credential.Record{
		AccessToken: "alice", Secret: credential.Secret{Token: "s"}, Consumer: credential.Consumer{Username: "bob"},
		TTL: 2 * time.Hour, ExpiresAt: exp,
	}
	if !cmp.Equal(want, got) {
		t.Errorf("got a record that ends at %v, want %v", got.ExpiresAt, exp)
	}
}

func TestKeyVaultHasAnAnswerForEveryAccessToken(t *testing.T) {
	a := newAzure(t, akvsim.Options{})
	for _, prefix := range []string{prefix, ""} {
		s := a.open(t, func(c *Config) { c.NamePrefix = prefix })
		for accessToken := range storetest.AccessTokens() {
			if got := outcome(s.Read(t.Context(), accessToken)); got != "absent: not_found" {
				t.Errorf("%q with the prefix %q: %s", accessToken, prefix, got)
			}
		}
	}
}

func TestSpellingsOfOneNameShareAKey(t *testing.T) {
	s := newAzure(t, akvsim.Options{}).open(t, nil)
	keys := map[string]bool{}
	for _, token := range []string{"Alice", "alice", "ALICE"} {
		keys[s.Key(token)] = true
	}
	for _, token := range []string{"a.b", "A.b", "a_b"} { // stored under digests, which differ
		keys[s.Key(token)] = true
	}
	if len(keys) != 4 {
		t.Errorf("got the keys %v", keys)
	}
}

func TestOneNameDeniedIsNoFailureOfTheStore(t *testing.T) {
	a := newAzure(t, akvsim.Options{})
	a.put("alice", "s", nil)
	a.put("carol", "s", nil)
	deny := func(names ...string) {
		a.AddApp(akvsim.App{ClientID: clientID, ObjectID: objectID, Secret: clientSecret, May: akvsim.Get, Deny: names})
	}
	s := a.open(t, nil)
	read := func(token string) string { return outcome(s.Read(t.Context(), token)) }
	deny(prefix + "carol")
	got := []string{
		read("carol"), // nothing has been read yet
		read("alice"),
		read("carol"),
	}
	deny(prefix+"alice", prefix+"carol")
	got = append(got,
		read("carol"), // alice no longer vouches for the login
		read("alice"),
	)
	want := []string{"failure: denied", "found alice s", "absent: denied", "failure: denied", "failure: denied"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAccessPoliciesDenyAllNamesOrNone(t *testing.T) {
	a := newAzure(t, akvsim.Options{AccessPolicies: true})
	a.put("alice", "s", nil)
	s := a.open(t, nil)
	if got := outcome(s.Read(t.Context(), "alice")); got != "found alice s" {
		t.Fatal(got)
	}
	a.AddApp(akvsim.App{ClientID: clientID, ObjectID: objectID, Secret: clientSecret})
	if got := outcome(s.Read(t.Context(), "carol")); got != "failure: denied" {
		t.Errorf("got %q", got)
	}
}

func TestAThousandReadersShareOneLogin(t *testing.T) {
	a := newAzure(t, akvsim.Options{})
	a.put("alice", "s", nil)
	s := a.open(t, nil)
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			if got := outcome(s.Read(t.Context(), "alice")); got != "found alice s" {
				t.Error(got)
			}
		})
	}
	wg.Wait()
	if n := len(a.Requests(akvsim.Request.TokenRequest)); n != 1 {
		t.Errorf("%d token requests", n)
	}
}

func TestAReadCostsOneRequestWhileTheTokenIsValid(t *testing.T) {
	a := newAzure(t, akvsim.Options{})
	a.put("alice", "s", nil)
	s := a.open(t, nil)
	if got := outcome(s.Read(t.Context(), "alice")); got != "found alice s" {
		t.Fatal(got)
	}
	before := len(a.Requests(nil))
	a.Fail(akvsim.Entra, akvsim.Unavailable()) // nobody needs it now
	for range 3 {
		if got := outcome(s.Read(t.Context(), "alice")); got != "found alice s" {
			t.Error(got)
		}
	}
	if n := len(a.Requests(nil)) - before; n != 3 {
		t.Errorf("3 reads made %d requests", n)
	}
}

func TestRevokedTokensAreReplaced(t *testing.T) {
	for name, claims := range map[string]bool{"with a claims challenge": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			a := newAzure(t, akvsim.Options{})
			a.put("alice", "s", nil)
			s := a.open(t, nil)
			read := func() string { return outcome(s.Read(t.Context(), "alice")) }
			got := []string{read()}
			a.RevokeTokens(claims)
			got = append(got, read(), read())
			if diff := cmp.Diff([]string{"found alice s", "found alice s", "found alice s"}, got); diff != "" {
				t.Error(diff)
			}
			if n := len(a.Requests(akvsim.Request.TokenRequest)); n != 2 {
				t.Errorf("%d token requests", n)
			}
		})
	}
}

func TestATokenRefusedTwiceIsAFailure(t *testing.T) {
	a := newAzure(t, akvsim.Options{})
	a.put("alice", "s", nil)
	s := a.open(t, nil)
	f := akvsim.VaultError(http.StatusUnauthorized, "Unauthorized", "", "AKV10032: Invalid issuer. Expected one of https://sts.windows.net/"+objectID+"/, found https://sts.windows.net/"+akvsim.Tenant+"/.")
	f.Header = http.Header{"Www-Authenticate": {`Bearer authorization="https://login.microsoftonline.com/` + akvsim.Tenant + `", resource="https://vault.azure.net"`}}
	a.Fail(akvsim.KeyVault, f)
	for range 3 {
		_, err := s.Read(t.Context(), "alice")
		if got := outcome(nil, err); got != "failure: login" || !strings.Contains(err.Error(), "the vault is in tenant "+objectID) {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if n := len(a.Requests(akvsim.Request.TokenRequest)); n != 2 {
		t.Errorf("%d token requests", n)
	}
}

func TestRequestsSayWhoAsksAndErrorsWhich(t *testing.T) {
	a := newAzure(t, akvsim.Options{})
	a.Fail(akvsim.KeyVault, akvsim.Unavailable())
	_, err := a.open(t, nil).Read(t.Context(), "alice")
	reads := a.Requests(func(r akvsim.Request) bool { return r.Service == akvsim.KeyVault })
	for _, r := range a.Requests(nil) {
		if !strings.HasPrefix(r.UserAgent, "kong-vault-auth/1.2.3-rc.1+build azsdk-go-") {
			t.Errorf("%s %s: User-Agent %q", r.Service, r.Path, r.UserAgent)
		}
	}
	for _, r := range reads {
		if r.ClientRequestID == "" || !strings.Contains(err.Error(), "x-ms-client-request-id "+r.ClientRequestID) {
			t.Errorf("the request id is %q, the error %v", r.ClientRequestID, err)
		}
	}
	if len(reads) < 3 {
		t.Errorf("%d requests for a passing failure, want retries", len(reads))
	}
}

func TestDeadlinesHold(t *testing.T) {
	hang := akvsim.Fault{Hang: true}
	for name, tt := range map[string]struct {
		service akvsim.Service
		op      string
		change  func(*Config)
	}{
		"key vault": {akvsim.KeyVault, "read kong-auth/", nil},
		"entra":     {akvsim.Entra, "login with client_secret", nil},
		"imds": {akvsim.ManagedIdentity, "login with managed_identity", func(c *Config) {
			c.AuthMethod, c.ClientSecret = "managed_identity", ""
		}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAzure(t, akvsim.Options{})
			a.Fail(tt.service, hang)
			s := a.open(t, tt.change)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := s.Read(ctx, "alice")
			if got := outcome(nil, err); got != "failure: timeout" || !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), tt.op) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRetryAfterIsNotSleptThrough(t *testing.T) {
	for _, service := range []akvsim.Service{akvsim.KeyVault, akvsim.Entra} {
		for retryAfter, want := range map[string]time.Duration{
			"":                              0,
			"120":                           2 * time.Minute,
			"999999":                        maxRetryAfter,
			"soon":                          0,
			"Thu, 01 Jan 1970 00:00:00 GMT": 0,
			"Fri, 01 Jan 2100 00:00:00 GMT": maxRetryAfter,
		} {
			t.Run(fmt.Sprint(service, " ", retryAfter), func(t *testing.T) {
				a := newAzure(t, akvsim.Options{})
				a.Fail(service, akvsim.Throttled(retryAfter))
				_, err := a.open(t, nil).Read(t.Context(), "alice")
				var failure *secretstore.Failure
				if !errors.As(err, &failure) || failure.Reason != "rate_limited" || failure.RetryAfter() != want {
					t.Errorf("got %v, %#v", err, failure)
				}
				asked := map[string]int{}
				for _, r := range a.Requests(func(r akvsim.Request) bool { return r.Status == http.StatusTooManyRequests }) {
					if asked[r.Path]++; asked[r.Path] > 1 {
						t.Errorf("asked for %s again", r.Path)
					}
				}
			})
		}
	}
}

func TestRetryAfterIsRespected(t *testing.T) {
	a := newAzure(t, akvsim.Options{})
	f := akvsim.Unavailable()
	f.Header = http.Header{"Retry-After-Ms": {"1"}}
	a.Fail(akvsim.KeyVault, f)
	_, err := a.open(t, nil).Read(t.Context(), "alice")
	var failure *secretstore.Failure
	if !errors.As(err, &failure) || failure.Reason != "server" || failure.Wait != time.Millisecond {
		t.Errorf("got %v, %#v", err, failure)
	}
	if n := len(a.Requests(func(r akvsim.Request) bool { return r.Service == akvsim.KeyVault })); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestReadsAfterCloseFail(t *testing.T) {
	a := newAzure(t, akvsim.Options{})
	s := a.open(t, nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := outcome(s.Read(t.Context(), "alice")); got != "failure: closed" {
		t.Errorf("got %q", got)
	}
	if n := len(a.Requests(nil)); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestCloseEndsALogin(t *testing.T) {
	asked := make(chan struct{}, 1)
	client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		asked <- struct{}{}
		<-r.Context().Done()
		return nil, r.Context().Err()
	})}
	s, err := open(complete(Config{
		VaultURI: akvsim.VaultURI, AuthMethod: "client_secret", TenantID: akvsim.Tenant, ClientID: clientID, ClientSecret: clientSecret,
	}), secretstore.OpenOptions{}, client)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() { got <- outcome(s.Read(t.Context(), "alice")) }()
	<-asked
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-got; got != "failure: closed" {
		t.Errorf("got %q", got)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
