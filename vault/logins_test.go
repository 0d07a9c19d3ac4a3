package vault

import (
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/secretstore"
)

// kong-auth is a vault for credentials with its token in another one, keys, which logs in by
// managed identity. chainEnd has its token in middle, whose token is in keys.
const (
	keysVault  = "{name: azure, prefix: keys, config: {vault_uri: 'https://keys.vault.azure.net', ttl: 10}}"
	tokenInIt  = "{name: hcv, prefix: kong-auth, config: {host: vault, token: '{vault://keys/vault-token/value}'}}"
	chainStart = "{name: hcv, prefix: middle, config: {host: middle, token: '{vault://keys/vault-token/value}'}}"
	chainEnd   = "{name: hcv, prefix: kong-auth, config: {host: vault, token: '{vault://middle/logins/token/value}'}}"
)

func vaultsOf(objects ...string) string { return "vaults: [" + strings.Join(objects, ", ") + "]" }

// loginsFixture is a registry on fake stores, and its vaults file.
type loginsFixture struct {
	*fakeSecretStores
	registry *Registry
	log      *logbook
	path     string
}

// newLogins is a loginsFixture whose file isn't watched: tests call reload and readLogins.
func newLogins(t *testing.T, f *fakeSecretStores, file string, env ...string) *loginsFixture {
	t.Helper()
	l := newWatchedLogins(t, f, file, env...)
	l.registry.node.stop()
	return l
}

func newWatchedLogins(t *testing.T, f *fakeSecretStores, file string, env ...string) *loginsFixture {
	t.Helper()
	l := &loginsFixture{fakeSecretStores: f, log: &logbook{}, path: filepath.Join(t.TempDir(), "vaults.yml")}
	writeFile(t, l.path, file)
	l.registry = NewRegistry(f.kinds(), Options{Logger: l.log.logger(), Getenv: environ(append(env, "VAULT_AUTH_VAULTS_FILE", l.path)...)})
	t.Cleanup(l.registry.Close)
	return l
}

// registryWith is a registry on f with the objects of a vaults file. It watches no file, so
// it can be used in a synctest bubble.
func registryWith(t *testing.T, f *fakeSecretStores, o Options, objects ...string) *Registry {
	t.Helper()
	r := NewRegistry(f.kinds(), o)
	file, err := parseFile([]byte(vaultsOf(objects...)), r.kinds, o.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	r.node.file = file.defined
	return r
}

// withReader runs a test in a synctest bubble, with a registry that reads logins. Its node
// defines keys, which holds these secrets, and the object kong-auth.
func withReader(t *testing.T, held map[string]string, object string, test func(t *testing.T, f *fakeSecretStores, o *Object)) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSecretStores{held: held}
		r := registryWith(t, f, Options{Getenv: environ()}, keysVault, object)
		defer r.Close()
		r.logins.start()
		synctest.Wait()
		o, release := mustOpen(t, r, "plugin", Config{Vault: "kong-auth"})
		defer release()
		test(t, f, o)
	})
}

// kinds are those of the product, with fakes for their stores.
func (f *fakeSecretStores) kinds() kinds {
	k := (&fakeStores{}).kinds()
	for i := range k {
		k[i].Open = f.open
	}
	return k
}

// tokens are the tokens that a host's stores were opened with, in order.
func (f *fakeSecretStores) tokens(host string) (tokens []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.opened {
		if c, ok := s.config.(*HCV); ok && c.Host == host {
			tokens = append(tokens, c.Token)
		}
	}
	return tokens
}

// store is the store of a place that was opened last.
func (f *fakeSecretStores) store(t *testing.T, place string) *fakeSecretStore {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range slices.Backward(f.opened) {
		if strings.Contains(s.config.(secretstore.Config).Place(), place) {
			return s
		}
	}
	t.Fatalf("no store of %s is open", place)
	return nil
}

// hold puts a secret into a store.
func (s *fakeSecretStore) hold(name, value string) {
	s.change(func() { s.secrets[name] = secretstore.Secret{Value: value} })
}

var errLogin = &secretstore.Failure{Op: "read", Reason: "token", LoginRefused: true, Err: errors.New("permission denied")}

func TestALoginMayBeInAnotherVault(t *testing.T) {
	for about, tt := range map[string]struct {
		objects []string
		env     []string
		held    map[string]string
	}{
		"by a prefix":          {[]string{tokenInIt, keysVault}, nil, map[string]string{"vault-token": `{"value": "hvs.one"}`}},
		"of the environment":   {[]string{strings.Replace(tokenInIt, "keys", "azure", 1)}, []string{"KONG_VAULT_AZURE_VAULT_URI", "https://keys.vault.azure.net"}, map[string]string{"vault-token": `{"value": "hvs.one"}`}},
		"of a chain of vaults": {[]string{keysVault, chainStart, chainEnd}, nil, map[string]string{"vault-token": `{"value": "hvs.middle"}`, "logins/token": `{"value": "hvs.one"}`}},
	} {
		t.Run(about, func(t *testing.T) {
			// A token of the environment must not take the reference's place.
			l := newLogins(t, &fakeSecretStores{held: tt.held}, vaultsOf(tt.objects...), append(tt.env, "VAULT_TOKEN", "hvs.environment")...)
			o, release := mustOpen(t, l.registry, "plugin", Config{Vault: "kong-auth"})
			defer release()
			if err := o.Usable(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"hvs.one"}, l.tokens("vault")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// References and logins in other vaults are read with the same login, through the same
// cache. The policy applies only to references.
func TestLoginsInAnotherVaultAreReadWithTheSameLoginAsReferences(t *testing.T) {
	policy, path := filepath.Join(t.TempDir(), "policy.yml"), filepath.Join(t.TempDir(), "vaults.yml")
	writeFile(t, policy, "secrets: [{vault: azure, names: [public]}]")
	writeFile(t, path, vaultsOf(keysVault, tokenInIt))
	p, err := ReadSecretPolicy(policy)
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeSecretStores{held: map[string]string{"vault-token": `{"value": "hvs.one"}`, "public": "x"}}
	r := NewRegistry(f.kinds(), Options{Getenv: environ("VAULT_AUTH_VAULTS_FILE", path), SecretPolicy: p})
	defer r.Close()
	o, release := mustOpen(t, r, "plugin", Config{Vault: "kong-auth"})
	defer release()
	if err := o.Usable(); err != nil {
		t.Errorf("the login that the policy doesn't name: %v", err)
	}
	if _, err := r.Secrets().Get(t.Context(), "{vault://keys/public}"); err != nil {
		t.Error(err)
	}
	if _, err := r.Secrets().Get(t.Context(), "{vault://keys/vault-token/value}"); !errors.Is(err, ErrForbidden) {
		t.Errorf("a reference to what the policy doesn't name: %v", err)
	}
	if n := len(f.opened); n != 2 {
		t.Errorf("%d stores were opened, want one of keys and one of kong-auth", n)
	}
}

func TestALoginInAnotherVaultIsKnownAfterAStartInAnOutage(t *testing.T) {
	dir := t.TempDir()
	key, path := filepath.Join(t.TempDir(), "key"), filepath.Join(dir, "vaults.yml")
	writeFile(t, key, strings.Repeat("0123456789abcdef", 4))
	writeFile(t, path, vaultsOf(keysVault, tokenInIt))
	for _, f := range []*fakeSecretStores{
		{held: map[string]string{"vault-token": `{"value": "hvs.one"}`}},
		{err: &secretstore.Failure{Op: "read", Reason: "sealed"}},
	} {
		r := NewRegistry(f.kinds(), Options{Getenv: environ("VAULT_AUTH_VAULTS_FILE", path), SecretsSnapshot: filepath.Join(dir, "snapshot"), SecretsSnapshotKey: key})
		o, release := mustOpen(t, r, "plugin", Config{Vault: "kong-auth"})
		if err := o.Usable(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"hvs.one"}, f.tokens("vault")); diff != "" {
			t.Error(diff)
		}
		release()
		r.Close()
	}
}

// A store's settings may keep more of the node's environment than their fields hold.
func TestALoginInAnotherVaultKeepsTheNodesEnvironment(t *testing.T) {
	const object = "{name: hcv, prefix: kong-auth, config: {host: vault, auth_method: aws_iam, aws_auth_role: r, aws_auth_region: eu-west-1, " +
		"aws_access_key_id: '{vault://keys/vault-token/id}', aws_secret_access_key: '{vault://keys/vault-token/secret}'}}"
	l := newLogins(t, &fakeSecretStores{held: map[string]string{"vault-token": `{"id": "AKIA", "secret": "s"}`}}, vaultsOf(keysVault, object),
		"AZURE_CLIENT_ID", "client", "AZURE_TENANT_ID", "tenant", "AZURE_FEDERATED_TOKEN_FILE", "/f", "AWS_REGION", "eu-west-1")
	l.registry.mu.Lock()
	defer l.registry.mu.Unlock()
	complete, ok := l.registry.node.resolved["kong-auth"]
	if !ok {
		t.Fatal(l.log)
	}
	want := *l.registry.node.file["kong-auth"].Config.(*HCV)
	want.AWSAccessKeyID, want.AWSSecretKey = "AKIA", "s"
	if !reflect.DeepEqual(&want, complete.Config) || reflect.ValueOf(want.Node).IsZero() {
		t.Errorf("%+v, want %+v", complete.Config, want)
	}
}

func TestVaultsFileWithReferencesThatLeadNowhere(t *testing.T) {
	for about, tt := range map[string]struct {
		objects []string
		want    string
	}{
		"itself": {[]string{strings.Replace(tokenInIt, "keys", "kong-auth", 1)},
			"the login of kong-auth is in a vault that can't be read without it: kong-auth, then kong-auth; give one of them a login that is in no vault"},
		"each other": {[]string{chainEnd, strings.Replace(chainStart, "keys", "kong-auth", 1)}, "kong-auth, then middle, then kong-auth;"},
		"nobody":     {[]string{tokenInIt}, `config of kong-auth: token: the reference names the vault "keys", which neither this file nor the environment defines`},
		"unreadable": {[]string{keysVault, "{name: hcv, prefix: kong-auth, config: {token: '{vault://keys}'}}"}, "config of kong-auth: token: the reference can't be read"},
		"a place":    {[]string{keysVault, "{name: hcv, prefix: kong-auth, config: {token: x, host: '{vault://keys/host/x}'}}"}, `host: references to the vault "keys" can't be resolved here`},
		"a choice":   {[]string{keysVault, "{name: hcv, prefix: kong-auth, config: {auth_method: '{vault://keys/host/x}'}}"}, `auth_method: references to the vault "keys" can't be resolved here`},
	} {
		t.Run(about, func(t *testing.T) {
			l := newLogins(t, &fakeSecretStores{}, vaultsOf(tt.objects...))
			o, release := mustOpen(t, l.registry, "plugin", Config{Vault: "kong-auth"})
			defer release()
			if err := o.Usable(); !errors.Is(err, secretstore.ErrConfig) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v; want %q", err, tt.want)
			}
		})
	}
}

func TestLoginsThatCantBeRead(t *testing.T) {
	for about, tt := range map[string]struct {
		value  string // of the secret; empty: none
		err    error
		want   string
		config bool // it is a mistake; else an outage
	}{
		"absent":  {"", nil, "there is no such secret", true},
		"no key":  {`{"other": "hvs.one"}`, nil, "subfield value not found", false},
		"useless": {`{"value": "hvs.one hvs.two"}`, nil, "token", true},
		"outage":  {"", errors.New("the vault is down"), "the vault is down", false},
	} {
		t.Run(about, func(t *testing.T) {
			f := &fakeSecretStores{held: map[string]string{}, err: tt.err}
			if tt.value != "" {
				f.held["vault-token"] = tt.value
			}
			l := newLogins(t, f, vaultsOf(keysVault, tokenInIt))
			o, release := mustOpen(t, l.registry, "plugin", Config{Vault: "kong-auth"})
			defer release()
			_, err := o.Lookup(t.Context(), "ac-alice", "right", nil)
			var unavailable *UnavailableError
			if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, secretstore.ErrConfig) != tt.config || errors.As(err, &unavailable) == tt.config {
				t.Errorf("%v; want %q", err, tt.want)
			}
			if l.log.count("level=ERROR", "vault=kong-auth", tt.want) != 1 || strings.Contains(l.log.String(), "hvs.") {
				t.Errorf("log: %s", l.log)
			}
			if next := l.registry.readLogins(t.Context()); next != loginRetry {
				t.Errorf("it is read again in %s", next)
			}
			if n := l.log.count("level=ERROR", "vault=kong-auth"); n != 1 {
				t.Errorf("the same error was logged %d times", n)
			}
		})
	}
}

func TestALoginIsReadAgain(t *testing.T) {
	withReader(t, map[string]string{"vault-token": `{"value": "hvs.one"}`}, tokenInIt, func(t *testing.T, f *fakeSecretStores, o *Object) {
		rotate := func(token string) { f.store(t, "keys").hold("vault-token", `{"value": "`+token+`"}`) }
		want := func(when string, tokens ...string) {
			t.Helper()
			synctest.Wait()
			if diff := cmp.Diff(tokens, f.tokens("vault")); diff != "" {
				t.Error(when, diff)
			}
		}

		rotate("hvs.two")
		time.Sleep(5 * time.Second)
		want("within the ttl", "hvs.one")
		time.Sleep(6 * time.Second)
		want("past the ttl", "hvs.one", "hvs.two")

		rotate("hvs.three")
		f.store(t, "vault:").fail(errLogin)
		lookup := func() { _, _ = o.Lookup(t.Context(), "ac-alice", "right", nil) }
		lookup()
		want("after a refusal", "hvs.one", "hvs.two", "hvs.three")

		rotate("hvs.four")
		f.store(t, "vault:").fail(errLogin)
		lookup()
		want("after another within 5 s", "hvs.one", "hvs.two", "hvs.three")
		time.Sleep(loginRetry)
		lookup()
		want("and after those", "hvs.one", "hvs.two", "hvs.three", "hvs.four")

		f.store(t, "keys").fail(errors.New("down"))
		time.Sleep(time.Hour)
		if err := o.Usable(); err != nil {
			t.Errorf("while the other vault is down: %v", err)
		}
	})
}

// A role_id is a part of the store's identity, so each rotation makes another store. If
// that refuses its login too, its references are read again.
func TestALoginThatIsPartOfTheIdentityIsReadAgainAfterEachRefusal(t *testing.T) {
	const object = "{name: hcv, prefix: kong-auth, config: {host: vault, auth_method: approle, " +
		"approle_role_id: '{vault://keys/role/id}', approle_secret_id: '{vault://keys/role/secret}'}}"
	withReader(t, map[string]string{"role": `{"id": "one", "secret": "s-one"}`}, object, func(t *testing.T, f *fakeSecretStores, o *Object) {
		want := func(when string, logins ...string) {
			t.Helper()
			synctest.Wait()
			var got []string
			for _, s := range f.opened {
				if c, ok := s.config.(*HCV); ok {
					got = append(got, c.AppRoleRoleID+" "+c.AppRoleSecretID)
				}
			}
			if diff := cmp.Diff(logins, got); diff != "" {
				t.Error(when, diff)
			}
		}
		want("at first", "one s-one")
		logins := []string{"one s-one"}
		for _, id := range []string{"two", "three"} {
			time.Sleep(time.Second) // so that no two reads are at the same instant
			f.store(t, "keys").hold("role", `{"id": "`+id+`", "secret": "s-`+id+`"}`)
			f.store(t, "vault:").fail(errLogin)
			before := o.bound.Load().store
			_, _ = o.Lookup(t.Context(), "ac-alice", "right", nil)
			logins = append(logins, id+" s-"+id)
			want("after a refusal, within the ttl of the other vault", logins...)
			if o.bound.Load().store.identity == before.identity {
				t.Errorf("%s has the identity of the role_id before it", id)
			}
		}
	})
}

// The middle vault refuses its login, which has been rotated in the first vault.
func TestALoginInAVaultThatRefuses(t *testing.T) {
	l := newLogins(t, &fakeSecretStores{held: map[string]string{"vault-token": `{"value": "hvs.middle"}`, "logins/token": `{"value": "hvs.one"}`}},
		vaultsOf(keysVault, chainStart, chainEnd))
	l.store(t, "keys").hold("vault-token", `{"value": "hvs.rotated"}`)
	middle := l.store(t, "middle")
	middle.fail(errLogin)
	l.registry.secrets.refresh(t.Context(), l.registry.node.file["kong-auth"].loginRefs)
	l.registry.readLogins(t.Context()) // learns of the refusal
	l.registry.readLogins(t.Context())
	if diff := cmp.Diff([]string{"hvs.middle", "hvs.rotated"}, l.tokens("middle")); diff != "" {
		t.Error(diff)
	}
}

func TestReloadOfAFileWithLoginsInOtherVaults(t *testing.T) {
	l := newLogins(t, &fakeSecretStores{held: map[string]string{"vault-token": `{"value": "hvs.one"}`}}, vaultsOf(keysVault, tokenInIt))
	o, release := mustOpen(t, l.registry, "plugin", Config{Vault: "kong-auth"})
	defer release()
	reload := func(object string) {
		t.Helper()
		writeFile(t, l.path, vaultsOf(keysVault, object))
		l.registry.node.reload()
	}

	reload(tokenInIt + "\n")
	if _, kept := l.registry.node.resolved["kong-auth"]; !kept {
		t.Error("the login of an object that hasn't changed is not kept")
	}
	// Until the new definition has its login the old one stays, but only for the
	// configurations that the new one allows.
	reload(strings.Replace(tokenInIt, "config: {", "allowed_services: [0dc6f45b-8f8d-40d2-a504-473544ee190b], config: {ttl: 30, ", 1))
	b := o.bound.Load()
	if b.err != nil || b.policy.TTL != 60*time.Second {
		t.Errorf("bound to %+v", b)
	}
	if err := o.Usable(); err == nil || !strings.Contains(err.Error(), "allowed_services") {
		t.Errorf("a configuration that may no longer name it: %v", err)
	}
	l.registry.readLogins(t.Context())
	if b := o.bound.Load(); b.err != nil || b.policy.TTL != 30*time.Second {
		t.Errorf("after its login was read: %+v", b)
	}
	if len(l.tokens("vault")) != 1 {
		t.Errorf("the same store was opened %d times", len(l.tokens("vault")))
	}

	reload("{name: hcv, prefix: kong-auth, config: {host: vault, token: hvs.literal}}")
	if err := o.Usable(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"hvs.one", "hvs.literal"}, l.tokens("vault")); diff != "" {
		t.Error(diff)
	}
}

// A watched file is read when it changes, and then its logins are.
func TestLoginsOfAWatchedFile(t *testing.T) {
	f := &fakeSecretStores{held: map[string]string{"vault-token": `{"value": "hvs.one"}`}, wasOpened: make(chan struct{}, 10)}
	l := newWatchedLogins(t, f, vaultsOf(keysVault))
	o, release := mustOpen(t, l.registry, "plugin", Config{Vault: "kong-auth"})
	defer release()
	writeFile(t, l.path, vaultsOf(keysVault, tokenInIt))
	for len(l.tokens("vault")) == 0 {
		<-f.wasOpened
	}
	l.registry.mu.Lock() // until the object is bound
	defer l.registry.mu.Unlock()
	if err := o.Usable(); err != nil {
		t.Error(err)
	}
}

func TestCommandsReadALoginInAnotherVault(t *testing.T) {
	f := &fakeSecretStores{held: map[string]string{"vault-token": `{"value": "hvs.one"}`}}
	path := filepath.Join(t.TempDir(), "vaults.yml")
	writeFile(t, path, vaultsOf(keysVault, tokenInIt))
	d, err := NewDefined(f.kinds(), Options{Getenv: environ("VAULT_AUTH_VAULTS_FILE", path)})
	if err != nil {
		t.Fatal(err)
	}
	o, err := d.Object("kong-auth")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Problems(o); err != nil {
		t.Error(err)
	}
	if _, err := d.Open(o); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"hvs.one"}, f.tokens("vault")); diff != "" {
		t.Error(diff)
	}
	f.held = nil
	if _, err := d.Open(o); err == nil || !strings.Contains(err.Error(), "there is no such secret") {
		t.Errorf("without the secret: %v", err)
	}
}
