package akvsim_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/certificatetest"
)

const (
	officer = "22222222-2222-2222-2222-222222222222"
	reader  = "55555555-5555-5555-5555-555555555555"
)

// start returns a simulator with an application that may do everything and one
// that may do nothing, and the options of clients that meet it as Azure.
func start(t *testing.T, o akvsim.Options) (*akvsim.Sim, *akvsim.Server, azcore.ClientOptions) {
	t.Helper()
	sim := akvsim.New(o)
	sim.AddApp(akvsim.App{ClientID: officer, ObjectID: "officer-oid", Secret: "s3cret", May: akvsim.Get | akvsim.List | akvsim.Set})
	sim.AddApp(akvsim.App{ClientID: reader, ObjectID: "reader-oid", Secret: "s3cret"})
	server, err := sim.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	transport := server.Transport()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return sim, server, azcore.ClientOptions{
		Transport: &http.Client{Transport: transport},
		Retry:     policy.RetryOptions{MaxRetries: -1},
	}
}

func secretCredential(t *testing.T, clientID, secret string, o azcore.ClientOptions) azcore.TokenCredential {
	t.Helper()
	cred, err := azidentity.NewClientSecretCredential(akvsim.Tenant, clientID, secret, &azidentity.ClientSecretCredentialOptions{ClientOptions: o})
	if err != nil {
		t.Fatal(err)
	}
	return cred
}

func client(t *testing.T, uri string, cred azcore.TokenCredential, o azcore.ClientOptions) *azsecrets.Client {
	t.Helper()
	c, err := azsecrets.NewClient(uri, cred, &azsecrets.ClientOptions{ClientOptions: o})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// outcome is a secret's value, or the status and codes of the error.
func outcome(s azsecrets.GetSecretResponse, err error) string {
	var e *azcore.ResponseError
	switch {
	case err == nil:
		return *s.Value
	case errors.As(err, &e):
		_, inner, _ := strings.Cut(e.Error(), `"innererror": {`)
		_, inner, _ = strings.Cut(inner, `"code": "`)
		inner, _, _ = strings.Cut(inner, `"`)
		return strings.TrimSpace(fmt.Sprint(e.StatusCode, " ", e.ErrorCode, " ", inner))
	}
	return err.Error()
}

func TestSecretsThroughTheSDK(t *testing.T) {
	_, _, o := start(t, akvsim.Options{})
	ctx := context.Background()
	c := client(t, akvsim.VaultURI, secretCredential(t, officer, "s3cret", o), o)
	set := func(name, value string) (string, error) {
		s, err := c.SetSecret(ctx, name, azsecrets.SetSecretParameters{Value: &value}, nil)
		if err != nil {
			return outcome(azsecrets.GetSecretResponse{}, err), err
		}
		return s.ID.Version(), nil
	}
	v1, _ := set("Db-Password", "one")
	v2, _ := set("db-password", "two")
	change := func(version string, a azsecrets.SecretAttributes) {
		if _, err := c.UpdateSecretProperties(ctx, "db-password", version, azsecrets.UpdateSecretPropertiesParameters{SecretAttributes: &a}, nil); err != nil {
			t.Error(err)
		}
	}
	steps := []struct {
		what          string
		do            func()
		name, version string
		want          string
	}{
		{"the latest version, whatever the case", nil, "DB-PASSWORD", "", "two"},
		{"one version", nil, "db-password", v1, "one"},
		{"no such version", nil, "db-password", strings.Repeat("0", 32), "404 SecretNotFound"},
		{"no such secret", nil, "nothing", "", "404 SecretNotFound"},
		{"a name that can't be", nil, "under_score", "", "400 BadParameter"},
		{"exp and nbf stop nobody", func() {
			change(v2, azsecrets.SecretAttributes{Expires: to.Ptr(time.Now().Add(-time.Hour)), NotBefore: to.Ptr(time.Now().Add(time.Hour))})
		}, "db-password", "", "two"},
		{"disabled", func() { change(v2, azsecrets.SecretAttributes{Enabled: to.Ptr(false)}) }, "db-password", "", "403 Forbidden SecretDisabled"},
		{"an older version still enabled", nil, "db-password", v1, "one"},
		{"deleted", func() { _, _ = c.DeleteSecret(ctx, "db-password", nil) }, "db-password", "", "404 SecretNotFound"},
		{"recovered", func() { _, _ = c.RecoverDeletedSecret(ctx, "db-password", nil) }, "db-password", v1, "one"},
	}
	for _, s := range steps {
		if s.do != nil {
			s.do()
		}
		if got := outcome(c.GetSecret(ctx, s.name, s.version, nil)); got != s.want {
			t.Errorf("%s: got %q, want %q", s.what, got, s.want)
		}
	}

	if _, err := c.DeleteSecret(ctx, "db-password", nil); err != nil {
		t.Fatal(err)
	}
	if got, _ := set("db-password", "three"); got != "409 Conflict ObjectIsDeletedButRecoverable" {
		t.Errorf("a soft-deleted name was written again: %q", got)
	}
	if _, err := c.PurgeDeletedSecret(ctx, "db-password", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := set("db-password", strings.Repeat("x", 25<<10)); err != nil {
		t.Errorf("after a purge, with 25 KB: %v", err)
	}
	if got, _ := set("db-password", strings.Repeat("x", 25<<10+1)); got != "400 BadParameter" {
		t.Errorf("more than 25 KB: %q", got)
	}
}

func TestListsComeInPages(t *testing.T) {
	sim, _, o := start(t, akvsim.Options{})
	c := client(t, akvsim.VaultURI, secretCredential(t, officer, "s3cret", o), o)
	for i := range 60 {
		sim.Put(fmt.Sprint("other-", i), "", nil)
		sim.Put("rotated", "", nil)
	}
	count := func(more func() bool, next func() (int, error)) (sizes []int) {
		for more() {
			n, err := next()
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, n)
		}
		return sizes
	}
	secrets := c.NewListSecretPropertiesPager(nil)
	got := [][]int{count(secrets.More, func() (int, error) {
		p, err := secrets.NextPage(context.Background())
		return len(p.Value), err
	})}
	versions := c.NewListSecretPropertiesVersionsPager("rotated", nil)
	got = append(got, count(versions.More, func() (int, error) {
		p, err := versions.NextPage(context.Background())
		return len(p.Value), err
	}))
	if diff := cmp.Diff([][]int{{25, 25, 11}, {25, 25, 10}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestEveryIdentityGetsIn(t *testing.T) {
	sim, server, o := start(t, akvsim.Options{})
	sim.Put("greeting", "hello", nil)
	cert := certificatetest.SelfSignedRSA()
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte("federated"), 0o600); err != nil {
		t.Fatal(err)
	}
	sim.AddApp(akvsim.App{ClientID: "with-certificate", Certificate: cert.Certificate, May: akvsim.Get})
	sim.AddApp(akvsim.App{ClientID: "federated", Federated: "federated", May: akvsim.Get})
	// The SDK keeps the tokens of managed identities for as long as the process
	// lives, so each run of the test has identities of its own.
	machine, app := rand.Text(), rand.Text()
	sim.AddApp(akvsim.App{ClientID: machine, UserAssigned: true, May: akvsim.Get})
	sim.AddApp(akvsim.App{ClientID: app, UserAssigned: true, May: akvsim.Get})
	inCloud := func(c cloud.Configuration) azcore.ClientOptions {
		o := o
		o.Cloud = c
		return o
	}
	appService := func(t *testing.T) {
		t.Setenv("IDENTITY_ENDPOINT", server.IdentityEndpoint())
		t.Setenv("IDENTITY_HEADER", akvsim.IdentityHeader)
	}
	for name, tt := range map[string]struct {
		uri     string
		prepare func(*testing.T)
		cred    func() (azcore.TokenCredential, error)
	}{
		"client secret": {cred: func() (azcore.TokenCredential, error) {
			return azidentity.NewClientSecretCredential(akvsim.Tenant, officer, "s3cret", &azidentity.ClientSecretCredentialOptions{ClientOptions: o})
		}},
		"client secret in China": {uri: "https://contoso.vault.azure.cn", cred: func() (azcore.TokenCredential, error) {
			return azidentity.NewClientSecretCredential(akvsim.Tenant, officer, "s3cret", &azidentity.ClientSecretCredentialOptions{ClientOptions: inCloud(cloud.AzureChina)})
		}},
		"client secret in the US government's cloud": {uri: "https://contoso.vault.usgovcloudapi.net", cred: func() (azcore.TokenCredential, error) {
			return azidentity.NewClientSecretCredential(akvsim.Tenant, officer, "s3cret", &azidentity.ClientSecretCredentialOptions{ClientOptions: inCloud(cloud.AzureGovernment)})
		}},
		"client certificate": {cred: func() (azcore.TokenCredential, error) {
			return azidentity.NewClientCertificateCredential(akvsim.Tenant, "with-certificate", []*x509.Certificate{cert.Certificate}, cert.Key, &azidentity.ClientCertificateCredentialOptions{ClientOptions: o})
		}},
		"workload identity": {cred: func() (azcore.TokenCredential, error) {
			return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{ClientOptions: o, TenantID: akvsim.Tenant, ClientID: "federated", TokenFilePath: tokenFile})
		}},
		"managed identity by IMDS": {cred: func() (azcore.TokenCredential, error) {
			return azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ClientOptions: o, ID: azidentity.ClientID(machine)})
		}},
		"managed identity by App Service": {prepare: appService, cred: func() (azcore.TokenCredential, error) {
			return azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ClientOptions: o, ID: azidentity.ClientID(app)})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.prepare != nil {
				tt.prepare(t)
			}
			cred, err := tt.cred()
			if err != nil {
				t.Fatal(err)
			}
			uri := akvsim.VaultURI
			if tt.uri != "" {
				uri = tt.uri
			}
			if got := outcome(client(t, uri, cred, o).GetSecret(context.Background(), "greeting", "", nil)); got != "hello" {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestSystemAssignedIdentities(t *testing.T) {
	sim, server, _ := start(t, akvsim.Options{})
	ask := func() (int, string) {
		r := request(t, "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net")
		r.Header.Set("Metadata", "true")
		resp, err := server.Transport().RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var body struct {
			ClientID         string `json:"client_id"`
			ErrorDescription string `json:"error_description"`
		}
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, body.ClientID + body.ErrorDescription
	}
	if status, got := ask(); status != http.StatusBadRequest || got != "Identity not found" {
		t.Errorf("without one: %d %q", status, got)
	}
	sim.AddApp(akvsim.App{ClientID: "system", SystemAssigned: true})
	if status, got := ask(); status != http.StatusOK || got != "system" {
		t.Errorf("with one: %d %q", status, got)
	}
}

func TestRefusals(t *testing.T) {
	sim, _, o := start(t, akvsim.Options{})
	sim.Put("greeting", "hello", nil)
	sim.AddApp(akvsim.App{ClientID: "old", Secret: "s3cret", SecretExpired: true})
	sim.AddApp(akvsim.App{ClientID: "denied-one", Secret: "s3cret", May: akvsim.Get, Deny: []string{"greeting"}})
	cert, other := certificatetest.SelfSignedRSA(), certificatetest.SelfSignedRSA()
	sim.AddApp(akvsim.App{ClientID: "with-certificate", Certificate: cert.Certificate, May: akvsim.Get})
	stolen, err := azidentity.NewClientCertificateCredential(akvsim.Tenant, "with-certificate", []*x509.Certificate{other.Certificate}, other.Key, &azidentity.ClientCertificateCredentialOptions{ClientOptions: o})
	if err != nil {
		t.Fatal(err)
	}
	otherTenant, err := azidentity.NewClientSecretCredential("99999999-9999-9999-9999-999999999999", officer, "s3cret", &azidentity.ClientSecretCredentialOptions{ClientOptions: o, AdditionallyAllowedTenants: []string{"*"}})
	if err != nil {
		t.Fatal(err)
	}
	anybody := secretCredential(t, officer, "s3cret", o)
	for name, tt := range map[string]struct {
		cred  azcore.TokenCredential
		fault akvsim.Fault
		want  string
	}{
		"wrong secret":             {cred: secretCredential(t, officer, "wrong", o), want: "AADSTS7000215"},
		"expired secret":           {cred: secretCredential(t, "old", "s3cret", o), want: "AADSTS7000222"},
		"unknown application":      {cred: secretCredential(t, "nobody", "s3cret", o), want: "AADSTS700016"},
		"another certificate":      {cred: stolen, want: "AADSTS700027"},
		"no permission":            {cred: secretCredential(t, reader, "s3cret", o), want: "403 Forbidden ForbiddenByRbac"},
		"one secret denied":        {cred: secretCredential(t, "denied-one", "s3cret", o), want: "403 Forbidden ForbiddenByRbac"},
		"firewall":                 {cred: anybody, fault: akvsim.Firewall("192.0.2.1"), want: "403 Forbidden ForbiddenByFirewall"},
		"private link only":        {cred: anybody, fault: akvsim.PrivateLinkOnly(), want: "403 Forbidden ForbiddenByConnection"},
		"throttled":                {cred: anybody, fault: akvsim.Throttled("1"), want: "429 Throttled"},
		"unavailable":              {cred: anybody, fault: akvsim.Unavailable(), want: "503 ServiceUnavailable"},
		"broken off":               {cred: anybody, fault: akvsim.Fault{Drop: true}, want: "INTERNAL_ERROR"},
		"another tenant's sign-in": {cred: otherTenant, want: "hello"}, // the challenge names the right one
	} {
		t.Run(name, func(t *testing.T) {
			sim.Fail(akvsim.KeyVault, tt.fault)
			if cmp.Equal(tt.fault, akvsim.Fault{}) {
				sim.Recover()
			}
			if got := outcome(client(t, akvsim.VaultURI, tt.cred, o).GetSecret(context.Background(), "greeting", "", nil)); !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestFaultsEndByNumberAndByRecovery(t *testing.T) {
	sim, _, o := start(t, akvsim.Options{})
	sim.Put("greeting", "hello", nil)
	c := client(t, akvsim.VaultURI, secretCredential(t, officer, "s3cret", o), o)
	read := func() string { return outcome(c.GetSecret(context.Background(), "greeting", "", nil)) }
	got := []string{read()}
	f := akvsim.Throttled("")
	f.Times = 2
	sim.Fail(akvsim.KeyVault, f)
	got = append(got, read(), read(), read())
	sim.Fail(akvsim.KeyVault, akvsim.Unavailable())
	got = append(got, read())
	sim.Recover()
	got = append(got, read())
	if diff := cmp.Diff([]string{"hello", "429 Throttled", "429 Throttled", "hello", "503 ServiceUnavailable", "hello"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestHangingEndsWithTheClientsPatience(t *testing.T) {
	sim, _, o := start(t, akvsim.Options{})
	sim.Fail(akvsim.KeyVault, akvsim.Fault{Hang: true})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	c := client(t, akvsim.VaultURI, secretCredential(t, officer, "s3cret", o), o)
	if _, err := c.GetSecret(ctx, "greeting", "", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestLateAnswerIsTheServicesOwn(t *testing.T) {
	sim, _, o := start(t, akvsim.Options{})
	sim.Put("greeting", "hello", nil)
	c := client(t, akvsim.VaultURI, secretCredential(t, officer, "s3cret", o), o)
	const late = 20 * time.Millisecond
	sim.Fail(akvsim.KeyVault, akvsim.Fault{Late: late})
	if got := outcome(c.GetSecret(context.Background(), "greeting", "", nil)); got != "hello" {
		t.Errorf("got %q", got)
	}
	for _, r := range sim.Requests(akvsim.Request.SecretRead) {
		if took := r.Answered.Sub(r.Began); took < late {
			t.Errorf("answered after %s, want %s at least", took, late)
		}
	}
	sim.Fail(akvsim.KeyVault, akvsim.Fault{Late: time.Hour})
	ctx, cancel := context.WithTimeout(context.Background(), 2*late)
	defer cancel()
	if _, err := c.GetSecret(ctx, "greeting", "", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestRevokedTokens(t *testing.T) {
	sim, _, o := start(t, akvsim.Options{})
	sim.Put("greeting", "hello", nil)
	c := client(t, akvsim.VaultURI, secretCredential(t, officer, "s3cret", o), o)
	read := func() string { return outcome(c.GetSecret(context.Background(), "greeting", "", nil)) }
	got := []string{read()}
	sim.RevokeTokens(true) // the SDK answers a claims challenge with a new token
	got = append(got, read())
	sim.RevokeTokens(false) // but believes in the one it has when there is none
	got = append(got, read())
	if diff := cmp.Diff([]string{"hello", "hello", "401 Unauthorized"}, got); diff != "" {
		t.Error(diff)
	}
	if n := len(sim.Requests(akvsim.Request.TokenRequest)); n != 2 {
		t.Errorf("%d token requests, want 2", n)
	}
}

func TestTheLogTellsWhoAskedForWhat(t *testing.T) {
	sim, _, o := start(t, akvsim.Options{AccessPolicies: true})
	c := client(t, akvsim.VaultURI, secretCredential(t, reader, "s3cret", o), o)
	if got := outcome(c.GetSecret(context.Background(), "greeting", "", nil)); got != "403 Forbidden ForbiddenByPolicy" {
		t.Errorf("got %q", got)
	}
	var got []string
	for _, r := range sim.Requests(nil) {
		got = append(got, fmt.Sprint(r.Service, " ", r.Method, " ", r.Path, " ", r.Status, " ", r.ClientID, " ", r.SecretRead(), " ", r.TokenRequest()))
	}
	want := []string{
		"key vault GET /secrets/greeting/ 401  false false",
		"entra id GET /common/discovery/instance 200  false false",
		"entra id GET /" + akvsim.Tenant + "/v2.0/.well-known/openid-configuration 200  false false",
		"entra id POST /" + akvsim.Tenant + "/oauth2/v2.0/token 200 " + reader + " false true",
		"key vault GET /secrets/greeting/ 403 " + reader + " true false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	sim.Forget()
	c.NewListSecretPropertiesPager(nil).NextPage(context.Background())
	if pages := sim.Requests(nil); len(pages) != 1 || !pages[0].SecretList() || pages[0].SecretRead() {
		t.Errorf("after Forget and one page of a list: %+v", pages)
	}
}

func TestOtherHostsAreRefused(t *testing.T) {
	_, server, _ := start(t, akvsim.Options{})
	for _, url := range []string{"https://example.com/", "https://other.vault.azure.net/"} {
		if _, err := server.Transport().RoundTrip(request(t, url)); err == nil || !strings.Contains(err.Error(), "Bad Gateway") {
			t.Errorf("%s: %v", url, err)
		}
	}
	r, err := server.Transport().RoundTrip(request(t, "http://example.com/"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusBadGateway {
		t.Errorf("http://example.com/: %s", r.Status)
	}
}

func TestHostsOfOtherCloudsAreServedBesideAzures(t *testing.T) {
	_, server, _ := start(t, akvsim.Options{Others: map[string]http.HandlerFunc{
		"other.example": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) },
	}})
	for _, url := range []string{"https://other.example/", "http://other.example/"} {
		r, err := server.Transport().RoundTrip(request(t, url))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != http.StatusTeapot {
			t.Errorf("%s: %s", url, r.Status)
		}
	}
}

// Vault, which is shown access tokens, verifies them by their signature.
func TestAccessTokensAreSigned(t *testing.T) {
	sim, _, o := start(t, akvsim.Options{})
	token, err := secretCredential(t, officer, "s3cret", o).GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://management.azure.com//.default"}})
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(sim.PublicKey()))
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	dot := strings.LastIndexByte(token.Token, '.')
	signature, err := base64.RawURLEncoding.DecodeString(token.Token[dot+1:])
	if err != nil || len(signature) != 64 {
		t.Fatalf("%d bytes, %v", len(signature), err)
	}
	digest := sha256.Sum256([]byte(token.Token[:dot]))
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(key.(*ecdsa.PublicKey), digest[:], r, s) {
		t.Error("the signature is wrong")
	}
}

func TestMachinesSayWhichTheyAre(t *testing.T) {
	_, server, _ := start(t, akvsim.Options{})
	r := request(t, "http://169.254.169.254/metadata/instance/compute?api-version=2021-02-01")
	r.Header.Set("Metadata", "true")
	resp, err := server.Transport().RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var machine struct{ Name, ResourceGroupName string }
	if err := json.NewDecoder(resp.Body).Decode(&machine); err != nil || machine.Name != "vm-1" || machine.ResourceGroupName != "gateways" {
		t.Errorf("%+v, %v", machine, err)
	}
}

func request(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
