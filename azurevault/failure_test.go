package azurevault

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/certificatetest"
	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// secrets must not be in any message: the token and everything by which it could be
// recognized, the client secret, and Entra's access tokens.
var secrets = regexp.MustCompile(`(?i)s3same|` + clientSecret + `|eyJ|hunter2`)

// oneLine is what a message must look like to fit into a log.
var oneLine = regexp.MustCompile(`^[^\x00-\x1f\x7f]*$`)

func TestFailuresOfKeyVaultExplainThemselves(t *testing.T) {
	notAllowed := func(a azure) { a.AddApp(akvsim.App{ClientID: clientID, ObjectID: objectID, Secret: clientSecret}) }
	fail := func(f akvsim.Fault) func(azure) { return func(a azure) { a.Fail(akvsim.KeyVault, f) } }
	for name, tt := range map[string]struct {
		policies bool
		do       func(azure)
		reason   string
		want     []string
	}{
		"no role": {do: notAllowed, reason: "denied", want: []string{
			"key vault contoso answered 403 Forbidden ForbiddenByRbac",
			"object id " + objectID + " (client id " + clientID + ")", "Key Vault Secrets User", "--assignee-object-id " + objectID,
			"secret permission get", "az keyvault set-policy --name contoso --object-id " + objectID, "ten minutes",
		}},
		"no access policy": {policies: true, do: notAllowed, reason: "denied", want: []string{
			"403 Forbidden ForbiddenByPolicy", objectID, "Key Vault Secrets User", "set-policy --name contoso",
		}},
		"a principal without a name": {do: fail(akvsim.VaultError(403, "Forbidden", "ForbiddenByRbac", "no")), reason: "denied", want: []string{
			"give the login's principal the role",
		}},
		"an older 403": {do: fail(akvsim.VaultError(403, "Forbidden", "AccessDenied", "no")), reason: "denied", want: []string{"AccessDenied", "get"}},
		"firewall": {do: fail(akvsim.Firewall("192.0.2.17")), reason: "firewall", want: []string{
			"ForbiddenByFirewall", "let 192.0.2.17 through", "az keyvault network-rule add --name contoso", "private endpoint",
		}},
		"private link only":       {do: fail(akvsim.PrivateLinkOnly()), reason: "firewall", want: []string{"ForbiddenByConnection", "let this node's address through", "contoso.vault.azure.net resolves"}},
		"an unnamed network rule": {do: fail(akvsim.VaultError(403, "Forbidden", "", "This TCP connection does not allow access to contoso.vault.azure.net.")), reason: "firewall", want: []string{"private endpoint"}},
		"throttled":               {do: fail(akvsim.Throttled("3")), reason: "rate_limited", want: []string{"429 Throttled", "4,000 reads"}},
		"unavailable":             {do: fail(akvsim.Unavailable()), reason: "server", want: []string{"503 ServiceUnavailable", "outage"}},
		"a gateway's answer":      {do: fail(akvsim.Fault{Status: 502, Body: "<html>s3same"}), reason: "server", want: []string{"answered 502"}},
		"another's 403":           {do: fail(akvsim.Fault{Status: 403, Body: "<html>s3same"}), reason: "unexpected", want: []string{"not one of Key Vault's: status 403", "proxy"}},
		"names in codes":          {do: fail(akvsim.VaultError(400, "kong-auth-s3same", "kong-auth-s3same", "kong-auth-s3same")), reason: "unexpected", want: []string{"answered 400"}},
		"broken off":              {do: fail(akvsim.Fault{Drop: true}), reason: "network", want: []string{"contoso.vault.azure.net: ", "HTTPS_PROXY"}},
		"a bad token":             {do: fail(challenge(`Bearer authorization="https://login.microsoftonline.com/` + akvsim.Tenant + `", resource="https://vault.azure.net", error="invalid_token"`)), reason: "unexpected", want: []string{"status 401"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAzure(t, akvsim.Options{AccessPolicies: tt.policies})
			a.put("s3same", "hunter2", nil)
			tt.do(a)
			_, err := a.open(t, nil).Read(t.Context(), "s3same")
			checkFailure(t, err, tt.reason, append(tt.want, "x-ms-client-request-id "))
			checkDenied(t, err, tt.reason == "denied")
			if !strings.HasPrefix(err.Error(), "read kong-auth/"+credential.Fingerprint(credential.ID("test", "s3same"))+": ") {
				t.Errorf("it does not name the credential: %v", err)
			}
		})
	}
}

// See the test of the same name in hashivault.
func TestAnswersToOneNameAreDistinguishedFromFailuresOfTheStore(t *testing.T) {
	page := func(status int) akvsim.Fault { return akvsim.Fault{Status: status, Body: "<html>blocked"} }
	for name, tt := range map[string]struct {
		fault   akvsim.Fault
		oneName bool
	}{
		"a firewall's 400":      {page(400), true},
		"a firewall's 403":      {page(403), true},
		"a firewall's 404":      {page(404), true},
		"a firewall's 408":      {page(408), true},
		"a firewall's 200":      {page(200), true},
		"a firewall's redirect": {akvsim.Fault{Status: 302, Header: http.Header{"Location": {"https://blocked.example.com/"}}}, true},
		"a name it can't take":  {akvsim.VaultError(400, "BadParameter", "", "The request URI contains an invalid name"), true},
		"no role":               {akvsim.VaultError(403, "Forbidden", "ForbiddenByRbac", "no"), true},
		"no access policy":      {akvsim.VaultError(403, "Forbidden", "ForbiddenByPolicy", "no"), false},
		"the vault's firewall":  {akvsim.Firewall("192.0.2.17"), false},
		"throttled":             {akvsim.Throttled("3"), false},
		"a gateway's 502":       {page(502), false},
		"broken off":            {akvsim.Fault{Drop: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAzure(t, akvsim.Options{})
			a.Fail(akvsim.KeyVault, tt.fault)
			_, err := a.open(t, nil).Read(t.Context(), "alice")
			var f *secretstore.Failure
			if !errors.As(err, &f) || f.AboutKey() != tt.oneName {
				t.Errorf("%v: of one name: %t, want %t", err, f.AboutKey(), tt.oneName)
			}
		})
	}
}

func TestCodesThatCouldNameTheSecretAreNotRepeated(t *testing.T) {
	s := answering(t, http.StatusForbidden, nil, `{"error":{"code":"Forbidden","innererror":{"code":"Alice"}}}`)
	_, err := s.Read(t.Context(), "alice")
	if got := err.Error(); !strings.Contains(got, "answered 403 Forbidden, ") || strings.Contains(got, "Alice") {
		t.Errorf("got %q", got)
	}
}

func TestFailuresOfLoginsExplainThemselves(t *testing.T) {
	with := func(change func(*Config)) func(*Config) { return change }
	managed := func(id string) func(*Config) {
		return func(c *Config) { c.AuthMethod, c.ClientID, c.ClientSecret = "managed_identity", id, "" }
	}
	entra := func(number int) func(azure) {
		return func(a azure) {
			a.Fail(akvsim.Entra, akvsim.EntraError(401, "invalid_client", number, "So it is\r\nfor eyJhbGciOi.eyJpc3Mi.sig and "+clientSecret+"."))
		}
	}
	nobody := "77777777-7777-7777-7777-777777777777"
	for name, tt := range map[string]struct {
		change func(*Config)
		do     func(azure)
		reason string
		want   []string
	}{
		"wrong tenant":       {change: with(func(c *Config) { c.TenantID = nobody }), want: []string{"AADSTS90002: Tenant '" + nobody + "' not found", "check tenant_id"}},
		"wrong secret":       {change: with(func(c *Config) { c.ClientSecret = "hunter2" }), want: []string{"AADSTS7000215", "the secret's value, not its id"}},
		"expired secret":     {do: func(a azure) { a.AddApp(akvsim.App{ClientID: clientID, Secret: clientSecret, SecretExpired: true}) }, want: []string{"AADSTS7000222", "has expired", "az ad app credential reset"}},
		"unknown client":     {change: with(func(c *Config) { c.ClientID = nobody }), want: []string{"AADSTS700016", "check client_id and tenant_id"}},
		"federation, old":    {do: entra(70021), want: []string{"AADSTS70021", "api://AzureADTokenExchange"}},
		"federation, issuer": {do: entra(700211), want: []string{"AADSTS700211", "federated credential"}},
		"federation, aud":    {do: entra(700212), want: []string{"AADSTS700212", "federated credential"}},
		"federation, sub":    {do: entra(700213), want: []string{"AADSTS700213", "federated credential"}},
		"assertion's time":   {do: entra(700024), want: []string{"clock"}},
		"certificate":        {do: entra(700027), want: []string{"client_certificate"}},
		"another cloud":      {do: entra(500011), want: []string{"same cloud"}},
		"conditional access": {do: entra(53003), want: []string{"conditional access"}},
		"another number":     {do: entra(1234567), want: []string{"AADSTS1234567: So it is for [token] and [client secret].", "https://login.microsoftonline.com/error?code=1234567"}},
		"Entra is down":      {do: func(a azure) { a.Fail(akvsim.Entra, akvsim.Fault{Status: 503}) }, reason: "server", want: []string{"login.microsoftonline.com answered 503", "outage"}},
		"Entra throttles":    {do: func(a azure) { a.Fail(akvsim.Entra, akvsim.EntraError(429, "x", 50196, "Slow down.")) }, reason: "rate_limited", want: []string{"too many logins"}},
		"Entra is out": {do: func(a azure) {
			a.Fail(akvsim.Entra, akvsim.EntraError(400, "temporarily_unavailable", 90033, "Later."))
		}, reason: "server", want: []string{"AADSTS90033", "outage"}},
		"not Entra":          {do: func(a azure) { a.Fail(akvsim.Entra, akvsim.Fault{Status: 403, Body: "<html>"}) }, reason: "unexpected", want: []string{"login.microsoftonline.com answered 403", "proxy"}},
		"nonsense":           {do: func(a azure) { a.Fail(akvsim.Entra, akvsim.Fault{Status: 200, Body: "<html>"}) }, reason: "unexpected", want: []string{"login.microsoftonline.com answered 200"}},
		"broken off":         {do: func(a azure) { a.Fail(akvsim.Entra, akvsim.Fault{Drop: true}) }, reason: "network", want: []string{"connect to login.microsoftonline.com"}},
		"IMDS, not assigned": {change: managed(nobody), want: []string{"169.254.169.254 answered 400: Identity not found", nobody, "az vm identity assign"}},
		"IMDS, no identity":  {change: managed(""), want: []string{"Identity not found", "no system-assigned identity"}},
		"IMDS, away":         {change: managed(nobody), do: func(a azure) { a.Fail(akvsim.ManagedIdentity, akvsim.Fault{Drop: true}) }, reason: "network", want: []string{"no managed identity endpoint", "NO_PROXY", "IDENTITY_ENDPOINT"}},
		"IMDS, upgrading":    {change: managed(nobody), do: func(a azure) { a.Fail(akvsim.ManagedIdentity, akvsim.Fault{Status: 410}) }, reason: "server", want: []string{"answered 410"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAzure(t, akvsim.Options{})
			a.put("s3same", "hunter2", nil)
			if tt.do != nil {
				tt.do(a)
			}
			if tt.reason == "" {
				tt.reason = "login"
			}
			s := a.open(t, tt.change)
			_, err := s.Read(t.Context(), "s3same")
			checkFailure(t, err, tt.reason, tt.want)
			checkDenied(t, err, tt.reason == "login")
			if !strings.HasPrefix(err.Error(), "login with "+s.cfg.AuthMethod+": ") {
				t.Errorf("it does not name the login: %v", err)
			}
		})
	}
}

func TestMissingIdentityNamesAllPlacesThatWereSearched(t *testing.T) {
	t.Setenv("PATH", "") // no Azure CLI either
	a := newAzure(t, akvsim.Options{})
	a.Fail(akvsim.ManagedIdentity, akvsim.Fault{Drop: true})
	s := a.openAs(t, Config{VaultURI: akvsim.VaultURI}, secretstore.OpenOptions{TrustNode: true})
	_, err := s.Read(t.Context(), "alice")
	checkFailure(t, err, "login", []string{"login with default: ", "EnvironmentCredential", "ManagedIdentityCredential", "auth_method", "nginx_main_env"})
	checkDenied(t, err, false)

	a.Recover() // and now the endpoint says that there is none
	_, err = s.Read(t.Context(), "alice")
	checkFailure(t, err, "login", []string{"ManagedIdentityCredential"})
	checkDenied(t, err, true)
}

// If Key Vault refuses a token that Entra ID has issued, the login counts as refused too.
// It stays refused while a missing file prevents the next login.
func TestTokensThatKeyVaultRefusesAreDenials(t *testing.T) {
	a := newAzure(t, akvsim.Options{})
	a.put("alice", "s", nil)
	cert := certificatetest.SelfSignedRSA()
	a.AddApp(akvsim.App{ClientID: clientID, ObjectID: objectID, Certificate: cert.Certificate, May: akvsim.Get})
	file := writeFile(t, "cert.pem", []byte(cert.PEM()+cert.KeyPEM()), 0o400)
	s := a.openAs(t, Config{
		VaultURI: akvsim.VaultURI, NamePrefix: prefix, AuthMethod: "client_certificate",
		TenantID: akvsim.Tenant, ClientID: clientID, ClientCertificate: file,
	}, secretstore.OpenOptions{TrustNode: true})
	if got := outcome(s.Read(t.Context(), "alice")); got != "found alice s" {
		t.Fatal(got)
	}
	a.Fail(akvsim.KeyVault, akvsim.Fault{
		Status: 401, Header: http.Header{"Www-Authenticate": {`Bearer authorization="https://login.microsoftonline.com/` + akvsim.Tenant + `", resource="https://vault.azure.net", error="invalid_token"`}},
		Body: `{"error":{"code":"Unauthorized","message":"AKV10046: no"}}`,
	})
	_, err := s.Read(t.Context(), "alice")
	checkFailure(t, err, "login", []string{"401 Unauthorized AKV10046"})
	checkDenied(t, err, true)

	a.Recover()
	a.RevokeTokens(false)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s.login.refusedAt = time.Time{}
	_, err = s.Read(t.Context(), "alice")
	checkFailure(t, err, "file", nil)
	checkDenied(t, err, true)
}

func checkDenied(t *testing.T, err error, want bool) {
	t.Helper()
	var failure *secretstore.Failure
	if !errors.As(err, &failure) || failure.Denied() != want {
		t.Errorf("denied: %v, want %v", !want, want)
	}
}

// checkFailure checks that err is a failure with this reason, has the right text, and
// holds no secret.
func checkFailure(t *testing.T, err error, reason string, want []string) {
	t.Helper()
	var failure *secretstore.Failure
	if !errors.As(err, &failure) || failure.Reason != reason {
		t.Fatalf("got %v, want a failure for the reason %s", err, reason)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is not in: %v", w, err)
		}
	}
	if secrets.MatchString(err.Error()) || !oneLine.MatchString(err.Error()) || failure.Remedy == "" {
		t.Errorf("not fit for a log: %q", err)
	}
}

func TestFailuresOfTheNetworkExplainThemselves(t *testing.T) {
	a := newAzure(t, akvsim.Options{})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	deadProxy := &url.URL{Scheme: "http", Host: closed.Addr().String()}
	errs := func(err error) http.RoundTripper {
		return roundTrip(func(*http.Request) (*http.Response, error) { return nil, err })
	}
	for name, tt := range map[string]struct {
		transport http.RoundTripper
		reason    string
		want      string
	}{
		"a name that is none":  {errs(&net.DNSError{Err: "no such host", Name: "contoso.vault.azure.net", IsNotFound: true}), "network", "privatelink.vaultcore.azure.net"},
		"a silent name server": {errs(&net.DNSError{Err: "i/o timeout", Name: "contoso.vault.azure.net", IsTimeout: true}), "network", "name servers"},
		"refused":              {&http.Transport{Proxy: http.ProxyURL(deadProxy)}, "network", "that the proxy is up"},
		"a CA nobody trusts":   {&http.Transport{Proxy: a.server.Transport().Proxy}, "tls", "SSL_CERT_FILE"},
		"another's name":       {&http.Transport{Proxy: a.server.Transport().Proxy, TLSClientConfig: &tls.Config{RootCAs: a.server.Transport().TLSClientConfig.RootCAs, ServerName: "example.com"}}, "tls", "other names"},
		"no TLS":               {errs(tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}), "tls", "it is not Azure"},
		"a talkative server":   {errs(errors.New(`malformed HTTP response "GET /secrets/kong-auth-s3same"`)), "network", "malformed HTTP response"},
		"a slow server":        {errs(&net.OpError{Op: "dial", Err: timeout{}}), "timeout", "no answer from login.microsoftonline.com in time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := open(complete(Config{
				VaultURI: akvsim.VaultURI, AuthMethod: "client_secret", TenantID: akvsim.Tenant, ClientID: clientID, ClientSecret: clientSecret,
			}), secretstore.OpenOptions{}, &http.Client{Transport: tt.transport})
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Read(t.Context(), "s3same")
			checkFailure(t, err, tt.reason, []string{tt.want})
		})
	}
}

type timeout struct{}

func (timeout) Error() string { return "i/o timeout" }
func (timeout) Timeout() bool { return true }

// answering is a store whose vault answers in one way, and which has a token.
func answering(t *testing.T, status int, header http.Header, body string) *store {
	t.Helper()
	s, err := open(complete(Config{
		VaultURI: akvsim.VaultURI, NamePrefix: prefix, AuthMethod: "client_secret", TenantID: akvsim.Tenant, ClientID: clientID, ClientSecret: clientSecret,
	}), secretstore.OpenOptions{}, &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: header.Clone(), Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	s.login.cred.TokenCredential = tokens(func(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
		return azcore.AccessToken{Token: "eyJhbGciOi.eyJpc3Mi.sig", ExpiresOn: time.Now().Add(time.Hour)}, nil
	})
	return s
}

func FuzzAnswers(f *testing.F) {
	f.Add(403, "", `{"error":{"code":"Forbidden","message":"Caller: appid=`+clientID+`;oid=`+objectID+`;\r\nResource: kong-auth-s3same","innererror":{"code":"ForbiddenByRbac"}}}`, "")
	f.Add(401, `Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.azure.net"`, `{"error":{"code":"Unauthorized","message":"AKV10032: Invalid issuer. Expected one of https://sts.windows.net/x/"}}`, "")
	f.Add(401, `Bearer authorization="https:", resource="https://vault.azure.net"`, "", "")
	f.Add(401, `Bearer realm="", error="insufficient_claims", claims="e30="`, "", "")
	f.Add(200, "", `{"id":"https://contoso.vault.azure.net/secrets/kong-auth-s3same/1","value":"`+strings.ReplaceAll(recordOf("s3same", "hunter2"), `"`, `\"`)+`","attributes":{"enabled":true,"exp":1}}`, "")
	f.Add(200, "", `{"id":"x","value":"hunter2","attributes":{}}`, "")
	f.Add(404, "", `{"error":{"code":"SecretNotFound","message":"kong-auth-s3same"}}`, "")
	f.Add(429, "", `{}`, "-1")
	f.Fuzz(func(t *testing.T, status int, challenge, body, retryAfter string) {
		if status < 200 || status > 599 {
			t.Skip()
		}
		s := answering(t, status, http.Header{"Www-Authenticate": {challenge}, "Retry-After": {retryAfter}, "Retry-After-Ms": {retryAfter}}, body)
		record, err := s.Read(t.Context(), "s3same")
		got := outcome(record, err)
		if err == nil && !strings.HasPrefix(got, "found ") || err != nil && !strings.HasPrefix(got, "absent: ") && !strings.HasPrefix(got, "failure: ") {
			t.Errorf("got %q", got)
		}
		if err != nil && (secrets.MatchString(err.Error()) || !oneLine.MatchString(err.Error())) {
			t.Errorf("not fit for a log: %q", err)
		}
		var failure *secretstore.Failure
		if errors.As(err, &failure) && (failure.Wait < 0 || failure.Wait > maxRetryAfter) {
			t.Errorf("a wait of %v", failure.Wait)
		}
	})
}
