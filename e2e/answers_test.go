package e2e

import (
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"kong-vault-auth/e2e/program"
	"kong-vault-auth/e2e/vaultserver"

	"github.com/google/go-cmp/cmp"
)

const challenge = "VaultAuth"

// refusal is what the table of answers in the documentation says of an answer.
type refusal struct {
	Status    int
	Message   string
	Challenge string // WWW-Authenticate
	Retry     bool   // Retry-After is there
	Type      string // Content-Type
	Proxied   bool   // the upstream has seen the request
}

func refused(a answer) refusal {
	return refusal{
		a.Status, a.Message, a.Header.Get("WWW-Authenticate"), a.Header.Get("Retry-After") != "",
		a.Header.Get("Content-Type"), a.Upstream != nil,
	}
}

const jsonType = "application/json; charset=utf-8"

func unauthorized(message string) refusal {
	return refusal{Status: 401, Message: message, Challenge: challenge, Type: jsonType}
}

// with returns a copy of the header with more lines in it.
func with(h http.Header, more ...string) http.Header {
	h = maps.Clone(h)
	for i := 0; i < len(more); i += 2 {
		h[more[i]] = append(h[more[i]], more[i+1])
	}
	return h
}

func TestFailedAuthenticationIsAnswered401(t *testing.T) {
	w := newEnv(t)
	good := w.credential(nil)
	stored := func(record object) http.Header { return w.credential(record).header() }
	hour := time.Now().Add(-time.Hour).Unix()
	g := w.start(w.guarded("/", nil))
	if a := w.get(g, "/", good.header()); a.Status != 200 {
		t.Fatalf("the good pair is answered %d %s", a.Status, a.Body)
	}

	tests := []struct {
		name   string
		header http.Header
		want   string
	}{
		{"no tokens", nil, "No access token found in request"},
		{"no access token", http.Header{"secret_token": {good.secret}}, "No access token found in request"},
		{"no secret token", http.Header{"access_token": {good.access}}, "No secret token found in request"},
		{"empty secret token", pair{good.access, ""}.header(), "No secret token found in request"},
		{"two access tokens", with(good.header(), "access_token", "another"), "Duplicate access token found"},
		{"two access tokens, spelled differently", with(good.header(), "Access-Token", good.access), "Duplicate access token found"},
		{"unknown access token", newPair().header(), "Unauthorized"},
		{"wrong secret token", pair{good.access, "wrong"}.header(), "Unauthorized"},
		{"another credential's secret token", pair{good.access, w.credential(nil).secret}.header(), "Unauthorized"},
		{"expired credential", stored(object{"expires_at": hour}), "Unauthorized"},
		{"access token with other characters", pair{"a/b", "x"}.header(), "Unauthorized"},
		{"access token that climbs", pair{"..", "x"}.header(), "Unauthorized"},
		{"access token that is too long", pair{strings.Repeat("a", 256), "x"}.header(), "Unauthorized"},
		{"record of another access token", stored(object{"access_token": "another"}), "Unauthorized"},
		{"record without secret token", stored(object{"secret_token": nil}), "Unauthorized"},
		{"record without consumer", stored(object{"consumer": nil}), "Unauthorized"},
		{"consumer that Kong doesn't have", stored(object{"consumer": object{"username": "nobody"}}), "Unauthorized"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := w.get(g, "/", tt.header)
			if diff := cmp.Diff(unauthorized(tt.want), refused(a)); diff != "" {
				t.Errorf("answer (-want +got):\n%s\n%s", diff, a.Body)
			}
			if !strings.Contains(a.Body, `"request_id":"`+a.Header.Get("X-Kong-Request-Id")) {
				t.Errorf("no request_id in %s", a.Body)
			}
		})
	}
}

func TestMalformedAccessTokensAreNotLookedUp(t *testing.T) {
	w := newEnv(t)
	g := w.start(w.guarded("/", nil))
	for _, token := range []string{"..", ".", "a..b", "a/b", "a b", "ä", "%2e%2e"} {
		if a := w.get(g, "/", pair{token, "x"}.header()); a.Status != 401 {
			t.Errorf("access token %q is answered %d", token, a.Status)
		}
		if n := w.reads(token); n != 0 {
			t.Errorf("access token %q was looked up %d times", token, n)
		}
	}
}

func TestRealmIsInTheChallenge(t *testing.T) {
	w := newEnv(t)
	g := w.start(w.guarded("/", object{"realm": `the "orders" API`}))
	want := `VaultAuth realm="the \"orders\" API"`
	if got := w.get(g, "/", nil).Header.Get("WWW-Authenticate"); got != want {
		t.Errorf("WWW-Authenticate: %s, want %s", got, want)
	}
}

func TestGRPCGetsThePlainMessage(t *testing.T) {
	w := newEnv(t)
	g := w.start(w.guarded("/", nil))
	h2 := &http.Client{Transport: &http.Transport{Protocols: new(http.Protocols)}}
	h2.Transport.(*http.Transport).Protocols.SetUnencryptedHTTP2(true)

	a := w.fetch(h2, g.H2URL(), http.MethodPost, "/orders.Orders/List", http.Header{
		"Content-Type": {"application/grpc"}, "Te": {"trailers"},
	}, "\x00\x00\x00\x00\x00")
	got := [...]string{a.Header.Get("Grpc-Status"), a.Header.Get("Grpc-Message")}
	want := [...]string{"16", "No access token found in request"}
	if got != want {
		t.Errorf("grpc-status and grpc-message: %q, want %q (HTTP status %d, %v)", got, want, a.Status, a.Header)
	}
	if strings.Contains(a.Header.Get("Content-Type"), "json") {
		t.Errorf("Content-Type: %s", a.Header.Get("Content-Type"))
	}
	if seen := w.upstream.received(); len(seen) != 0 {
		t.Errorf("the upstream has seen %v", seen)
	}
}

func TestTooManyHeadersAreAnswered431(t *testing.T) {
	w := newEnv(t)
	p := w.credential(nil)
	g := w.start(w.guarded("/", nil))
	headers := func(n int) http.Header {
		h := p.header()
		for i := range n {
			h[fmt.Sprintf("h%d", i)] = []string{"x"}
		}
		return h
	}
	if a := w.get(g, "/", headers(300)); a.Status != 200 || a.Upstream.Header.Get("h299") != "x" {
		t.Errorf("300 more headers: %d %s", a.Status, a.Body)
	}
	a := w.get(g, "/", with(headers(1001), "X-Consumer-ID", bobID))
	if a.Upstream != nil {
		t.Errorf("1001 more headers have reached the upstream: %v", told(a.Upstream))
	}
	if a.Status == 400 && genuineKong != "" {
		t.Log("1001 more headers: nginx answers 400 before any plugin, as it does since Kong 3.9.3")
	} else if a.Status != 431 {
		t.Errorf("1001 more headers: %d %s", a.Status, a.Body)
	}
}

func TestUnexpectedErrorsAreAnswered500(t *testing.T) {
	w := newEnv(t)
	p := w.credential(nil)
	tests := []struct {
		name   string
		route  route
		header http.Header
		logged string
	}{
		{
			"anonymous consumer that Kong doesn't have", w.guarded("/", object{"anonymous": "nobody"}), nil,
			"nobody",
		},
		{
			"reference that can't be resolved", w.guarded("/", object{"hcv": w.hcv(object{"token": "{vault://env/no-such-variable}"})}), p.header(),
			"{vault://env/no-such-variable}",
		},
		{
			"vault object that the node doesn't define", w.guarded("/", object{"vault": "no-such-vault"}), p.header(),
			"no-such-vault",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := w.in(t)
			g := w.start(tt.route)
			want := refusal{Status: 500, Message: "An unexpected error occurred", Type: jsonType}
			if diff := cmp.Diff(want, refused(w.get(g, "/", tt.header))); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if !strings.Contains(g.Log(), tt.logged) {
				t.Errorf("the error log does not name %s", tt.logged)
			}
		})
	}
}

func TestTooManyUnknownTokensAreAnswered429(t *testing.T) {
	w := newEnv(t)
	known := w.credential(nil)
	g := w.start(w.guarded("/", object{"hcv": w.hcv(object{"max_lookups_per_second": 1})}))
	if a := w.get(g, "/", known.header()); a.Status != 200 {
		t.Fatalf("the known pair is answered %d %s", a.Status, a.Body)
	}

	answers := make(chan refusal)
	const guesses = 30
	for range guesses {
		go func() {
			answers <- refused(w.fetch(http.DefaultClient, g.URL(), http.MethodGet, "/", newPair().header(), ""))
		}()
	}
	counts := map[int]int{}
	for range guesses {
		a := <-answers
		counts[a.Status]++
		if a.Status == 429 && !a.Retry {
			t.Errorf("429 without Retry-After")
		}
	}
	if counts[401] == 0 || counts[429] == 0 || counts[401]+counts[429] != guesses {
		t.Errorf("%d guesses are answered %v", guesses, counts)
	}
	if a := w.get(g, "/", known.header()); a.Status != 200 {
		t.Errorf("meanwhile, the known pair is answered %d %s", a.Status, a.Body)
	}
}

// TestRecordsAsPeopleWriteThem: what can be understood works; the rest is in Kong's log, at
// a level that it shows by default.
func TestRecordsAsPeopleWriteThem(t *testing.T) {
	w := newEnv(t)
	g := w.start(w.guarded("/", nil))
	for _, tt := range []struct {
		name   string
		secret func(s string) string
		record object
		status int
		logged string // empty: nothing about a credential
	}{
		{"secret_token=@file", func(s string) string { return s + "\n" }, nil, 200, ""},
		{"RFC 3339", nil, object{"expires_at": "2100-01-01T00:00:00Z"}, 200, ""},
		{"milliseconds", nil, object{"expires_at": "4102444800000"}, 401, "expires_at: it is not in seconds"},
		{"an end of 0", nil, object{"expires_at": 0}, 401, "expires_at: it is 0"},
		{"a ttl in words", nil, object{"ttl": "an hour"}, 200, "ttl: it is no number"},
		{"a grace period without an end", nil, object{"previous_secret_token": "old"}, 200, "previous_expires_at: it is missing"},
		{"two line ends", func(s string) string { return s + "\n\n" }, nil, 401, "secret_token: it begins or ends with white space"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPair()
			record := object{}
			maps.Copy(record, tt.record)
			if tt.secret != nil {
				record["secret_token"] = tt.secret(p.secret)
			}
			w.put(p, record)
			before := len(g.Log())
			for range 2 {
				if a := w.get(g, "/", p.header()); a.Status != tt.status {
					t.Errorf("%d %s, want %d", a.Status, a.Body, tt.status)
				}
			}
			w.get(g, "/", newPair().header()) // lines from the background ride on the next event
			log := g.Log()[before:]
			if !strings.Contains(log, tt.logged) || strings.Contains(log, "credential=") != (tt.logged != "") {
				t.Errorf("want %q: %s", tt.logged, log)
			}
		})
	}
}

// TestPlusThatAFormTurnsIntoASpaceIsExplained: clients that keep sending it don't count as
// guessing, for which more than 20 wrong secrets in a minute would be limited. The tokens are
// in a form, since nginx adds the query string to each line of the log.
func TestPlusThatAFormTurnsIntoASpaceIsExplained(t *testing.T) {
	w := newEnv(t)
	p := pair{"access-" + rand.Text(), "a+b+" + rand.Text()}
	w.put(p, nil)
	g := w.start(w.guarded("/", object{"tokens_in_body": true}))
	form := func(secret string) int {
		header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		return w.send(g, http.MethodPost, "/", header, "access_token="+p.access+"&secret_token="+secret).Status
	}
	got := map[int]int{}
	for range 25 {
		got[form(p.secret)]++
	}
	if diff := cmp.Diff(map[int]int{401: 25}, got); diff != "" {
		t.Errorf("answers to a bare + (-want +got):\n%s", diff)
	}
	if status := form(url.QueryEscape(p.secret)); status != 200 {
		t.Errorf("escaped: %d", status)
	}
	log := g.Log()
	if !strings.Contains(log, "reason=plus") || !strings.Contains(log, "%2B") || strings.Contains(log, p.access) || strings.Contains(log, p.secret) {
		t.Errorf("not explained: %s", log)
	}
}

func TestNoSecretIsInTheLog(t *testing.T) {
	w := newEnv(t)
	unusable := w.credential(object{"consumer": nil})
	good := w.credential(nil)
	g := w.start(w.guarded("/", nil), w.guarded("/down", object{"hcv": w.hcv(object{"token": "not-a-token"})}))
	w.get(g, "/", unusable.header())
	w.get(g, "/", pair{good.access, "wrong-" + good.secret}.header())
	w.get(g, "/", good.header())
	w.get(g, "/down", good.header())
	for _, secret := range []string{unusable.access, unusable.secret, good.access, good.secret, w.token} {
		if strings.Contains(g.Log(), secret) {
			t.Errorf("%s is in the error log", secret)
		}
	}
}

// TestVersionWithAnEndIsRefusedFromThenOn: delete_version_after holds for cached records too,
// also while Vault can't say whether there is a newer version.
func TestVersionWithAnEndIsRefusedFromThenOn(t *testing.T) {
	for name, tt := range map[string]struct {
		sealed bool
		want   int
	}{"in the cache": {false, 401}, "in an outage": {true, 503}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vault := ownVault(t)
			w := newEnvOn(t, vault, vaultserver.KongAuth)
			// First, since a genuine Kong takes longer to start than the version lasts.
			g := w.start(w.guarded("/", object{"hcv": w.hcv(object{"ttl": 3600})}))
			ending, lasting := newPair(), w.credential(nil)
			_, err := vault.Write(t.Context(), "secret/metadata/kong-auth/"+ending.access, object{"delete_version_after": "3s"})
			w.must(err)
			w.put(ending, nil)
			for _, p := range []pair{ending, lasting} {
				if a := w.ask(g, p); a.Status != 200 {
					t.Fatalf("before: %d %s", a.Status, a.Body)
				}
			}
			if tt.sealed {
				w.must(vault.Seal(t.Context()))
			}
			program.Eventually(t, "the end counts", func() bool { return w.ask(g, ending).Status == tt.want })
			if a := w.ask(g, lasting); a.Status != 200 {
				t.Errorf("one without an end: %d %s", a.Status, a.Body)
			}
		})
	}
}
