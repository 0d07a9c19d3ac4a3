package vaultsecrets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/kongtest"
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/pluginserver/servertest"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/vault"
)

// shelf is secrets by their references.
type shelf struct {
	mu      sync.Mutex
	secrets map[string]string
	errs    map[string]error
	scope   vault.Scope
	asked   int
}

func (s *shelf) GetFor(ctx context.Context, scope vault.Scope, reference string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	s.scope = scope
	if s.secrets[reference] == "wait" {
		<-ctx.Done()
		return "", ctx.Err()
	}
	return s.secrets[reference], s.errs[reference]
}

func newShelf() *shelf {
	return &shelf{
		secrets: map[string]string{
			"{vault://azure/key/value}": "s3cret&=", "{vault://hcv/user}": "kong", "{vault://hcv/colon}": "a:b",
			"{vault://hcv/newline}": "sec\r\nX-Admin: yes", "{vault://hcv/tab}": "sec\tret", "{vault://hcv/empty}": "",
		},
		errs: map[string]error{
			"{vault://hcv/gone}":   fmt.Errorf("hcv: %w", &secretstore.Absent{Reason: secretstore.ReasonDeleted}),
			"{vault://hcv/down}":   &secretstore.Failure{Op: "read", Reason: "sealed"},
			"{vault://hcv/others}": fmt.Errorf("hcv: %w", vault.ErrForbidden),
			"{vault://aws/key}":    fmt.Errorf("%w: there is no vault object", secretstore.ErrConfig),
		},
	}
}

func serve(t *testing.T, s *shelf) *servertest.Server {
	t.Helper()
	return servertest.Serve(t, func(log *slog.Logger) pluginserver.Plugin { return newPlugin("1.0.0", s, log).Plugin }, pluginserver.Options{})
}

// counted are the requests so far, without those that there were none of.
func counted(p *Plugin) map[string]uint64 {
	n := map[string]uint64{}
	for _, a := range p.Stats() {
		if a.Count > 0 {
			n[strings.TrimSpace(a.Answer+" "+a.Reason)] = a.Count
		}
	}
	return n
}

func TestRequestsAreCountedByWhatBecomesOfThem(t *testing.T) {
	var p *Plugin
	s := servertest.Serve(t, func(log *slog.Logger) pluginserver.Plugin {
		p = newPlugin("1.0.0", newShelf(), log)
		return p.Plugin
	}, pluginserver.Options{})
	if diff := cmp.Diff(map[string]uint64{}, counted(p)); diff != "" || len(p.Stats()) <= len(foreseen) {
		t.Errorf("at the start, of %d outcomes: %s", len(p.Stats()), diff)
	}
	for _, reference := range []string{"azure/key/value", "hcv/user", "hcv/gone", "hcv/gone", "hcv/down", "hcv/others", "aws/key", "hcv/empty"} {
		s.Start(t, `{"headers": {"X-Key": "{vault://`+reference+`}"}}`).Access(t, &kongtest.Request{})
	}
	s.Start(t, `{"headers": {"X-Key": "s3cret"}}`).Access(t, &kongtest.Request{})
	want := map[string]uint64{"ok": 2, "503 deleted": 2, "503 sealed": 1, "503 forbidden": 1, "503 config": 1, "503 unusable": 1, "500 config": 1}
	if diff := cmp.Diff(want, counted(p)); diff != "" {
		t.Error(diff)
	}
}

func headersOf(u kongtest.Upstream) map[string][]string {
	got := map[string][]string{}
	for _, h := range u.Header {
		if name := strings.ToLower(h.Name); name != "host" {
			got[name] = append(got[name], h.Value)
		}
	}
	return got
}

func TestWhatTheUpstreamGets(t *testing.T) {
	const oneCall, oneWait = "kong.service.request.set_headers", 1
	for about, tt := range map[string]struct {
		config string
		sent   []kongtest.Header
		uri    string
		want   map[string][]string
		query  string
		calls  string
		waits  int
	}{
		"a reference inside a longer value": {
			config: `{"headers": {"Authorization": "Bearer {vault://azure/key/value}"}}`,
			sent:   []kongtest.Header{{Name: "authorization", Value: "Basic forged"}, {Name: "X-Other", Value: "x"}},
			want:   map[string][]string{"authorization": {"Bearer s3cret&="}, "x-other": {"x"}},
			calls:  oneCall, waits: oneWait,
		},
		"every spelling of the client's": {
			config: `{"headers": {"X-Api-Key": "{vault://hcv/user}/{vault://azure/key/value}"}}`,
			sent: []kongtest.Header{{Name: "x-api-key", Value: "1"}, {Name: "X-API-KEY", Value: "2"}, {Name: "X_Api_Key", Value: "3"},
				{Name: "X-Api_Key", Value: "4"}, {Name: "x_api-key", Value: "5"}, {Name: "X-Api", Value: "stays"}},
			want:  map[string][]string{"x-api-key": {"kong/s3cret&="}, "x-api": {"stays"}},
			calls: oneCall + " kong.log.set_serialize_value", waits: oneWait,
		},
		"an underscore in the name": {
			config: `{"headers": {"api_key": "{vault://hcv/user}"}}`,
			sent:   []kongtest.Header{{Name: "Api-Key", Value: "1"}, {Name: "API_KEY", Value: "2"}},
			want:   map[string][]string{"api_key": {"kong"}},
			calls:  oneCall + " kong.log.set_serialize_value", waits: oneWait,
		},
		"basic": {
			config: `{"authorization": {"type": "basic", "username": "{vault://hcv/user}", "password": "{vault://azure/key/value}"}}`,
			want:   map[string][]string{"authorization": {"Basic a29uZzpzM2NyZXQmPQ=="}},
			calls:  oneCall, waits: oneWait,
		},
		"bearer": {
			config: `{"authorization": {"type": "bearer", "token": "{vault://azure/key/value}"}}`,
			want:   map[string][]string{"authorization": {"Bearer s3cret&="}},
			calls:  oneCall, waits: oneWait,
		},
		"arguments": {
			config: `{"query": {"api_key": "{vault://azure/key/value}", "user": "u-{vault://hcv/user}"}}`,
			uri:    "/x?a=1&api_key=forged&%61pi%5Fkey=2&API_KEY=3&api_key[]=4&api.key=5&b=%zz;api_key=6&user",
			want:   map[string][]string{},
			query:  "a=1&b=%zz&api_key=s3cret%26%3D&user=u-kong",
			calls: "kong.request.get_raw_query kong.nginx.get_var kong.service.request.set_raw_query kong.log.set_serialize_value " +
				"kong.log.set_serialize_value kong.log.set_serialize_value",
			waits: 2,
		},
	} {
		t.Run(about, func(t *testing.T) {
			s := serve(t, newShelf())
			out := s.Start(t, tt.config).Access(t, &kongtest.Request{URI: tt.uri, Header: tt.sent})
			if out.Exit != nil {
				t.Fatalf("answered %d\n%s", out.Exit.Status, s.Stderr)
			}
			if diff := cmp.Diff(tt.want, headersOf(out.Upstream)); diff != "" {
				t.Error(diff)
			}
			if query := out.Upstream.RawQuery; query != tt.query {
				t.Errorf("query %q, want %q", query, tt.query)
			}
			if calls := strings.Join(out.Calls, " "); calls != tt.calls || out.Waits != tt.waits {
				t.Errorf("%s, %d waits", calls, out.Waits)
			}
			if strings.Contains(out.Serialized, "s3cret") || strings.Contains(s.Stderr.String(), "s3cret") {
				t.Errorf("a secret is logged: %s %s", out.Serialized, s.Stderr)
			}
		})
	}
}

func TestASecretThatCannotBeHadIs503(t *testing.T) {
	s := serve(t, newShelf())
	for reference, want := range map[string]string{
		"{vault://hcv/gone}":    "reason=deleted",
		"{vault://hcv/down}":    "reason=sealed",
		"{vault://hcv/others}":  "reason=forbidden",
		"{vault://aws/key}":     "reason=config",
		"{vault://hcv/empty}":   "the secret is empty",
		"{vault://hcv/newline}": "control character",
		"{vault://hcv/tab}":     "control character",
	} {
		for _, config := range []string{
			`{"headers": {"X-Key": "` + reference + `", "X-User": "{vault://hcv/user}"}}`,
			`{"query": {"key": "a` + reference + `"}}`,
			`{"authorization": {"type": "bearer", "token": "` + reference + `"}}`,
			`{"authorization": {"type": "basic", "username": "` + reference + `"}}`,
			`{"authorization": {"type": "basic", "username": "kong", "password": "` + reference + `"}}`,
		} {
			out := s.Start(t, config).Access(t, &kongtest.Request{})
			if out.Exit == nil || out.Exit.Status != 503 || !cmp.Equal(out.Exit.Values("Retry-After"), []string{"5"}) ||
				string(out.Exit.Body) != `{"message":"Service unavailable","request_id":"`+servertest.RequestID+`"}` {
				t.Errorf("%s: %+v", config, out.Exit)
			}
		}
		if !strings.Contains(s.Stderr.String(), want) {
			t.Errorf("%s isn't logged with %q:\n%s", reference, want, s.Stderr)
		}
	}
	out := s.Start(t, `{"authorization": {"type": "basic", "username": "{vault://hcv/colon}", "password": "x"}}`).Access(t, &kongtest.Request{})
	if out.Exit == nil || out.Exit.Status != 503 {
		t.Errorf("a colon in the user's name: %+v", out.Exit)
	}
	if log := s.Stderr.String(); strings.Contains(log, "X-Admin") || strings.Contains(log, "a:b") {
		t.Errorf("a secret is logged:\n%s", log)
	}
}

func TestConfigurationsThatCannotWork(t *testing.T) {
	for config, want := range map[string]string{
		`{}`:              "must be set",
		`{"headers": {}}`: "must be set",
		`{"headers": {"X Key": "{vault://hcv/user}"}}`:                                                                             "be the name of a header",
		`{"headers": {"": "{vault://hcv/user}"}}`:                                                                                  "be the name of a header",
		`{"headers": {"Host": "{vault://hcv/user}"}}`:                                                                              "can't be set",
		`{"headers": {"X_Consumer-Username": "{vault://hcv/user}"}}`:                                                               "can't be set",
		`{"headers": {"A-B-C-D-E-F-G": "{vault://hcv/user}"}}`:                                                                     "too many spellings",
		`{"headers": {"X-Key": "{vault://hcv/user}", "x_key": "{vault://hcv/user}"}}`:                                              "the same header",
		`{"headers": {"X-Key": "s3cret"}}`:                                                                                         "config.headers.X-Key: it holds no reference",
		`{"headers": {"X-Key": "s3cret {vault://hcv}"}}`:                                                                           "should look like",
		`{"headers": {"X-Key": "s3cret {vault://hcv/user"}}`:                                                                       "should look like",
		`{"headers": {"X-Key": "s3cret {vault:/hcv/user}"}}`:                                                                       "should look like",
		`{"headers": {"X-Key": "s3cret\n{vault://hcv/user}"}}`:                                                                     "control character",
		`{"headers": {"X-Key": "{vault://env/azure-client-secret}"}}`:                                                              "the vault env",
		`{"headers": {"authorization": "{vault://hcv/user}"}, "authorization": {"type": "bearer", "token": "{vault://hcv/user}"}}`: "the same header",
		`{"query": {"a[]": "{vault://hcv/user}"}}`:                                                                                 "be the name of an argument",
		`{"query": {"a": "{vault://hcv/user}", "A": "{vault://hcv/user}"}}`:                                                        "differ in case only",
		`{"query": {"a": "s3cret"}}`:                                                                                               "config.query.a: it holds no reference",
		`{"authorization": {"type": "basic", "username": "kong", "password": "s3cret"}}`:                                           "config.authorization: it holds no reference",
		`{"authorization": {"type": "basic", "token": "{vault://hcv/user}"}}`:                                                      "set type to basic",
		`{"authorization": {"type": "bearer", "username": "a", "token": "{vault://hcv/user}"}}`:                                    "set type to basic",
		`{"authorization": {"type": "digest", "token": "{vault://hcv/user}"}}`:                                                     "set type to basic",
		`{"authorization": {"type": "bearer", "token": "s3cret {vault://hcv}"}}`:                                                   "config.authorization.token",
		`{"headers": 1}`: "config: ",
		``:               "config: ",
	} {
		var log bytes.Buffer
		if _, err := newPlugin("1.0.0", newShelf(), slog.New(slog.NewTextHandler(&log, nil))).Start([]byte(config)); err == nil ||
			!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %q", config, err, want)
		}
	}
}

func TestScopeIsKongs(t *testing.T) {
	shelf := newShelf()
	serve(t, shelf).Start(t, `{"headers": {"X-Key": "{vault://hcv/user}"}, "__ws_id": "w", "service_id": "s", "route_id": "r"}`).Access(t, &kongtest.Request{})
	if want := (vault.Scope{Service: "s", Route: "r", Workspace: "w"}); shelf.scope != want {
		t.Errorf("%v, want %v", shelf.scope, want)
	}
}

// What is known of a secret serves the requests of a second, be it a value or an error.
func TestRotationIsSeenWithinASecondOfTheVaultObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf := newShelf()
		r := &reference{text: "{vault://hcv/user}", get: func(ctx context.Context, text string) (string, error) {
			return shelf.GetFor(ctx, vault.Scope{}, text)
		}}
		check := func(want string, wantErr error, asked int) {
			t.Helper()
			for range 3 {
				if got, err := r.value(t.Context()); got != want || !errors.Is(err, wantErr) || (err == nil) != (wantErr == nil) || shelf.asked != asked {
					t.Errorf("%q, %v after %d; want %q, %v after %d", got, err, shelf.asked, want, wantErr, asked)
				}
			}
		}
		check("kong", nil, 1)
		shelf.secrets[r.text] = "rotated"
		check("kong", nil, 1)
		time.Sleep(rememberFor) // virtual
		check("rotated", nil, 2)
		shelf.errs[r.text] = errors.ErrUnsupported
		time.Sleep(rememberFor)
		check("", errors.ErrUnsupported, 3)
		shelf.errs[r.text] = nil
		time.Sleep(rememberFor)
		check("rotated", nil, 4)

		// A request whose time is up says nothing about the secret.
		shelf.secrets[r.text] = "wait"
		time.Sleep(rememberFor)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if _, err := r.value(ctx); reasonOf(err) != "timeout" {
			t.Error(err)
		}
		shelf.secrets[r.text] = "kong"
		check("kong", nil, 6)
	})
}

func TestNothingOfWhatWasSentUnderTheNameIsLeft(t *testing.T) {
	for raw, want := range map[string]string{
		"":                            "",
		"a=1&b&&c=%zz":                "a=1&b&c=%zz",
		"api_key":                     "",
		"a=1;b=2":                     "a=1;b=2",
		"a=1;api_key=2&c":             "a=1&c",
		"api_keys=1&xapi_key=2":       "api_keys=1&xapi_key=2",
		"api_key%5B0%5D=1&api+key=2":  "",
		"%20api_key=1&api_key%00x=2":  "",
		"%zzapi_key=1&api%5fkey%zz=2": "%zzapi_key=1&api%5fkey%zz=2",
		"ApI_kEy=1":                   "",
	} {
		if got := without(raw, []string{"api_key"}); got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}

// Whatever a client sends, no reader that follows the WHATWG, or PHP, finds the name.
func FuzzWithout(f *testing.F) {
	for _, raw := range []string{"a=1&api_key=2", "%61pi_key", "api_key[]=1;api_key", "%zz+api_key", "api_key%00=1"} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		left := without(raw, []string{"api_key"})
		for argument := range strings.SplitSeq(left, "&") {
			key, _, _ := strings.Cut(argument, "=")
			if name, err := url.QueryUnescape(key); err == nil && strings.EqualFold(name, "api_key") {
				t.Errorf("%q becomes %q", raw, left)
			}
		}
		if again := without(left, []string{"api_key"}); again != left {
			t.Errorf("%q becomes %q, then %q", raw, left, again)
		}
	})
}

// A template's value is its text with the secrets in place of references, and it has none
// unless all of it was understood.
func FuzzTemplate(f *testing.F) {
	for _, value := range []string{"Bearer {vault://azure/a/b}", "{vault://hcv/a}{vault://hcv/b#2}", "{vault:", "}{", "{vault://env/x}", "a\nb"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		parsed, err := parseTemplate(value, func(_ context.Context, reference string) (string, error) {
			if _, err := vault.ParseReference(reference); err != nil {
				t.Errorf("%q asks for %q: %v", value, reference, err)
			}
			return "secret", nil
		})
		if err != nil {
			return
		}
		got, err := parsed.value(t.Context())
		if err != nil || strings.Contains(got, referenceStart) || hasControl(got) || parsed.refers() == (got == value) && !strings.Contains(value, "secret") {
			t.Errorf("%q becomes %q, %v", value, got, err)
		}
	})
}

func TestOtherSpellings(t *testing.T) {
	if diff := cmp.Diff([]string{"x-api_key", "x_api-key", "x_api_key"}, otherSpellings("X-Api-Key")); diff != "" {
		t.Error(diff)
	}
	if got := otherSpellings("Authorization"); len(got) > 0 {
		t.Error(got)
	}
}
