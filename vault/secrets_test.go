package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/cache"
	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// fakeSecretStore is a store of secrets in memory.
type fakeSecretStore struct {
	fakeStore
	secrets map[string]secretstore.Secret // by name, followed by #2 for the previous version
	names   []string                      // that were read, in order
}

func (s *fakeSecretStore) CheckName(name string) error {
	if strings.Contains(name, "..") {
		return errors.New("no such name")
	}
	return nil
}

func (s *fakeSecretStore) Secret(_ context.Context, name string, v secretstore.Version) (secretstore.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v.Previous {
		name += "#2"
	}
	if v.ID != "" {
		name += "?" + v.ID
	}
	s.names = append(s.names, name)
	if s.err != nil {
		return secretstore.Secret{}, s.err
	}
	secret, ok := s.secrets[name]
	if !ok {
		return secret, &secretstore.Absent{Reason: secretstore.ReasonNotFound}
	}
	return secret, nil
}

// fakeSecretStores opens fakeSecretStores.
type fakeSecretStores struct {
	mu     sync.Mutex
	opened []*fakeSecretStore
	held   map[string]string   // the secrets of every one
	pairs  []credential.Record // the records of every one
	err    error               // of every read, if set

	wasOpened chan struct{} // gets a value for each that is opened, if not nil
}

func (f *fakeSecretStores) open(c secretstore.Config, o secretstore.OpenOptions) (secretstore.Store, error) {
	s := &fakeSecretStore{fakeStore: fakeStore{config: c, options: o, records: map[string]credential.Record{}}, secrets: map[string]secretstore.Secret{}}
	for name, value := range f.held {
		s.secrets[name] = secretstore.Secret{Value: value}
	}
	for _, r := range f.pairs {
		s.put(r)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s.err = f.err
	f.opened = append(f.opened, s)
	if f.wasOpened != nil {
		f.wasOpened <- struct{}{}
	}
	return s, nil
}

// openSecrets is a resolver on fake stores.
func openSecrets(t *testing.T, f *fakeSecretStores, p *SecretPolicy, env ...string) *Secrets {
	t.Helper()
	r := NewRegistry(f.kinds(), Options{Getenv: environ(env...), SecretPolicy: p})
	t.Cleanup(r.Close)
	return r.Secrets()
}

func azureAsk(resource string, config map[string]any) Ask {
	all := map[string]any{"vault_uri": "https://contoso.vault.azure.net", "type": "secrets", "credentials_prefix": "AZURE"}
	for name, value := range config {
		all[name] = value
	}
	b, _ := json.Marshal(all)
	return Ask{Vault: "azure", Config: b, Resource: resource}
}

func TestWhatStrategiesAsk(t *testing.T) {
	const record = `{"access_token": "a", "secret_token": "s", "consumer": "c"}`
	f := &fakeSecretStores{held: map[string]string{"pg": "now", "pg#2": "before", "pg?0123": "then", "alias": record, "public": "x"}}
	file := filepath.Join(t.TempDir(), "vaults.yml")
	writeFile(t, file, `vaults: [{name: azure, prefix: clients, config: {vault_uri: "https://contoso.vault.azure.net"}},
		{name: hcv, prefix: others, config: {host: vault, path: kong-auth, token: "{vault://env/T}"}}]`)
	s := openSecrets(t, f, nil, "VAULT_AUTH_VAULTS_FILE", file, "T", "hvs.x")
	version := func(a Ask, n int) Ask { a.Version = n; return a }
	hcv := func(resource string) Ask {
		return Ask{Vault: "hcv", Config: json.RawMessage(`{"host":"vault","token":"hvs.y"}`), Resource: resource}
	}
	for about, tt := range map[string]struct {
		ask  Ask
		want string
		is   error
	}{
		"the current version":    {azureAsk("pg", nil), "now", nil},
		"the same by number":     {version(azureAsk("pg", nil), 1), "now", nil},
		"the one before":         {version(azureAsk("pg", nil), 2), "before", nil},
		"one by its name":        {azureAsk("pg", map[string]any{"version": "0123"}), "then", nil},
		"both ways":              {version(azureAsk("pg", map[string]any{"version": "0123"}), 2), "version= and # exclude each other", secretstore.ErrConfig},
		"a third":                {version(azureAsk("pg", nil), 3), "#1 is the current version", secretstore.ErrConfig},
		"none":                   {azureAsk("none", nil), `unable to retrieve secret "none" from the vault azure: there is no such secret`, cache.ErrAbsent},
		"no name":                {azureAsk("../x", nil), "there is no such secret: no such name", cache.ErrAbsent},
		"a credential by place":  {azureAsk("kong-auth-x", nil), "this node doesn't hand out the secret: credentials of the vault object clients are kept there", ErrForbidden},
		"the same of Vault's":    {hcv("kong-auth/x"), "credentials of the vault object others", ErrForbidden},
		"beside those":           {hcv("public"), "x", nil},
		"a credential by nature": {azureAsk("alias", nil), "it holds a credential", ErrForbidden},
		"another vault":          {Ask{Vault: "aws", Config: json.RawMessage("{}")}, `there is no vault "aws", only hcv and azure`, secretstore.ErrConfig},
		"no settings":            {Ask{Vault: "azure", Config: json.RawMessage("[]")}, "can't be read", secretstore.ErrConfig},
		"settings that are none": {azureAsk("pg", map[string]any{"vault_uri": "http://my-vault-uri.azure.com"}), "vault_uri", secretstore.ErrConfig},
		"no vault_uri":           {azureAsk("pg", map[string]any{"vault_uri": nil}), "vault_uri: it is empty", secretstore.ErrConfig},
		"fields of ours":         {azureAsk("pg", map[string]any{"ttl": 0, "neg_ttl": 1e8, "resurrect_ttl": 1e8, "resurrect_deleted": true, "decode_base64": true, "location": "us-east"}), "now", nil},
	} {
		t.Run(about, func(t *testing.T) {
			a, err := s.Ask(t.Context(), tt.ask)
			switch {
			case tt.is == nil && (err != nil || a.Value != tt.want):
				t.Errorf("%+v, %v; want %s", a, err, tt.want)
			case tt.is != nil && (!errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.want) || a != Answer{}):
				t.Errorf("%+v, %v; want an error with %q", a, err, tt.want)
			}
		})
	}
}

func TestCredentialsOfAPluginsOwnObjectAreForbiddenToo(t *testing.T) {
	f := &fakeSecretStores{held: map[string]string{"kong-auth-x": "x"}}
	s := openSecrets(t, f, nil)
	if _, err := s.Ask(t.Context(), azureAsk("kong-auth-x", nil)); err != nil {
		t.Fatalf("as long as no plugin has its credentials there: %v", err)
	}
	_, release := mustOpen(t, s.registry, "plugin", inlineAzure(t, nil))
	defer release()
	if _, err := s.Ask(t.Context(), azureAsk("kong-auth-x", nil)); !errors.Is(err, ErrForbidden) {
		t.Errorf("%v", err)
	}
}

func TestLoginsComeFromKongsEnvironmentThenFromThisOne(t *testing.T) {
	f := &fakeSecretStores{held: map[string]string{"x": "x"}}
	s := openSecrets(t, f, nil, "AZURE_CLIENT_SECRET", "ours", "ORDERS_TENANT_ID", "tenant", "VAULT_TOKEN", "hvs.ours", "VAULT_ADDR", "http://ours:1")
	ask := azureAsk("x", map[string]any{"tenant_id": "tenant", "client_id": "client"})
	for _, env := range []map[string]string{nil, {"AZURE_CLIENT_SECRET": "kongs"}} {
		ask.Environ = env
		if _, err := s.Ask(t.Context(), ask); err != nil {
			t.Fatal(err)
		}
	}
	other := azureAsk("x", map[string]any{"credentials_prefix": "ORDERS"})
	other.Environ = map[string]string{"ORDERS_CLIENT_ID": "orders", "ORDERS_CLIENT_SECRET": "secret"}
	if _, err := s.Ask(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, fake := range f.opened {
		c := fake.config.(*Azure)
		if !fake.options.Kong || !fake.options.TrustNode {
			t.Errorf("it is not opened as one of Kong's vaults: %+v", fake.options)
		}
		got = append(got, strings.Join([]string{c.TenantID, c.ClientID, c.ClientSecret}, " "))
	}
	if diff := cmp.Diff([]string{"tenant client ours", "tenant client kongs", "tenant orders secret"}, got); diff != "" {
		t.Error(diff)
	}
	// A token of the node's would go to whatever host an entity names.
	if _, err := s.Ask(t.Context(), Ask{Vault: "hcv", Config: json.RawMessage(`{"host":"elsewhere"}`), Resource: "x"}); !errors.Is(err, secretstore.ErrConfig) {
		t.Errorf("hcv without a token: %v", err)
	}
}

func TestAsksAreSharedAndOutlastOutages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSecretStores{held: map[string]string{"pg": `{"user": "a", "password": "b"}`}}
		s := openSecrets(t, f, nil)
		ask := azureAsk("pg", map[string]any{"resurrect_ttl": 3600})
		get := func(want string) {
			t.Helper()
			a, err := s.Ask(t.Context(), ask)
			if got := fmt.Sprint(a.Value, err); got != want {
				t.Errorf("after %s: %s, want %s", time.Since(time.Now()), got, want)
			}
		}
		const first = `{"user": "a", "password": "b"}<nil>`
		for range 100 {
			get(first)
		}
		fake := f.opened[0]
		if len(f.opened) != 1 || len(fake.names) != 1 {
			t.Errorf("%d stores, %d reads", len(f.opened), len(fake.names))
		}
		time.Sleep(time.Minute)
		fake.change(func() { fake.secrets["pg"] = secretstore.Secret{Value: "rotated"} })
		get("rotated<nil>")
		time.Sleep(time.Minute)
		fake.fail(&secretstore.Failure{Op: "read", Reason: "sealed"})
		get("rotated<nil>")
		time.Sleep(59 * time.Minute)
		get("rotated<nil>")
		time.Sleep(2 * time.Minute)
		get(`unable to retrieve secret "pg" from the vault azure: read: sealed`)
		fake.fail(nil)
		time.Sleep(time.Minute)
		get("rotated<nil>")
		fake.change(func() { delete(fake.secrets, "pg") })
		time.Sleep(time.Minute)
		get(`unable to retrieve secret "pg" from the vault azure: there is no such secret`)
		fake.fail(&secretstore.Failure{Op: "read", Reason: "sealed"})
		time.Sleep(time.Minute)
		get(`unable to retrieve secret "pg" from the vault azure: read: sealed`) // what was deleted doesn't come back
	})
}

func TestHowLongKongMayKeepASecret(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		ttl     *secretstore.Seconds
		expires time.Time
		want    *float64
	}{
		{nil, time.Time{}, nil},
		{new(secretstore.Seconds(0)), time.Time{}, new(0.0)}, // which Kong takes for never
		{new(secretstore.Seconds(60)), time.Time{}, new(60.0)},
		{nil, now.Add(time.Hour), new(3600.0)},
		{new(secretstore.Seconds(0)), now.Add(time.Hour), new(3600.0)},
		{new(secretstore.Seconds(60)), now.Add(time.Hour), new(60.0)},
		{new(secretstore.Seconds(60)), now.Add(time.Second / 2), new(1.0)},
	} {
		if diff := cmp.Diff(tt.want, ttlOf(tt.ttl, tt.expires, now)); diff != "" {
			t.Errorf("%v %v: %s", tt.ttl, tt.expires, diff)
		}
	}
}

func TestReferencesAreResolved(t *testing.T) {
	f := &fakeSecretStores{held: map[string]string{"secret-name": `{"foo": "bar", "n": 1, "none": ""}`, "secret-name#2": `{"foo": "old"}`, "path/to/x": `{"y": "z"}`, "text": "plain", "text?12ab": "then"}}
	s := openSecrets(t, f, nil, "KONG_VAULT_AZURE_VAULT_URI", "https://contoso.vault.azure.net",
		"KONG_VAULT_HCV_TOKEN", "hvs.x", "MY_VALUE", "from the environment")
	for reference, want := range map[string]string{
		"{vault://azure/secret-name/foo}":   "bar",
		"{vault://azure/secret-name/foo#1}": "bar",
		"{vault://azure/secret-name/foo#2}": "old",
		"{vault://azure/text}":              "plain",
		"{vault://azure/text?version=12ab}": "then",
		"{vault://hcv/path/to/x/y}":         "z",
		"{vault://hcv/path/to/x/}":          `{"y": "z"}`,
		"{vault://hcv/path%2Fto/x/y}":       "z",
		"{vault://env/my-value}":            "from the environment",
	} {
		if got, err := s.Get(t.Context(), reference); got != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", reference, got, err, want)
		}
	}
	for reference, want := range map[string]string{
		"{vault://azure/secret-name/n}":       "unexpected value in JSON secret for subfield n",
		"{vault://azure/secret-name/none}":    "subfield none in JSON secret is empty",
		"{vault://azure/secret-name/nothing}": "subfield nothing not found in JSON secret",
		"{vault://azure/text/foo}":            "the secret is not a JSON object",
		"{vault://azure/none}":                "there is no such secret",
		"{vault://azure/text#3}":              "#1 is the current version",
		"{vault://azure/text#x}":              "must be a number",
		"{vault://azure/kong-auth-x}":         "", // nobody uses the object for credentials
		"{vault://other/text}":                `there is no vault object "other"`,
		"{vault://azure}":                     "it should look like",
		"{vault://azure/%zz}":                 "it should look like",
		"not a reference":                     "it should look like",
		"{vault://env/none}":                  "NONE is not set",
	} {
		got, err := s.Get(t.Context(), reference)
		if err == nil || got != "" || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), reference+": ") || strings.Contains(err.Error(), "bar") {
			t.Errorf("%s: %q, %v; want an error with %q", reference, got, err, want)
		}
	}
}

func TestAReferenceOfThisNodesIsReadAgainAtItsTTL(t *testing.T) {
	for _, tt := range []struct {
		env []string
		ttl time.Duration
	}{{nil, 60 * time.Second}, {[]string{"KONG_VAULT_AZURE_TTL", "10"}, 10 * time.Second}, {[]string{"KONG_VAULT_AZURE_TTL", "0"}, 60 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeSecretStores{held: map[string]string{"x": "one"}}
			s := openSecrets(t, f, nil, append(tt.env, "KONG_VAULT_AZURE_VAULT_URI", "https://contoso.vault.azure.net")...)
			get := func() string { v, _ := s.Get(t.Context(), "{vault://azure/x}"); return v }
			get()
			f.opened[0].change(func() { f.opened[0].secrets["x"] = secretstore.Secret{Value: "two"} })
			time.Sleep(tt.ttl / 2)
			if got := get(); got != "one" {
				t.Errorf("%s: %q within the ttl", tt.env, got)
			}
			time.Sleep(tt.ttl)
			if got := get(); got != "two" {
				t.Errorf("%s: %q past the ttl", tt.env, got)
			}
		})
	}
}

func TestStoresOfReferencesAreBoundedAndClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSecretStores{held: map[string]string{"x": "x"}}
		s := openSecrets(t, f, nil)
		ask := func(i int) {
			t.Helper()
			if _, err := s.Ask(t.Context(), azureAsk("x", map[string]any{"client_id": fmt.Sprint(i)})); err != nil {
				t.Fatal(err)
			}
		}
		open := func() (n int) {
			synctest.Wait()
			for _, fake := range f.opened {
				if !fake.isClosed() {
					n++
				}
			}
			return n
		}
		for i := range maxSecretStores + 5 {
			time.Sleep(time.Millisecond)
			ask(i)
		}
		if got := open(); got != maxSecretStores || !f.opened[0].isClosed() {
			t.Errorf("%d are open", got)
		}
		time.Sleep(2 * time.Hour)
		ask(1000)
		if got := open(); got != 1 {
			t.Errorf("%d are open after two hours", got)
		}
		s.close()
		if got := open(); got != 0 {
			t.Errorf("%d are open after Close", got)
		}
		if _, err := s.Ask(t.Context(), azureAsk("x", nil)); !errors.Is(err, secretstore.ErrConfig) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestSecretPolicyFile(t *testing.T) {
	read := func(text string) (*SecretPolicy, error) {
		path := filepath.Join(t.TempDir(), "policy.yml")
		writeFile(t, path, text)
		return ReadSecretPolicy(path)
	}
	p, err := read(`secrets:
- {vault: azure, place: "https://contoso.vault.azure.net/", names: [pg, tls-*]}
- {vault: azure, place: "https://open.vault.azure.net"}
`)
	if err != nil {
		t.Fatal(err)
	}
	s := openSecrets(t, &fakeSecretStores{held: map[string]string{"pg": "x", "tls-a": "x", "other": "x"}}, p)
	at := func(host, name string) Ask {
		return azureAsk(name, map[string]any{"vault_uri": "https://" + host + ".vault.azure.net"})
	}
	for _, tt := range []struct {
		ask Ask
		ok  bool
	}{
		{at("contoso", "pg"), true}, {at("contoso", "tls-a"), true}, {at("contoso", "other"), false},
		{at("open", "other"), true}, {at("elsewhere", "pg"), false},
		{Ask{Vault: "hcv", Config: json.RawMessage(`{"token":"hvs.x"}`), Resource: "pg"}, false},
	} {
		if _, err := s.Ask(t.Context(), tt.ask); (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrForbidden) {
			t.Errorf("%s %s: %v", tt.ask.Config, tt.ask.Resource, err)
		}
	}
	for _, bad := range []string{"", "secrets: 1", "secrets: [{place: x}]", "secret: []", "secrets: [{vault: azure, name: pg}]"} {
		if _, err := read(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	if _, err := ReadSecretPolicy("/does/not/exist"); err == nil {
		t.Error("a file that isn't there is accepted")
	}
	if none, err := read("secrets: []"); err != nil || none.check(&Azure{}, "pg") == nil {
		t.Errorf("an empty list permits something: %v", err)
	}
}

func TestAChangedSecretPolicyCounts(t *testing.T) {
	log, path := &logbook{}, filepath.Join(t.TempDir(), "policy.yml")
	writeFile(t, path, "secrets: [{vault: azure, names: [pg]}]")
	p, err := ReadSecretPolicy(path)
	if err != nil {
		t.Fatal(err)
	}
	s := openSecrets(t, &fakeSecretStores{held: map[string]string{"pg": "x", "tls": "x"}}, p)
	for _, tt := range []struct {
		file      string
		permitted string
		forbidden string
		errors    int
	}{
		{"secrets: [{vault: azure, names: [tls]}]", "tls", "pg", 0},
		{"secrets: [{vault: azure, names: 1}]", "tls", "pg", 1},
		{"", "tls", "pg", 2},
		{"secrets: [{vault: azure, names: [pg]}]", "pg", "tls", 2},
	} {
		writeFile(t, path, tt.file)
		p.reload(log.logger())
		if _, err := s.Ask(t.Context(), azureAsk(tt.permitted, nil)); err != nil {
			t.Errorf("%q: %v", tt.file, err)
		}
		if _, err := s.Ask(t.Context(), azureAsk(tt.forbidden, nil)); !errors.Is(err, ErrForbidden) {
			t.Errorf("%q: %v", tt.file, err)
		}
		if n := log.count("level=ERROR", path); n != tt.errors {
			t.Errorf("%q: %d errors are logged: %s", tt.file, n, log)
		}
	}
	p.reload(log.logger()) // as it was
	if n := log.count("was read"); n != 2 {
		t.Errorf("%d changes are logged: %s", n, log)
	}
}

func TestAWatchedSecretPolicyIsReadAgain(t *testing.T) {
	log, path := &logbook{lines: make(chan struct{}, 10)}, filepath.Join(t.TempDir(), "policy.yml")
	writeFile(t, path, "secrets: [{vault: azure, names: [pg]}]")
	p, err := ReadSecretPolicy(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go p.Watch(ctx, log.logger())
	writeFile(t, path, "secrets: [{vault: azure, names: [tls]}]")
	<-log.lines
	if err := p.check(&Azure{}, "tls"); err != nil {
		t.Error(err)
	}
}

// Any text is parsed or refused. A parsed reference that is written again is parsed the
// same.
func FuzzParseReference(f *testing.F) {
	for _, text := range []string{
		"{vault://azure/secret-name/foo}", "{vault://hcv/a/b/c/}", "{vault://hcv/a%2Fb/c?version=2&ttl=60#1}", "{vault://env/x", "{vault://a/%}", "{vault:///x}", "{vault://a/b#-1}",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseReference(text)
		if err != nil {
			if strings.Contains(err.Error(), text) && text != "" && len(text) > 12 {
				t.Errorf("the error repeats the reference: %v", err)
			}
			return
		}
		if r.Vault == "" || r.Resource == "" || !secretstore.IsReference(text) || r.Version < 0 {
			t.Errorf("%q is %+v", text, r)
		}
	})
}

func TestSecretsOutliveTheProcess(t *testing.T) {
	dir, keys := t.TempDir(), t.TempDir()
	file, key := filepath.Join(dir, "snapshot"), filepath.Join(keys, "key")
	writeFile(t, key, strings.Repeat("0123456789abcdef", 4))
	// process runs one, whose store holds these secrets or can't answer.
	process := func(held map[string]string, use func(get func(name string) string)) {
		t.Helper()
		f := &fakeSecretStores{held: held}
		s := openSecrets(t, f, nil)
		s.readSnapshot(file, key)
		s.keepSnapshot()
		use(func(name string) string {
			if held == nil { // the store fails from its first read on
				d, _, err := s.definitionOf(azureAsk(name, nil))
				if err != nil {
					t.Fatal(err)
				}
				_, done, err := s.acquire(d, cache.Policy{ResurrectTTL: time.Hour})
				if err != nil {
					t.Fatal(err)
				}
				done()
				f.opened[0].fail(&secretstore.Failure{Op: "read", Reason: "sealed"})
			}
			a, err := s.Ask(t.Context(), azureAsk(name, nil))
			if err != nil {
				return err.Error()
			}
			return a.Value
		})
		s.close()
	}
	process(map[string]string{"pg": "s3cret-pg", "other": "s3cret-other"}, func(get func(string) string) {
		if got := get("pg") + get("other"); got != "s3cret-pgs3cret-other" {
			t.Error(got)
		}
	})
	if b, err := os.ReadFile(file); err != nil || strings.Contains(string(b), "s3cret") {
		t.Errorf("the file holds secrets as they are: %v", err)
	}
	process(nil, func(get func(string) string) {
		if got := get("pg"); got != "s3cret-pg" {
			t.Errorf("in an outage: %s", got)
		}
		if got := get("none"); !strings.HasSuffix(got, "read: sealed") {
			t.Errorf("what was never read: %s", got)
		}
	})
	process(map[string]string{"other": "new"}, func(get func(string) string) {
		if got := get("pg"); !strings.HasSuffix(got, "there is no such secret") {
			t.Errorf("what was deleted meanwhile: %s", got)
		}
		if got := get("other"); got != "new" {
			t.Errorf("what was rotated meanwhile: %s", got)
		}
	})
	process(nil, func(get func(string) string) {
		if got := get("pg") + " " + get("other"); !strings.HasSuffix(got, "read: sealed new") {
			t.Errorf("after that, in an outage: %s", got)
		}
	})
	writeFile(t, file, "something else")
	process(nil, func(get func(string) string) {
		if got := get("other"); !strings.HasSuffix(got, "read: sealed") {
			t.Errorf("of a file that was damaged: %s", got)
		}
	})
}

func TestWhatAPluginsConfigurationMayReference(t *testing.T) {
	const route = "0dc6f45b-8f8d-40d2-a504-473544ee190b"
	file := filepath.Join(t.TempDir(), "vaults.yml")
	writeFile(t, file, `vaults: [{name: azure, prefix: team, allowed_routes: [`+route+`], config: {vault_uri: "https://contoso.vault.azure.net"}}]`)
	f := &fakeSecretStores{held: map[string]string{"x": "value", "kong-auth-a": "value"}}
	s := openSecrets(t, f, nil, "VAULT_AUTH_VAULTS_FILE", file, "MY_TOKEN", "t0ken", "KONG_VAULT_HCV_TOKEN", "hvs.x")
	for _, tt := range []struct {
		scope     Scope
		reference string
		want      string
		is        error
	}{
		{Scope{Route: route}, "{vault://team/x}", "value", nil},
		{Scope{}, "{vault://hcv/x}", "value", nil},
		{Scope{}, "{vault://team/x}", "may not name", secretstore.ErrConfig},
		{Scope{Route: "1dc6f45b-8f8d-40d2-a504-473544ee190b"}, "{vault://team/x}", "may not name", secretstore.ErrConfig},
		{Scope{Route: route}, "{vault://team/kong-auth-a}", "credentials of the vault object team are kept there", ErrForbidden},
		{Scope{Route: route}, "{vault://env/my-token}", "can't name variables", ErrForbidden},
		{Scope{}, "{vault://nobody/x}", "there is no vault object", secretstore.ErrConfig},
		{Scope{}, "{vault://hcv}", "can't be read", nil},
	} {
		got, err := s.GetFor(t.Context(), tt.scope, tt.reference)
		if err != nil && got == "" {
			got = err.Error()
		}
		if !strings.Contains(got, tt.want) || strings.Contains(got, "t0ken") || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s for %v: %q, %v", tt.reference, tt.scope, got, err)
		}
	}
}
