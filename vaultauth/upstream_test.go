package vaultauth

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/credential"
	"kong-vault-auth/kongtest"
	"kong-vault-auth/pluginserver"
)

// spellings are the names that frameworks may take for one header.
func spellings(name string) []string {
	return []string{name, strings.ToUpper(name), strings.ReplaceAll(strings.ToLower(name), "-", "_"), strings.Replace(name, "-", "_", 1)}
}

// forged are identity headers in all spellings.
func forged() (lines []string) {
	for _, name := range identityNames {
		for _, spelling := range spellings(name) {
			lines = append(lines, spelling+": forged")
		}
	}
	return lines
}

func TestNoIdentityThatAClientMadeUpArrives(t *testing.T) {
	pair := []string{"access_token: alice-1", "secret_token: s3cret"}
	for name, tc := range map[string]struct {
		config  string
		headers []string
		before  func(*kongtest.Request) // what another plugin has told Kong, without any header
		want    []string
	}{
		"authenticated":            {config: `{}`, headers: pair, want: asAlice()},
		"authenticated, shown":     {config: `{"hide_credentials": false}`, headers: pair, want: asAlice(pair...)},
		"by username only":         {config: `{}`, headers: []string{"access_token: guest", "secret_token: s3cret"}, want: []string{"X-Consumer-ID: " + guestID, "X-Consumer-Username: guest", "X-Credential-Identifier: " + credentialID}},
		"anonymous":                {config: `{"anonymous": "guest"}`, want: asGuest},
		"preflight":                {config: `{"run_on_preflight": false}`, before: func(r *kongtest.Request) { r.Method = "OPTIONS" }},
		"another plugin, consumer": {config: `{"anonymous": "guest"}`, before: func(r *kongtest.Request) { r.Consumer, r.Credential = &database[0], &kongtest.Credential{ID: "key"} }},
		"another plugin, no consumer": {config: `{"anonymous": "guest"}`, before: func(r *kongtest.Request) {
			r.Credential = &kongtest.Credential{ID: "key"}
		}},
		"preflight that another plugin has authenticated": {config: `{"run_on_preflight": false}`, before: func(r *kongtest.Request) {
			r.Method, r.Consumer, r.Credential = "OPTIONS", &database[0], &kongtest.Credential{ID: "key"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, one := range append([]string{strings.Join(forged(), "\n")}, forged()...) { // all, and each alone
				r := get("/", append(strings.Split(one, "\n"), tc.headers...)...)
				if tc.before != nil {
					tc.before(r)
				}
				out := start(t, tc.config).Access(t, r)
				if out.Exit != nil {
					t.Fatalf("refused: %d %s", out.Exit.Status, out.Exit.Body)
				}
				// nginx keeps the case of a name whose value is replaced.
				if diff := cmp.Diff(lowerSorted(tc.want), lowerSorted(lines(out.Upstream.Header))); diff != "" {
					t.Errorf("with %q: %s", one, diff)
				}
			}
		})
	}
}

func lowerSorted(lines []string) []string {
	lower := []string{}
	for _, l := range lines {
		lower = append(lower, strings.ToLower(l))
	}
	slices.Sort(lower)
	return lower
}

func TestIdentityThatAnotherPluginHasSetStays(t *testing.T) {
	consumer := []string{"X-Consumer-Custom-ID: a-1", "X-Consumer-ID: " + aliceID, "X-Consumer-Username: alice"}
	for name, tc := range map[string]struct {
		config     string // {"anonymous": "guest"}
		method     string
		credential *kongtest.Credential
		context    map[string]any
		headers    []string // set by that plugin
		gone       []string // and by the client
	}{
		"key-auth":              {credential: &kongtest.Credential{ID: "key-1"}, headers: append(consumer, "X-Credential-Identifier: key-1")},
		"jwt":                   {credential: &kongtest.Credential{ID: "jwt-1", More: map[string]any{"key": "issuer"}}, headers: append(consumer, "X-Credential-Identifier: issuer")},
		"session, with groups":  {credential: &kongtest.Credential{ID: "s"}, context: map[string]any{"authenticated_groups": []any{"a", "b"}}, headers: append(consumer, "X-Authenticated-Groups: a, b")},
		"its anonymous, passed": {config: `{"run_on_preflight": false}`, method: "OPTIONS", headers: append(consumer, "X-Anonymous-Consumer: true")},
		"no username of its own": {
			credential: &kongtest.Credential{ID: "key-1"}, headers: consumer[1:2],
			gone: []string{"X-Consumer-Username: root", "X-Consumer-Custom-ID: ", "x_consumer_id: root", "X-Credential-Identifier: key-2"},
		},
		"other groups than the session's": {
			credential: &kongtest.Credential{ID: "s"}, context: map[string]any{"authenticated_groups": []any{"a", "b"}}, headers: consumer,
			gone: []string{"X-Authenticated-Groups: admin", "X-Consumer-Groups: admin"},
		},
		"anonymous by the client's word": {credential: &kongtest.Credential{ID: "key-1"}, headers: consumer, gone: []string{"X-Anonymous-Consumer: true"}},
		"many values":                    {credential: &kongtest.Credential{ID: "key-1", More: map[string]any{"key": "k"}}, headers: consumer, gone: slices.Repeat([]string{"X-Credential-Identifier: k"}, 100)},
		"one value of two is not its":    {credential: &kongtest.Credential{ID: "key-1"}, headers: consumer[2:], gone: []string{"X-Consumer-ID: " + aliceID, "X-Consumer-ID: root"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := get("/", append(tc.headers, tc.gone...)...)
			r.Method, r.Consumer, r.Credential, r.Context = tc.method, &database[0], tc.credential, tc.context
			out := start(t, cmpOr(tc.config, `{"anonymous": "guest"}`)).Access(t, r)
			slices.Sort(tc.headers)
			if diff := cmp.Diff(tc.headers, lines(out.Upstream.Header)); diff != "" || out.Exit != nil {
				t.Error(out.Exit, diff)
			}
			if asked := strings.Count(strings.Join(out.Calls, " "), "kong.nginx.get_ctx"); asked > 2 {
				t.Errorf("a client makes the plugin ask Kong %d times", asked)
			}
		})
	}
}

func TestWhoCountsAsAuthenticatedByAnotherPlugin(t *testing.T) {
	alice, guest := &database[0], &database[1]
	for name, tc := range map[string]struct {
		consumer   *kongtest.Consumer
		credential *kongtest.Credential
		headers    []string
		want       *kongtest.Consumer // guest: this plugin has looked, and found nobody
	}{
		"nobody":                              {want: guest},
		"a credential":                        {credential: &kongtest.Credential{ID: "key"}},
		"consumer and credential":             {consumer: alice, credential: &kongtest.Credential{ID: "key"}, want: alice},
		"a credential without id":             {consumer: alice, credential: &kongtest.Credential{}, want: alice},
		"a credential that is the consumer's": {credential: &kongtest.Credential{ConsumerID: aliceID}},
		"a consumer alone":                    {consumer: alice, want: alice},
		"an anonymous consumer":               {consumer: alice, headers: []string{"X-Anonymous-Consumer: true"}, want: guest},
		"the same in another spelling":        {consumer: alice, headers: []string{"x_anonymous_consumer: true"}, want: alice},
	} {
		t.Run(name, func(t *testing.T) {
			r := get("/", tc.headers...)
			r.Consumer, r.Credential = tc.consumer, tc.credential
			out := start(t, `{"anonymous": "guest"}`).Access(t, r)
			if diff := cmp.Diff(tc.want, out.Consumer); diff != "" || out.Exit != nil {
				t.Error(out.Exit, diff)
			}
		})
	}
}

func TestConnectionCannotTakeIdentityOff(t *testing.T) {
	const forget = "kong.nginx.set_ctx"
	for name, tc := range map[string]struct {
		connection []string
		want       []string
		untouched  bool
	}{
		"an identity header":       {connection: []string{"X-Consumer-ID"}},
		"among others":             {connection: []string{"keep-alive, x-consumer-id ,X_Anonymous_Consumer,,X-Other"}, want: []string{"keep-alive, X-Other"}},
		"in an upgrade":            {connection: []string{"Upgrade, X-Consumer-Username"}, want: []string{"Upgrade"}},
		"in a second line":         {connection: []string{"close", "x-credential-identifier, te"}, want: []string{"close, te"}},
		"groups":                   {connection: []string{"X-Authenticated-Groups, X-Consumer-Groups"}},
		"nothing of ours":          {connection: []string{"Upgrade, X-Other"}, want: []string{"Upgrade, X-Other"}, untouched: true},
		"the beginning of a name":  {connection: []string{"X-Consumer"}, want: []string{"X-Consumer"}, untouched: true},
		"a name as part of a word": {connection: []string{"X-Consumer-ID2"}, want: []string{"X-Consumer-ID2"}, untouched: true},
	} {
		t.Run(name, func(t *testing.T) {
			for path, r := range map[string]*kongtest.Request{
				"authenticated":  get("/", "access_token: alice-1", "secret_token: s3cret"),
				"anonymous":      get("/"),
				"another plugin": {Credential: &kongtest.Credential{ID: "key"}, Consumers: database},
			} {
				for _, c := range tc.connection {
					r.Header = append(r.Header, kongtest.Header{Name: "Connection", Value: c})
				}
				out := start(t, `{"anonymous": "guest"}`).Access(t, r)
				if out.Exit != nil {
					t.Fatalf("%s: refused: %d", path, out.Exit.Status)
				}
				if diff := cmp.Diff(tc.want, out.Upstream.Values("Connection")); diff != "" {
					t.Error(path, diff)
				}
				if slices.Contains(out.Calls, forget) == tc.untouched {
					t.Errorf("%s: calls %v", path, out.Calls)
				}
			}
		})
	}
}

// everywhere is a request with one pair in the headers, another in the query
// string and a third in the body.
func everywhere(uri, accessToken string) *kongtest.Request {
	r := get(uri, "access_token: "+accessToken, "Secret-Token: s3cret", "Content-Type: application/x-www-form-urlencoded")
	r.Method, r.Body = "POST", strings.NewReader("a=1&access_token=second&secret_token=s3cret")
	return r
}

func TestNoTokenArrivesWhereverThePairWasFound(t *testing.T) {
	for name, tc := range map[string]struct {
		config string
		access string
		before func(*kongtest.Request)
	}{
		"authenticated":  {`{"tokens_in_body": true}`, "alice-1", nil},
		"anonymous":      {`{"tokens_in_body": true, "anonymous": "guest"}`, "nobody", nil},
		"another plugin": {`{"tokens_in_body": true, "anonymous": "guest"}`, "alice-1", func(r *kongtest.Request) { r.Credential = &kongtest.Credential{ID: "key"} }},
		"preflight":      {`{"tokens_in_body": true, "run_on_preflight": false}`, "alice-1", func(r *kongtest.Request) { r.Method = "OPTIONS" }},
	} {
		t.Run(name, func(t *testing.T) {
			r := everywhere("/?b=2&secret_token=s3cret&access_token=third", tc.access)
			if tc.before != nil {
				tc.before(r)
			}
			out := start(t, tc.config).Access(t, r)
			if out.Exit != nil {
				t.Fatalf("refused: %d %s", out.Exit.Status, out.Exit.Body)
			}
			got := []string{out.Upstream.RawQuery, string(out.Upstream.Body)}
			if diff := cmp.Diff([]string{"b=2", "a=1"}, got); diff != "" {
				t.Error(diff)
			}
			if all := fmt.Sprintf("%q", out.Upstream.Header); strings.Contains(all, "s3cret") || strings.Contains(all, tc.access) {
				t.Errorf("headers %s", all)
			}
			if strings.Contains(out.Serialized, "s3cret") {
				t.Errorf("log plugins see %s", out.Serialized)
			}
		})
	}
}

func TestLogPluginsSeeNoToken(t *testing.T) {
	for name, tc := range map[string]struct {
		config string
		access string // its token
		status int
	}{
		"proxied":                      {`{}`, "alice-1", 0},
		"proxied, shown to upstream":   {`{"hide_credentials": false}`, "alice-1", 0},
		"unknown":                      {`{}`, "nobody", 401},
		"malformed":                    {`{}`, "a b", 401},
		"refused, not hidden":          {`{"hide_credentials": false}`, "nobody", 401},
		"query not searched":           {`{"tokens_in_query": false}`, "nobody", 401},
		"other names":                  {`{"access_token_name": "X-Key", "secret_token_name": "secret_token"}`, "alice-1", 401},
		"too many lookups":             {`{}`, "flood", 429},
		"too many guesses":             {`{}`, "guessed", 429},
		"store down":                   {`{}`, "down", 503},
		"something unexpected":         {`{}`, "broken", 500},
		"anonymous that can't be used": {`{"anonymous": "nobody"}`, "nobody", 500},
		"anonymous":                    {`{"anonymous": "guest", "hide_credentials": false}`, "nobody", 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := everywhere("/p?x=1&secret%5Ftoken=s3cret&secret_token=s3cret&y=2", tc.access)
			r.Upstream = &kongtest.Upstream{Path: "/base/p", RawQuery: "x=1&secret%5Ftoken=s3cret&secret_token=s3cret&y=2", Header: r.Header}
			out := start(t, tc.config).Access(t, r)
			if status := statusOf(out); status != tc.status {
				t.Fatalf("status %d, want %d", status, tc.status)
			}
			if strings.Contains(out.Serialized, "s3cret") {
				t.Errorf("log plugins see %s", out.Serialized)
			}
			for _, part := range []string{`"uri":"/p?x=1\u0026y=2"`, `:8000/p?x=1\u0026y=2"`, `"upstream_uri":"/base/p?x=1\u0026y=2"`} {
				if !strings.Contains(out.Serialized, part) {
					t.Errorf("log plugins don't see %s: %s", part, out.Serialized)
				}
			}
		})
	}
}

func TestTooManyHeadersAreRefusedOnEveryPath(t *testing.T) {
	for name, tc := range map[string]struct {
		config string
		before func(*kongtest.Request)
	}{
		"preflight":      {`{"run_on_preflight": false}`, func(r *kongtest.Request) { r.Method = "OPTIONS" }},
		"another plugin": {`{"anonymous": "guest"}`, func(r *kongtest.Request) { r.Credential = &kongtest.Credential{ID: "key"} }},
		"anonymous":      {`{"anonymous": "guest"}`, func(*kongtest.Request) {}},
	} {
		t.Run(name, func(t *testing.T) {
			r := get("/")
			for i := range 1000 {
				r.Header = append(r.Header, kongtest.Header{Name: fmt.Sprint("X-", i), Value: "v"})
			}
			r.Header = append(r.Header, kongtest.Header{Name: "X_Consumer_ID", Value: "forged"})
			tc.before(r)
			if out := start(t, tc.config).Access(t, r); statusOf(out) != 431 {
				t.Errorf("%+v", out.Exit)
			}
		})
	}
}

// Each name in set_headers costs Kong time.
func TestOnlyHeadersThatTheRequestHasAreRemoved(t *testing.T) {
	guest := identityOf(&pluginserver.Consumer{ID: guestID, Username: "guest"})
	h := &handler{config: Config{HideCredentials: true}}
	shown := func(names ...string) *request {
		r := &request{hide: []string{"access_token"}}
		for _, name := range names {
			header, _ := asIdentityHeader([]byte(name))
			r.identity = append(r.identity, shownHeader{header, name, "v"})
		}
		return r
	}
	for name, tc := range map[string]struct {
		request *request
		want    []pluginserver.HeaderChange
	}{
		"none shown": {shown(), []pluginserver.HeaderChange{
			{Name: "X-Consumer-ID", Value: guestID}, {Name: "X-Consumer-Username", Value: "guest"}, {Name: "access_token"},
		}},
		"one that is set, one that isn't": {shown("x-consumer-id", "x-consumer-custom-id"), []pluginserver.HeaderChange{
			{Name: "X-Consumer-ID", Value: guestID}, {Name: "X-Consumer-Username", Value: "guest"}, {Name: "x-consumer-custom-id"}, {Name: "access_token"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, h.appendIdentity(nil, tc.request, guest, 0)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func init() {
	known["guest"] = struct {
		secret   string
		consumer credential.Consumer
		err      error
	}{secret: "s3cret", consumer: credential.Consumer{ID: guestID}}
}
