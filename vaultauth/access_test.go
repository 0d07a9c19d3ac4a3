package vaultauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/credential"
	"kong-vault-auth/kongtest"
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/pluginserver/servertest"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/vault"
)

const (
	aliceID      = "2f9d4c8e-8f7d-4f3b-9d55-0c6d2f1b7a01"
	guestID      = "2f9d4c8e-8f7d-4f3b-9d55-0c6d2f1b7a02"
	credentialID = "7d0e8f5e-53c5-5a3c-8b1e-4f0d6f7b9c03"
)

var database = kongtest.ConsumerList{
	{ID: aliceID, Username: "alice", CustomID: "a-1", Tags: []string{"gold"}, CreatedAt: 1550538920},
	{ID: guestID, Username: "guest"},
}

// pairs is a vault object of a few pairs: the secret and the answer by access
// token.
type pairs map[string]struct {
	secret   string
	consumer credential.Consumer
	err      error
}

func (pairs) Usable() error { return nil }

func (p pairs) Lookup(_ context.Context, access, secret string, client vault.Client) (*credential.Credential, error) {
	c, ok := p[access]
	switch {
	case !ok:
		return nil, &vault.RefusedError{Reason: secretstore.ReasonNotFound}
	case c.err != nil:
		return nil, c.err
	case c.secret != secret:
		return nil, &vault.RefusedError{Reason: vault.ReasonWrongSecret}
	}
	return &credential.Credential{ID: credentialID, Consumer: c.consumer}, nil
}

var known = pairs{
	"alice-1":   {secret: "s3cret", consumer: credential.Consumer{ID: aliceID}},
	"alice-2":   {secret: "caf\xe9 =&%41", consumer: credential.Consumer{Username: "alice"}},
	"orphan":    {secret: "s3cret", consumer: credential.Consumer{ID: "2f9d4c8e-8f7d-4f3b-9d55-0c6d2f1b7a09"}},
	"flood":     {err: &vault.LimitError{Object: "kong-auth", RetryAfter: 1500 * time.Millisecond}},
	"guessed":   {err: &vault.GuessingError{Object: "kong-auth", RetryAfter: 40 * time.Second}},
	"down":      {err: &vault.UnavailableError{Object: "kong-auth", Reason: "sealed", RetryAfter: 3 * time.Second, Err: &secretstore.Failure{Op: "read", Reason: "sealed", Err: errors.New("status 503: Vault is sealed"), Remedy: "unseal it"}}},
	"broken":    {err: errors.New("an error nobody expects")},
	"undefined": {err: fmt.Errorf("%w: no such object", secretstore.ErrConfig)},
}

// start runs the plugin with a configuration, over known.
func start(t testing.TB, config string) *servertest.Instance {
	t.Helper()
	_, in := startOn(t, known, config)
	return in
}

// startOn runs the plugin with a configuration, over an object.
func startOn(t testing.TB, object lookuper, config string) (*Plugin, *servertest.Instance) {
	t.Helper()
	var p *Plugin
	s := servertest.Serve(t, func(log *slog.Logger) pluginserver.Plugin {
		p = newPlugin("test", log, func(string, vault.Config) (lookuper, func(), error) { return object, func() {}, nil })
		return p.Plugin
	}, pluginserver.Options{})
	return p, s.Start(t, strings.Replace(`{"vault": "kong-auth", `+strings.TrimPrefix(config, "{"), ", }", "}", 1))
}

// get makes a request of header lines, "Name: value" each.
func get(uri string, lines ...string) *kongtest.Request {
	r := &kongtest.Request{URI: uri, Consumers: database}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		r.Header = append(r.Header, kongtest.Header{Name: name, Value: value})
	}
	return r
}

// lines is the reverse.
func lines(headers []kongtest.Header) []string {
	var out []string
	for _, h := range headers {
		out = append(out, h.Name+": "+h.Value)
	}
	slices.Sort(out)
	return out
}

// asAlice are the identity headers that an upstream sees, beside others.
func asAlice(others ...string) []string {
	all := append([]string{
		"X-Consumer-Custom-ID: a-1", "X-Consumer-ID: " + aliceID, "X-Consumer-Username: alice", "X-Credential-Identifier: " + credentialID,
	}, others...)
	slices.Sort(all)
	return all
}

var asGuest = []string{"X-Anonymous-Consumer: true", "X-Consumer-ID: " + guestID, "X-Consumer-Username: guest"}

func TestRefusals(t *testing.T) {
	const plain = "{}"
	for name, tc := range map[string]struct {
		config     string
		headers    []string
		uri        string
		status     int
		message    string
		retryAfter string
		log        string // part of the last line that Kong's log gets; empty: no line
		reason     string // by which it is counted
	}{
		"no token":                    {config: plain, status: 401, message: "No access token found in request", reason: "no_access_token"},
		"no secret token":             {config: plain, headers: []string{"access_token: alice-1"}, status: 401, message: "No secret token found in request", reason: "no_secret_token"},
		"no access token":             {config: plain, headers: []string{"secret_token: s3cret"}, status: 401, message: "No access token found in request", reason: "no_access_token"},
		"an empty one is missing":     {config: plain, headers: []string{"access_token: alice-1", "secret_token: "}, status: 401, message: "No secret token found in request", reason: "no_secret_token"},
		"access token twice":          {config: plain, headers: []string{"access_token: alice-1", "Access-Token: alice-1", "secret_token: s3cret"}, status: 401, message: "Duplicate access token found", reason: "duplicate_access_token"},
		"secret token twice":          {config: plain, headers: []string{"access_token: alice-1", "secret_token: s3cret", "secret_token: s3cret"}, status: 401, message: "Duplicate secret token found", reason: "duplicate_secret_token"},
		"twice in the query":          {config: plain, uri: "/?access_token=alice-1&access%5Ftoken=alice-1&secret_token=s3cret", status: 401, message: "Duplicate access token found", reason: "duplicate_access_token"},
		"query ignored":               {config: `{"tokens_in_query": false}`, uri: "/?access_token=alice-1&secret_token=s3cret", status: 401, message: "No access token found in request", reason: "no_access_token"},
		"query argument with no name": {config: plain, uri: "/?access_token&secret_token=s3cret", status: 401, message: "No access token found in request", reason: "no_access_token"},
		"unknown":                     {config: plain, headers: []string{"access_token: nobody", "secret_token: s3cret"}, status: 401, message: "Unauthorized", reason: "not_found"},
		"wrong secret":                {config: plain, headers: []string{"access_token: alice-1", "secret_token: S3cret"}, status: 401, message: "Unauthorized", reason: "wrong_secret"},
		"guesses":                     {config: plain, headers: []string{"access_token: guessed", "secret_token: x"}, status: 429, message: "Too many requests", retryAfter: "40", reason: "guessing"},
		"guesses, with anonymous":     {config: `{"anonymous": "guest"}`, headers: []string{"access_token: guessed", "secret_token: x"}, status: 429, message: "Too many requests", retryAfter: "40", reason: "guessing"},
		"flood":                       {config: plain, headers: []string{"access_token: flood", "secret_token: x"}, status: 429, message: "Too many requests", retryAfter: "2", log: "vault=kong-auth reason=limit", reason: "limit"},
		"store down":                  {config: plain, headers: []string{"access_token: down", "secret_token: x"}, status: 503, message: "Service unavailable", retryAfter: "3", log: "Vault is sealed (unseal it)", reason: "sealed"},
		"store down, with anonymous":  {config: `{"anonymous": "guest"}`, headers: []string{"access_token: down", "secret_token: x"}, status: 503, message: "Service unavailable", retryAfter: "3", log: "Vault is sealed", reason: "sealed"},
		"unexpected":                  {config: plain, headers: []string{"access_token: broken", "secret_token: x"}, status: 500, message: "An unexpected error occurred", log: "an error nobody expects", reason: "unexpected"},
		"no such object":              {config: plain, headers: []string{"access_token: undefined", "secret_token: x"}, status: 500, message: "An unexpected error occurred", log: "no such object", reason: "config"},
		"no such anonymous":           {config: `{"anonymous": "nobody"}`, status: 500, message: "An unexpected error occurred", log: "config.anonymous", reason: "anonymous"},
		"config without a vault":      {config: `{"vault": ""}`, status: 500, message: "An unexpected error occurred", log: "exactly one of vault, hcv and azure must be set", reason: "config"},
	} {
		t.Run(name, func(t *testing.T) {
			p, in := startOn(t, known, tc.config)
			out := in.Access(t, get(cmpOr(tc.uri, "/"), tc.headers...))
			if out.Exit == nil {
				t.Fatalf("proxied as %+v", out.Consumer)
			}
			wantCounted(t, p, answered{strconv.Itoa(tc.status), tc.reason, 1})
			if want := fmt.Sprintf(`{"message":%q,"request_id":%q}`, tc.message, servertest.RequestID); out.Exit.Status != tc.status || string(out.Exit.Body) != want {
				t.Errorf("got %d %s, want %d %s", out.Exit.Status, out.Exit.Body, tc.status, want)
			}
			want := []string{"Content-Type: application/json; charset=utf-8"}
			if tc.status == 401 {
				want = append(want, "WWW-Authenticate: VaultAuth")
			}
			if tc.retryAfter != "" {
				want = append(want, "Retry-After: "+tc.retryAfter)
			}
			slices.Sort(want)
			if diff := cmp.Diff(want, slices.DeleteFunc(lines(out.Exit.Header), func(l string) bool { return strings.HasPrefix(l, "Content-Length") })); diff != "" {
				t.Error(diff)
			}
			if n := len(out.Log); (n > 0) != (tc.log != "") || n > 0 && !strings.Contains(out.Log[n-1].Text, tc.log) {
				t.Errorf("Kong's log: %q", out.Log)
			}
			for _, s := range []string{"s3cret", "S3cret", "alice-1"} {
				if strings.Contains(in.Server.Stderr.String(), s) {
					t.Errorf("a token is in the log: %s", in.Server.Stderr)
				}
			}
		})
	}
}

// unusable is a vault object that the node doesn't have, or not for this
// configuration.
type unusable struct{ lookuper }

func (unusable) Usable() error {
	return fmt.Errorf("%w: no such object", secretstore.ErrConfig)
}

// Whoever is missing a token is no answer to that, and nobody at all either.
func TestEveryRequestOfAConfigurationWithoutAnObjectIsAnswered500(t *testing.T) {
	for name, headers := range map[string][]string{
		"pair": {"access_token: alice-1", "secret_token: s3cret"}, "no token": nil, "malformed": {"access_token: a b", "secret_token: x"},
	} {
		for _, config := range []string{"{}", `{"anonymous": "guest"}`} {
			p, in := startOn(t, unusable{known}, config)
			out := in.Access(t, get("/", headers...))
			if out.Exit == nil || out.Exit.Status != 500 || len(out.Log) == 0 || !strings.Contains(out.Log[len(out.Log)-1].Text, "no such object") {
				t.Errorf("%s, %s: %+v, log %q", name, config, out.Exit, out.Log)
			}
			wantCounted(t, p, answered{"500", "config", 1})
		}
	}
}

func cmpOr(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func TestConsumerIsSetAndCredentialsAreHidden(t *testing.T) {
	for name, tc := range map[string]struct {
		config  string
		uri     string
		headers []string
		query   string
		want    []string
	}{
		"headers": {
			config: "{}", uri: "/p?q=1", headers: []string{"access_token: alice-1", "Secret-Token: s3cret", "X-Other: 1"},
			query: "q=1", want: asAlice("X-Other: 1"),
		},
		"by username, bytes that are not UTF-8": {
			config: "{}", uri: "/", headers: []string{"access_token: alice-2", "secret_token: caf\xe9 =&%41", "X-Odd: \xff"},
			want: asAlice("X-Odd: \xff"),
		},
		"query": {
			config: "{}", uri: "/?b=%20&access_token=alice-1&a=\xe9&secret%5ftoken=s3cret&b=2",
			query: "b=%20&a=\xe9&b=2", want: asAlice(),
		},
		"query that ends up empty": {
			config: "{}", uri: "/?access_token=alice-1&secret_token=s3cret", want: asAlice(),
		},
		"headers win, the query is stripped all the same": {
			config: "{}", uri: "/?access_token=nobody&x=1", headers: []string{"access_token: alice-1", "secret_token: s3cret"},
			query: "x=1", want: asAlice(),
		},
		"one each": {
			config: "{}", uri: "/?secret_token=s3cret", headers: []string{"access_token: alice-1"}, want: asAlice(),
		},
		"other names": {
			config: `{"access_token_name": "X-Key", "secret_token_name": "X-Secret"}`, uri: "/",
			headers: []string{"x_key: alice-1", "x-secret: s3cret", "access_token: mine"}, want: asAlice("access_token: mine"),
		},
		"shown": {
			config: `{"hide_credentials": false}`, uri: "/?secret_token=s3cret", headers: []string{"access_token: alice-1"},
			query: "secret_token=s3cret", want: asAlice("access_token: alice-1"),
		},
		"forged identity": {
			config: "{}", uri: "/", headers: []string{
				"access_token: alice-1", "secret_token: s3cret", "X-Consumer-ID: root", "X_Consumer_Username: root", "x-consumer_custom-id: root",
				"X-Anonymous-Consumer: true", "X_Credential-Identifier: root", "X_Unrelated: 1",
			}, want: asAlice("X_Unrelated: 1"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			out := start(t, tc.config).Access(t, get(tc.uri, tc.headers...))
			if out.Exit != nil {
				t.Fatalf("refused: %d %s", out.Exit.Status, out.Exit.Body)
			}
			if diff := cmp.Diff(tc.want, lines(out.Upstream.Header)); diff != "" {
				t.Error(diff)
			}
			if out.Upstream.RawQuery != tc.query {
				t.Errorf("query %q, want %q", out.Upstream.RawQuery, tc.query)
			}
			if diff := cmp.Diff(&database[0], out.Consumer); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(&kongtest.Credential{ID: credentialID, ConsumerID: aliceID}, out.Credential); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTokensInTheQueryAreTakenOutOfWhatLogPluginsSee(t *testing.T) {
	r := get("/a%20b?x=1&access_token=alice-1&secret_token=s3cret")
	r.Host, r.Port = "api.example.com", 8000
	out := start(t, "{}").Access(t, r)
	want := map[string]any{
		"request.uri": "/a%20b?x=1", "request.url": "http://api.example.com:8000/a%20b?x=1",
		"request.querystring.access_token": nil, "request.querystring.secret_token": nil,
	}
	if diff := cmp.Diff(want, out.Serialize); diff != "" {
		t.Error(diff)
	}
}

func TestAPairInTheBody(t *testing.T) {
	const form, json = "application/x-www-form-urlencoded", "application/json; charset=utf-8"
	for name, tc := range map[string]struct {
		config, contentType, body string
		headers                   []string
		want                      string // the body that the upstream gets; empty: the client's own
		status                    int
	}{
		"form":              {config: `{"tokens_in_body": true}`, contentType: form, body: "a=%20&access_token=alice-1&b=2&secret_token=s3cret", want: "a=%20&b=2"},
		"JSON":              {config: `{"tokens_in_body": true}`, contentType: json, body: `{"n": 12345678901234567890, "access_token":"alice-1", "secret_token":"s3cret"}`, want: `{"n": 12345678901234567890}`},
		"one in a header":   {config: `{"tokens_in_body": true}`, contentType: form, body: "a=1&secret_token=s3cret", headers: []string{"access_token: alice-1"}, want: "a=1"},
		"shown":             {config: `{"tokens_in_body": true, "hide_credentials": false}`, contentType: form, body: "access_token=alice-1&secret_token=s3cret"},
		"not asked for":     {config: `{}`, contentType: form, body: "access_token=alice-1&secret_token=s3cret", status: 401},
		"another type":      {config: `{"tokens_in_body": true}`, contentType: "text/plain", body: "access_token=alice-1&secret_token=s3cret", status: 401},
		"too large":         {config: `{"tokens_in_body": true, "max_body_bytes": 20}`, contentType: form, body: "access_token=alice-1&secret_token=s3cret", status: 401},
		"compressed":        {config: `{"tokens_in_body": true}`, contentType: form, body: "access_token=alice-1&secret_token=s3cret", headers: []string{"Content-Encoding: gzip"}, status: 401},
		"an upgrade":        {config: `{"tokens_in_body": true}`, contentType: form, body: "access_token=alice-1&secret_token=s3cret", headers: []string{"Upgrade: websocket"}, status: 401},
		"two content types": {config: `{"tokens_in_body": true}`, contentType: form, body: "access_token=alice-1&secret_token=s3cret", headers: []string{"Content-Type: text/plain"}, status: 401},
		"a body on disk":    {config: `{"tokens_in_body": true}`, contentType: form, body: "a=" + strings.Repeat("x", 10_000) + "&access_token=alice-1&secret_token=s3cret", want: "a=" + strings.Repeat("x", 10_000)},
		"too large on disk": {config: `{"tokens_in_body": true, "max_body_bytes": 9000}`, contentType: form, body: "a=" + strings.Repeat("x", 10_000) + "&access_token=alice-1&secret_token=s3cret", status: 401},
	} {
		t.Run(name, func(t *testing.T) {
			r := get("/", append(tc.headers, "Content-Type: "+tc.contentType)...)
			r.Method, r.Body, r.TempDir = "POST", strings.NewReader(tc.body), t.TempDir()
			out := start(t, tc.config).Access(t, r)
			if tc.status != 0 {
				if out.Exit == nil || out.Exit.Status != tc.status {
					t.Errorf("got %+v, want %d", out.Exit, tc.status)
				}
				return
			}
			if out.Exit != nil {
				t.Fatalf("refused: %d %s", out.Exit.Status, out.Exit.Body)
			}
			if got := string(out.Upstream.Body); got != tc.want {
				t.Errorf("body %q, want %q", got, tc.want)
			}
		})
	}
}

func TestABodyThatNobodyNeedsIsNotAskedFor(t *testing.T) {
	const form = "Content-Type: application/x-www-form-urlencoded"
	pair := []string{"access_token: alice-1", "secret_token: s3cret", form}
	for name, tc := range map[string]struct {
		config  string
		headers []string
		status  int // 0: proxied
	}{
		"nothing is missing, nothing to hide": {`{"tokens_in_body": true, "hide_credentials": false}`, pair, 0},
		"bodies are not searched":             {`{}`, pair, 0},
		"a body too large":                    {`{"tokens_in_body": true, "max_body_bytes": 20}`, append(pair, "Content-Length: 21"), 0},
		"a body too large, and no pair":       {`{"tokens_in_body": true, "max_body_bytes": 20}`, []string{form, "Content-Length: 21"}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			r := get("/", tc.headers...)
			r.Method, r.Body = "POST", unreadable{}
			out := start(t, tc.config).Access(t, r)
			if slices.Contains(out.Calls, "kong.request.get_raw_body") {
				t.Errorf("calls %v", out.Calls)
			}
			if status := statusOf(out); status != tc.status {
				t.Errorf("status %d, want %d", status, tc.status)
			}
		})
	}
}

// statusOf is the answer's status, 0 for a request that is proxied.
func statusOf(out kongtest.Outcome) int {
	if out.Exit == nil {
		return 0
	}
	return out.Exit.Status
}

type unreadable struct{}

func (unreadable) Read([]byte) (int, error) { return 0, io.ErrNoProgress }

func TestAnonymous(t *testing.T) {
	for name, tc := range map[string]struct {
		headers  []string
		earlier  *kongtest.Credential // set by another plugin
		consumer *kongtest.Consumer
		upstream []string
	}{
		"takes over":           {consumer: &database[1], upstream: asGuest},
		"takes over, stripped": {headers: []string{"access_token: nobody", "secret_token: s3cret", "X-Consumer-Username: root"}, consumer: &database[1], upstream: asGuest},
		"is not needed":        {headers: []string{"access_token: alice-1", "secret_token: s3cret"}, consumer: &database[0], upstream: asAlice()},
		"another plugin was first": {
			headers: []string{"access_token: alice-1"}, earlier: &kongtest.Credential{ID: "key"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, anonymous := range []string{"guest", guestID} {
				r := get("/", tc.headers...)
				r.Credential = tc.earlier
				out := start(t, `{"anonymous": "`+anonymous+`"}`).Access(t, r)
				if out.Exit != nil {
					t.Fatalf("refused: %d %s", out.Exit.Status, out.Exit.Body)
				}
				if diff := cmp.Diff(tc.consumer, out.Consumer); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(tc.upstream, lines(out.Upstream.Header)); diff != "" {
					t.Error(diff)
				}
				if tc.consumer == &database[1] && out.Credential != nil {
					t.Errorf("the anonymous consumer has a credential: %+v", out.Credential)
				}
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	r := func(method string) *kongtest.Request {
		r := get("/")
		r.Method = method
		return r
	}
	for _, tc := range []struct {
		config, method string
		proxied        bool
	}{{"{}", "OPTIONS", false}, {`{"run_on_preflight": false}`, "OPTIONS", true}, {`{"run_on_preflight": false}`, "GET", false}} {
		out := start(t, tc.config).Access(t, r(tc.method))
		if (out.Exit == nil) != tc.proxied || out.Consumer != nil {
			t.Errorf("%s %s: exit %+v, consumer %+v", tc.config, tc.method, out.Exit, out.Consumer)
		}
	}
}

func TestRealmIsQuoted(t *testing.T) {
	out := start(t, `{"realm": "a \"b\" \\ c"}`).Access(t, get("/"))
	if got := out.Exit.Values("WWW-Authenticate"); !slices.Equal(got, []string{`VaultAuth realm="a \"b\" \\ c"`}) {
		t.Errorf("%q", got)
	}
}

func TestAsManyHeadersAsKongPassesOnAre431(t *testing.T) {
	pair := []string{"access_token: alice-1", "secret_token: s3cret"}
	for _, n := range []int{998, 1000, 1100} {
		headers := slices.Clone(pair)
		for i := range n - len(pair) {
			headers = append(headers, fmt.Sprintf("X-%d: v", i))
		}
		out := start(t, "{}").Access(t, get("/", headers...))
		if refused := out.Exit != nil && out.Exit.Status == 431; refused != (n >= 1000) {
			t.Errorf("%d headers: %+v", n, out.Exit)
		}
	}
}

func TestACachedPairCostsTwoWaits(t *testing.T) {
	for name, tc := range map[string]struct {
		config string
		calls  []string
	}{
		"headers only": {`{"tokens_in_query": false}`, []string{"kong.request.get_headers", "kong.client.authenticate", "kong.service.request.set_headers"}},
		"with a query": {`{}`, []string{"kong.request.get_headers", "kong.request.get_raw_query", "kong.client.authenticate", "kong.service.request.set_headers"}},
	} {
		t.Run(name, func(t *testing.T) {
			in := start(t, tc.config)
			pair := get("/?x=1", "access_token: alice-1", "secret_token: s3cret")
			in.Access(t, pair) // Kong's database is asked for the consumer once
			out := in.Access(t, pair)
			if diff := cmp.Diff(tc.calls, out.Calls); diff != "" {
				t.Error(diff)
			}
			if out.Waits != 2 {
				t.Errorf("%d waits", out.Waits)
			}
		})
	}
}

// miss is a vault object that asks who the client is, as it does where memory
// has no answer.
type miss struct{ clients []string }

func (*miss) Usable() error { return nil }

func (m *miss) Lookup(_ context.Context, _, _ string, client vault.Client) (*credential.Credential, error) {
	m.clients = append(m.clients, client.Address(), client.Address())
	return &credential.Credential{ID: credentialID, Consumer: credential.Consumer{ID: aliceID}}, nil
}

func TestALookupLearnsTheClientsAddressInOneCall(t *testing.T) {
	object := &miss{}
	_, in := startOn(t, object, `{"tokens_in_query": false}`)
	r := get("/", "access_token: alice-1", "secret_token: s3cret")
	r.Client, r.Forwarded = netip.MustParseAddrPort("10.0.0.1:1234"), netip.MustParseAddrPort("192.0.2.7:4321")
	in.Access(t, r) // Kong's database is asked for the consumer once
	out := in.Access(t, r)
	calls := []string{"kong.request.get_headers", "kong.client.get_forwarded_ip", "kong.client.authenticate", "kong.service.request.set_headers"}
	if diff := cmp.Diff(calls, out.Calls); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.7"}, object.clients); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(in.Server.Stderr.String(), "192.0.2.7") {
		t.Error("the address is in the log")
	}
}
