package hashivault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/secretstore"
)

// cloud is the hosts of a cloud in this process. A request goes to the handler of its
// host, and fails if there is none.
type cloud map[string]http.HandlerFunc

func (c cloud) client() *http.Client {
	client := withoutRedirects(nil)
	client.Transport = c
	return client
}

func (c cloud) RoundTrip(req *http.Request) (*http.Response, error) {
	h := c[req.URL.Host]
	if h == nil {
		return nil, &url.Error{Op: req.Method, URL: req.URL.String(), Err: errors.New("no route to host")}
	}
	resp, err := inProcess{h}.RoundTrip(req)
	if err == nil { // the SDKs expect a body that is complete
		body, _ := io.ReadAll(resp.Body)
		resp.Body = io.NopCloser(bytes.NewReader(body))
	}
	return resp, err
}

// openIn opens a store on a fake Vault. hosts are the cloud that its login uses.
func openIn(t *testing.T, cfg Config, vault *fakeVault, hosts cloud) *store {
	t.Helper()
	p := &secretstore.Problems{Origin: secretstore.Origin{Node: true}}
	checked := (&checker{&cfg, p, hosts.client()}).settings()
	if err := p.Err("kong-auth"); err != nil {
		t.Fatal(err)
	}
	return openChecked(t, checked, nil, vault)
}

// vaultWithLogin is a fake Vault that records what is sent to a login path. ttl is that
// of its tokens.
func vaultWithLogin(path string, ttl int) (v *fakeVault, logins chan fields) {
	v, logins = newFakeVault(), make(chan fields, 100)
	v.on("GET secret/data/kong-auth/alice", canned(200, secret("alice")))
	v.on("PUT "+path, func(w http.ResponseWriter, r *http.Request) {
		var body fields
		json.NewDecoder(r.Body).Decode(&body)
		logins <- body
		canned(200, granted("hvs.granted", ttl))(w, r)
	})
	return v, logins
}

// wantLogin compares the next login with what it should be.
func wantLogin(t *testing.T, logins chan fields, want fields) {
	t.Helper()
	select {
	case got := <-logins:
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	default:
		t.Error("nobody has logged in")
	}
}

// wantRefused reads, and compares the failure with what it should be. None of the
// secrets may be in it.
func wantRefused(t *testing.T, s secretstore.Store, want secretstore.Failure, secrets ...string) {
	t.Helper()
	_, err := readWithin(t, s, 20*time.Second, "alice")
	var f *secretstore.Failure
	if !errors.As(err, &f) {
		t.Fatalf("%v", err)
	}
	got := secretstore.Failure{Op: f.Op, Reason: f.Reason, LoginRefused: f.LoginRefused}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if f.Remedy == "" {
		t.Errorf("no remedy for %v", err)
	}
	for _, secret := range secrets {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%q is in %v", secret, err)
		}
	}
}

func TestLoginPathsMayBeWrittenAsKongDoes(t *testing.T) {
	for path, want := range map[string]string{
		"/v1/auth/aws/login": "aws", "v1/auth/clouds/aws/login/": "clouds/aws", "auth/aws": "aws", "aws": "aws", "": "",
	} {
		if got := loginMount(path); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

// An issuer's answer decides whether the login is refused, or has only failed.
func TestAnswersOfIssuers(t *testing.T) {
	i := issuer{op: "op", host: "idp.example.com", hint: "the hint", hidden: []string{"s3cret"}}
	const foreign = "check what answers for idp.example.com here: a proxy or firewall may do so by itself"
	for _, test := range []struct {
		about  string
		status int
		body   string
		want   string // of the failure
		reason string
		denied bool
	}{
		{"OAuth2", 401, `{"error":"invalid_client","error_description":"wrong s3cret"}`,
			"op: idp.example.com answered 401: invalid_client: wrong [secret] (the hint)", "login", true},
		{"OAuth2 without words", 400, `{"error":"invalid_scope"}`, "op: idp.example.com answered 400: invalid_scope (the hint)", "login", true},
		{"Google", 403, `{"error":{"code":403,"status":"PERMISSION_DENIED","message":"no eyJhbGciOi.eyJzdWIi.c2ln\nhere"}}`,
			"op: idp.example.com answered 403: PERMISSION_DENIED: no [token] here (the hint)", "login", true},
		{"a page", 403, `<html>`, "op: idp.example.com answered 403 (" + foreign + ")", "unexpected", false},
		{"JSON of somebody else", 403, `{"error":[]}`, "op: idp.example.com answered 403 (" + foreign + ")", "unexpected", false},
		{"a redirect", 302, ``, "op: idp.example.com answered 302 (" + foreign + ")", "unexpected", false},
		{"an outage", 503, `{"error":"temporarily_unavailable"}`,
			"op: idp.example.com answered 503: temporarily_unavailable (check whether idp.example.com reports an outage)", "server", false},
		{"too many", 429, ``, "op: idp.example.com answered 429 (check how many processes log in as this identity, and whether they restart continually)", "rate_limited", false},
		{"an odd success", 200, `[]`, "op: the answer is not one of idp.example.com (" + foreign + ")", "unexpected", false},
	} {
		t.Run(test.about, func(t *testing.T) {
			req := httptest.NewRequest("GET", "https://idp.example.com/", nil)
			req.RequestURI = ""
			err := i.send(cloud{"idp.example.com": canned(test.status, test.body)}.client(), req, &struct{}{})
			var f *secretstore.Failure
			if !errors.As(err, &f) {
				t.Fatal(err)
			}
			got := []any{f.Error(), f.Reason, f.LoginRefused}
			if diff := cmp.Diff([]any{test.want, test.reason, test.denied}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestIssuersThatCannotBeReached(t *testing.T) {
	i := issuer{op: "op", host: "idp.example.com"}
	closed := httptest.NewServer(nil)
	closed.Close()
	untrusted := serveTLS(t, canned(200, "{}"), nil)
	for _, test := range []struct {
		about, address, reason, remedy string
	}{
		{"nobody listens", closed.URL, "network", "check that this node may connect to idp.example.com"},
		{"a CA of somebody's own", untrusted.URL, "tls", "check that the CA of idp.example.com is among the system's"},
		{"the metadata service", "http://169.254.169.254/", "address", "point the vault object at the secret store itself"},
	} {
		t.Run(test.about, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, test.address, nil)
			if err != nil {
				t.Fatal(err)
			}
			err = i.send(newIssuerClient(secretstore.Reach{}), req, &struct{}{})
			var f *secretstore.Failure
			if !errors.As(err, &f) || f.Reason != test.reason || !strings.HasPrefix(f.Remedy, test.remedy) || f.LoginRefused {
				t.Errorf("%+v", err)
			}
		})
	}
}

// Errors repeat what an issuer says, in one line, but no secrets.
func FuzzAnswersOfIssuersHoldNoSecrets(f *testing.F) {
	for _, body := range []string{
		`{"error":"invalid_client","error_description":"s3cret-of-ours"}`, `{"error":{"status":"X","message":"s3cret-of-ours"}}`,
		`{"error":"x","message":"a\nb"}`, `s3cret-of-ours`, `{"error":1}`, `{}`, ``, `{"error":null,"error_description":"\u00733cret-of-ours"}`,
	} {
		f.Add(400, body)
	}
	i := issuer{op: "op", host: "host", hint: "hint", hidden: []string{"s3cret-of-ours"}}
	f.Fuzz(func(t *testing.T, status int, body string) {
		got := i.refusal(status, saidByIssuer([]byte(body)))
		if text := got.Error(); strings.Contains(text, "s3cret-of-ours") || strings.ContainsAny(text, "\r\n") || len(text) > 1000 {
			t.Errorf("%q", text)
		}
		if got.LoginRefused && (status >= 500 || status == 429) {
			t.Errorf("%d refuses the login", status)
		}
	})
}

// The answer of a machine's metadata service becomes only fields of Vault's login.
func FuzzAzureMachines(f *testing.F) {
	for _, body := range []string{
		`{"subscriptionId":"s","resourceGroupName":"g","name":"vm","vmScaleSetName":""}`, `{}`, `[]`, `{"name":1}`, `null`, ``,
	} {
		f.Add(body)
	}
	known := []string{"subscription_id", "resource_group_name", "vm_name", "vmss_name"}
	f.Fuzz(func(t *testing.T, body string) {
		a := &azureIdentity{client: cloud{"imds": canned(200, body)}.client(), instance: "http://imds/"}
		place, err := a.whichMachine(context.Background())
		if (place == nil) == (err == nil) {
			t.Errorf("%v, %v", place, err)
		}
		for field, value := range place {
			if s, isText := value.(string); !slices.Contains(known, field) || !isText || s == "" {
				t.Errorf("%s: %v", field, value)
			}
		}
	})
}
