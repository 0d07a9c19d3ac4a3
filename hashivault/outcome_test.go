package hashivault

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

const alice = "GET secret/data/kong-auth/alice"

// Answers that a real Vault doesn't give in these tests, and those of other servers.
func TestOnlyVaultsOwnStatementIsADefiniteNo(t *testing.T) {
	const (
		page    = "<html><body>Not Found</body></html>"
		gone    = `{"request_id":"1","data":{"data":null,"metadata":{"deletion_time":"2026-01-02T03:04:05Z","destroyed":false}},"warnings":null}`
		warning = `{"request_id":"1","data":null,"warnings":["Invalid path for a versioned K/V secrets engine. See the API docs."]}`
	)
	huge := strings.Repeat("x", maxBody)
	for _, test := range []struct {
		about  string
		answer http.HandlerFunc
		want   verdict
	}{
		{"a record", canned(200, secret("alice")), verdict{Found: "alice"}},
		{"a record of another name", canned(200, secret("bob")), verdict{Absent: secretstore.ReasonUnusable}},
		{"a secret that is no record", canned(200, `{"request_id":"1","data":{"data":{},"metadata":{}}}`), verdict{Absent: secretstore.ReasonUnusable}},
		{"a secret over 64 KiB", canned(200, `{"request_id":"1","data":{"data":{"x":"`+huge[:70_000]+`"}}}`), verdict{Absent: secretstore.ReasonUnusable}},
		{"a secret too large to read", canned(200, `{"request_id":"1","data":{"data":{"x":"`+huge+`"}}}`), verdict{Absent: secretstore.ReasonUnusable}},
		{"a page too large to read", canned(200, page+huge), verdict{Failure: "unexpected"}},
		{"200 without a body", canned(200, ""), verdict{Failure: "unexpected"}},
		{"200 and a page", canned(200, page), verdict{Failure: "unexpected"}},
		{"200 and other JSON", canned(200, `{"status":"ok"}`), verdict{Failure: "unexpected"}},
		{"200 with data null", canned(200, `{"request_id":"1","data":null}`), verdict{Failure: "unexpected"}},
		{"200 with the data of a version null", canned(200, `{"request_id":"1","data":{"data":null,"metadata":{}}}`), verdict{Failure: "unexpected"}},
		{"200 of a deleted version", canned(200, gone), verdict{Absent: secretstore.ReasonDeleted}},
		{"200 of a version that ends at a time nobody understands", canned(200, strings.Replace(secret("alice"), `"deletion_time":""`, `"deletion_time":"soon"`, 1)), verdict{Failure: "unexpected"}},
		{"204", canned(204, ""), verdict{Failure: "unexpected"}},

		{"404 with no errors", canned(404, notFound), verdict{Absent: secretstore.ReasonNotFound}},
		{"404 with no errors, spaced", canned(404, "{ \"errors\" : [ ] }\n"), verdict{Absent: secretstore.ReasonNotFound}},
		{"404 of a deleted version", canned(404, gone), verdict{Absent: secretstore.ReasonDeleted}},
		{"404 with no errors and more", canned(404, `{"errors":[],"warnings":["moved"]}`), verdict{Failure: "unexpected"}},
		{"404 with errors null", canned(404, `{"errors":null}`), verdict{Failure: "unexpected"}},
		{"404 with errors twice", canned(404, `{"errors":[],"errors":[]}`), verdict{Failure: "unexpected"}},
		{"404 and nothing else", canned(404, ""), verdict{Failure: "unexpected"}},
		{"404 and a page", canned(404, page), verdict{Failure: "unexpected"}},
		{"404 with a warning and no data", canned(404, warning), verdict{Failure: "unexpected"}},
		{"404 of a route", canned(404, `{"errors":["no handler for route \"secret/data/kong-auth/alice\". route entry not found."]}`), verdict{Failure: "mount"}},
		{"404 with the metadata of a living version", canned(404, `{"data":{"data":null,"metadata":{"deletion_time":"","destroyed":false}}}`), verdict{Failure: "unexpected"}},

		{"400", canned(400, `{"errors":["Upgrading from non-versioned to versioned data."]}`), verdict{Failure: "unexpected"}},
		{"400 of a TLS port", canned(400, "Client sent an HTTP request to an HTTPS server."), verdict{Failure: "tls"}},
		{"403 of a firewall", canned(403, page), verdict{Failure: "unexpected"}},
		{"412", canned(412, `{"errors":["required index state not present"]}`), verdict{Failure: "standby"}},
		{"472", canned(472, ""), verdict{Failure: "standby"}},
		{"473", canned(473, ""), verdict{Failure: "standby"}},
		{"429", canned(429, `{"errors":["request path \"secret/data/kong-auth/alice\": rate limit quota exceeded"]}`), verdict{Failure: "rate_limited"}},
		{"500", canned(500, `{"errors":["1 error occurred:\n\t* local node not active but active cluster node not found\n\n"]}`), verdict{Failure: "server"}},
		{"501", canned(501, `{"errors":["Vault is not initialized"]}`), verdict{Failure: "server"}},
		{"502 and a page", canned(502, page), verdict{Failure: "server"}},
		{"503 sealed", canned(503, sealed), verdict{Failure: "sealed"}},
		{"503 and a page", canned(503, page), verdict{Failure: "server"}},
		{"a redirect elsewhere", canned(302, "", "Location", "https://login.example.com/"), verdict{Failure: "redirect"}},
	} {
		t.Run(test.about, func(t *testing.T) {
			v := newFakeVault()
			v.on(alice, test.answer)
			got, err := readWithin(t, openOn(t, config(nil), nil, v), 5*time.Second, "alice")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
			if err != nil && (strings.Contains(err.Error(), "alice") || strings.Contains(err.Error(), testToken)) {
				t.Errorf("the error holds a token: %v", err)
			}
		})
	}
}

// What only one name may be answered with must not be taken for a failure of the
// store: whoever knows such a name could make an outage of it.
func TestAnswersToOneNameAreDistinguishedFromFailuresOfTheStore(t *testing.T) {
	const page = "<html><body>Request blocked</body></html>"
	for _, test := range []struct {
		about   string
		answer  http.HandlerFunc
		oneName bool
	}{
		{"400 of KV v1", canned(400, `{"errors":["1 error occurred:\n\t* read failed: relative paths not supported\n\n"]}`), true},
		{"a firewall's 400", canned(400, page), true},
		{"a firewall's 401", canned(401, page), true},
		{"a firewall's 403", canned(403, page), true},
		{"a firewall's 404", canned(404, page), true},
		{"a firewall's 406", canned(406, ""), true},
		{"a firewall's 200", canned(200, page), true},
		{"a firewall's redirect", canned(302, "", "Location", "https://blocked.example.com/"), true},
		{"403 of a policy", canned(403, noPermission), true},
		{"405", canned(405, `{"errors":["unsupported operation"]}`), true},
		{"412", canned(412, `{"errors":["required index state not present"]}`), true},
		{"400 of a TLS port", canned(400, "Client sent an HTTP request to an HTTPS server."), false},
		{"404 of a route", canned(404, `{"errors":["no handler for route \"secret/data/kong-auth/alice\". route entry not found."]}`), false},
		{"429", canned(429, `{"errors":["rate limit quota exceeded"]}`), false},
		{"429 and a page", canned(429, page), false},
		{"500", canned(500, `{"errors":["internal error"]}`), false},
		{"502 and a page", canned(502, page), false},
		{"503 sealed", canned(503, sealed), false},
	} {
		t.Run(test.about, func(t *testing.T) {
			v := newFakeVault()
			v.on(alice, test.answer)
			_, err := readWithin(t, openOn(t, config(nil), nil, v), 5*time.Second, "alice")
			var f *secretstore.Failure
			if !errors.As(err, &f) || f.AboutKey() != test.oneName {
				t.Errorf("%v: of one name: %t, want %t", err, f.AboutKey(), test.oneName)
			}
		})
	}
}

func TestRetryAfterIsPassedOn(t *testing.T) {
	for _, test := range []struct {
		header string
		want   time.Duration
	}{
		{"7", 7 * time.Second},
		{"", 0},
		{"-7", 0},
		{"soon", 0},
		{"86400", maxRetryAfter},
		{"Mon, 02 Jan 2006 15:04:05 GMT", 0},
	} {
		v := newFakeVault()
		v.on(alice, canned(429, `{"errors":["rate limit quota exceeded"]}`, "Retry-After", test.header))
		_, err := readWithin(t, openOn(t, config(nil), nil, v), 5*time.Second, "alice")
		var f *secretstore.Failure
		if !errors.As(err, &f) || f.RetryAfter() != test.want {
			t.Errorf("Retry-After %q: %v, want %v", test.header, f.RetryAfter(), test.want)
		}
	}
}

func TestVaultsMessagesAreQuotedWithoutTheAccessToken(t *testing.T) {
	for access, want := range map[string]string{
		"alice": `: request path "secret/data/kong-auth/` + fingerprint("alice") + `": rate limit quota exceeded `,
		"a":     " ", // is in any text
	} {
		v := newFakeVault()
		v.on("GET secret/data/kong-auth/"+access, canned(429, `{"errors":["request path \"secret/data/kong-auth/`+access+`\": rate limit quota exceeded"]}`))
		_, err := readWithin(t, openOn(t, config(nil), nil, v), time.Second, access)
		want = "read secret/data/kong-auth/" + fingerprint(access) + ": status 429" + want +
			"(raise Vault's rate limit quota, or lower max_lookups_per_second)"
		if diff := cmp.Diff(want, err.Error()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestSecretTokensMayBeBase64(t *testing.T) {
	encode := base64.StdEncoding.EncodeToString
	secret := func(token, previous string) http.HandlerFunc {
		return canned(200, `{"data":{"data":{"access_token":"alice","consumer":"a","secret_token":"`+token+`",
			"previous_secret_token":"`+previous+`","previous_expires_at":4102444800},"metadata":{}}}`)
	}
	for _, test := range []struct {
		about, stored, previous, want, wantPrevious string
	}{
		{"padded", encode([]byte("s3cret?")), encode([]byte("older")), "s3cret?", "older"},
		{"without padding", strings.TrimRight(encode([]byte("s3cret?")), "="), "", "s3cret?", ""},
		{"with a line end", encode([]byte("s3cret?")) + `\n`, "", "s3cret?", ""},
		{"binary", encode([]byte{0xff, 0xfe}), "", "\xff\xfe", ""},
		{"a previous one that isn't", encode([]byte("s3cret?")), "%%%", "s3cret?", ""},
	} {
		v := newFakeVault()
		v.on(alice, secret(test.stored, test.previous))
		r, err := openOn(t, config(func(c *Config) { c.Base64Decode = true }), nil, v).Read(t.Context(), "alice")
		if err != nil {
			t.Errorf("%s: %v", test.about, err)
		} else if r.Secret.Token != test.want || r.Previous.Token != test.wantPrevious {
			t.Errorf("%s: %q and %q", test.about, r.Secret.Token, r.Previous.Token)
		}
	}

	v := newFakeVault()
	v.on(alice, secret("not base64!", ""))
	got, err := readWithin(t, openOn(t, config(func(c *Config) { c.Base64Decode = true }), nil, v), time.Second, "alice")
	if got != (verdict{Absent: secretstore.ReasonUnusable}) {
		t.Errorf("%v, %v", got, err)
	}
}

// Whatever a server sends, a record needs status 200 and a negative answer 200 or 404,
// and no error contains the token.
func FuzzOutcome(f *testing.F) {
	const name = "fuzzed-access-token"
	for _, body := range []string{secret(name), notFound, noPermission, sealed, "", "{", "<html>", `{"errors":["` + name + `"]}`,
		`{"data":{"data":null,"metadata":{"destroyed":true}}}`, `{"data":[]}`, `{"warnings":["secret/data/kong-auth/` + name + `"]}`} {
		for _, status := range []int{200, 400, 404, 429, 503} {
			f.Add(status, []byte(body), true)
		}
	}
	f.Fuzz(func(t *testing.T, status int, body []byte, v2 bool) {
		kv := kv1
		if v2 {
			kv = kv2
		}
		s := &store{settings: settings{mount: "secret", path: "kong-auth"}, identity: testIdentity}
		var r *credential.Record
		found, err := s.outcome(&answer{status: status, header: http.Header{}, body: body}, s.name(name, kv), kv)
		if err == nil {
			r, err = s.parse(found, name)
		}
		var (
			absent  *secretstore.Absent
			failure *secretstore.Failure
		)
		switch {
		case err == nil:
			if status != 200 || r.AccessToken != name {
				t.Errorf("status %d is a record of %q", status, r.AccessToken)
			}
		case errors.As(err, &absent):
			if status != 200 && status != 404 {
				t.Errorf("status %d is a definite no: %v", status, err)
			}
		case !errors.As(err, &failure):
			t.Errorf("%T", err)
		}
		if err != nil && strings.Contains(err.Error(), name) {
			t.Errorf("the error holds the access token: %v", err)
		}
		var unusable *credential.UnusableError
		if errors.As(err, &unusable) && len(unusable.Detail) > 300 {
			t.Errorf("the detail is long: %v", err)
		}
	})
}
