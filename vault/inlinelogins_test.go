package vault

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

const inKeys = "{vault://keys/vault-token/value}"

// inlineFixture is a registry whose node defines the vault keys, which holds a token.
type inlineFixture struct {
	*testing.T
	*fakeSecretStores
	registry *Registry
	log      *logbook
}

// withKeys runs a test with an inlineFixture, in a synctest bubble.
func withKeys(t *testing.T, env []string, test func(f *inlineFixture)) {
	t.Helper()
	const team = "{name: azure, prefix: team, allowed_routes: [0dc6f45b-8f8d-40d2-a504-473544ee190b], config: {vault_uri: 'https://team.vault.azure.net'}}"
	synctest.Test(t, func(t *testing.T) {
		f := &inlineFixture{T: t, fakeSecretStores: &fakeSecretStores{held: map[string]string{"vault-token": `{"value": "hvs.two"}`}}, log: &logbook{}}
		f.registry = registryWith(t, f.fakeSecretStores, Options{Logger: f.log.logger(), Getenv: environ(env...)}, keysVault, team)
		defer f.registry.Close()
		test(f)
	})
}

// open opens an object whose token is a reference that Kong has resolved to value.
func (f *inlineFixture) open(owner, value, reference string, change func(*HCV)) (*Object, func(), error) {
	c := inlineHCV(f.T, change)
	c.Inline.(*HCV).Host, c.Inline.(*HCV).Token = "vault", value
	c.Refs = map[string]string{"token": reference}
	return f.registry.Open(owner, c)
}

func (f *inlineFixture) mustOpen(owner, value, reference string) *Object {
	f.Helper()
	o, release, err := f.open(owner, value, reference, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(release)
	synctest.Wait()
	return o
}

// want checks what the stores of the object were opened with, in order.
func (f *inlineFixture) want(when string, tokens ...string) {
	f.Helper()
	synctest.Wait()
	if diff := cmp.Diff(tokens, f.tokens("vault")); diff != "" {
		f.Error(when, diff)
	}
}

func (f *inlineFixture) rotate(token string) {
	f.store(f.T, "keys").hold("vault-token", `{"value": "`+token+`"}`)
}

func TestAReferenceInAPluginsOwnObjectIsReadAgain(t *testing.T) {
	withKeys(t, nil, func(f *inlineFixture) {
		f.pairs = []credential.Record{alice()}
		o := f.mustOpen("plugin", "hvs.one", inKeys)
		f.want("at once, since Kong's value is an old one", "hvs.one", "hvs.two")
		lookup := func(when string) {
			f.Helper()
			if _, err := o.Lookup(f.Context(), "ac-alice", "right", nil); err != nil {
				f.Error(when, err)
			}
		}
		lookup("at first")

		f.rotate("hvs.three")
		time.Sleep(5 * time.Second)
		f.want("within the ttl", "hvs.one", "hvs.two")
		time.Sleep(6 * time.Second)
		f.want("past the ttl", "hvs.one", "hvs.two", "hvs.three")
		f.store(f.T, "vault:").fail(errors.New("down"))
		lookup("the cache stays")

		f.rotate("hvs.four")
		time.Sleep(55 * time.Second) // past the ttl of the credential
		before := len(f.tokens("vault"))
		f.rotate("hvs.five")
		f.store(f.T, "vault:").fail(errLogin)
		time.Sleep(10 * time.Second)
		lookup("while the store refuses the login")
		synctest.Wait()
		if got := f.tokens("vault"); len(got) != before+1 || got[before] != "hvs.five" {
			f.Errorf("after a refusal: %s", got)
		}

		f.store(f.T, "keys").fail(&secretstore.Failure{Op: "read", Reason: "sealed"})
		time.Sleep(time.Hour)
		if err := o.Usable(); err != nil {
			f.Errorf("while the other vault can't answer: %v", err)
		}
		if strings.Contains(f.log.String(), "hvs.") {
			f.Errorf("log: %s", f.log)
		}
	})
}

// These are instances in Kong's workers, and several plugins with the same settings.
func TestObjectsWithTheSameReferencesRotateTogetherAndKeepTheirCache(t *testing.T) {
	withKeys(t, nil, func(f *inlineFixture) {
		f.pairs = []credential.Record{alice()}
		var objects []*Object
		for _, owner := range []string{"a", "a", "b"} {
			objects = append(objects, f.mustOpen(owner, "hvs.two", inKeys))
		}
		o, release, err := f.open("c", "hvs.two", inKeys, func(c *HCV) { c.TTL = 30 })
		if err != nil {
			f.Fatal(err)
		}
		defer release()
		objects = append(objects, o)
		f.want("at first", "hvs.two")
		for _, o := range objects {
			if _, err := o.Lookup(f.Context(), "ac-alice", "right", nil); err != nil {
				f.Fatal(err)
			}
		}
		f.rotate("hvs.three")
		time.Sleep(11 * time.Second)
		f.want("after the rotation", "hvs.two", "hvs.three")
		f.store(f.T, "vault:").fail(errors.New("down"))
		// Kong starts an instance with the old value, which it has cached.
		objects = append(objects, f.mustOpen("a", "hvs.two", inKeys))
		f.want("after another instance", "hvs.two", "hvs.three")
		for i, o := range objects {
			if _, err := o.Lookup(f.Context(), "ac-alice", "right", nil); err != nil {
				f.Errorf("%d: %v", i, err)
			}
		}
		if n := len(f.registry.stores); n != 1 {
			f.Errorf("%d stores are open", n)
		}
	})
}

// Kong may hand over an empty string while its configuration changes.
func TestABlankFromKongTakesNothingAway(t *testing.T) {
	const elsewhere = "{vault://entity/vault-token/value}"
	for about, tt := range map[string]struct {
		before    func(f *inlineFixture)
		reference string
		want      string // error; empty: none
	}{
		"of what Kong has had":                    {func(f *inlineFixture) { f.mustOpen("another", "hvs.two", inKeys) }, inKeys, ""},
		"of what Kong's vault has had":            {func(f *inlineFixture) { f.ask("https://keys.vault.azure.net", "vault-token") }, inKeys, ""},
		"of what it hasn't":                       {func(*inlineFixture) {}, inKeys, "Kong could not resolve the reference " + inKeys},
		"of another secret":                       {func(f *inlineFixture) { f.mustOpen("another", "hvs.two", inKeys) }, "{vault://keys/other/value}", "Kong could not resolve"},
		"of the same name in another vault":       {func(f *inlineFixture) { f.ask("https://other.vault.azure.net", "vault-token") }, inKeys, "Kong could not resolve"},
		"for the plugin that has it, not defined": {func(f *inlineFixture) { f.mustOpen("plugin", "hvs.two", elsewhere) }, elsewhere, ""},
	} {
		t.Run(about, func(t *testing.T) {
			withKeys(t, nil, func(f *inlineFixture) {
				tt.before(f)
				o, release, err := f.open("plugin", "", tt.reference, nil)
				if err != nil {
					f.Fatal(err)
				}
				defer release()
				if tt.want != "" {
					err := o.Usable()
					if !errors.Is(err, secretstore.ErrConfig) || !strings.Contains(err.Error(), tt.want) || f.tokens("vault") != nil && f.tokens("vault")[0] != "hvs.two" {
						f.Errorf("%v, want %q", err, tt.want)
					}
					return
				}
				f.want("after the blank", "hvs.two")
				if err := o.Usable(); err != nil {
					f.Error(err)
				}
			})
		})
	}
}

// This happens if Kong starts in an outage of the vault: it starts no other instance
// afterwards.
func TestAReferenceThatKongHadNoValueForIsReadOnceItHas(t *testing.T) {
	withKeys(t, nil, func(f *inlineFixture) {
		o := f.mustOpen("plugin", "", inKeys)
		if err := o.Usable(); !errors.Is(err, secretstore.ErrConfig) {
			f.Errorf("before: %v", err)
		}
		f.ask("https://keys.vault.azure.net", "vault-token")
		time.Sleep(kongRotation)
		f.want("after Kong's vault has asked for it", "hvs.two")
		if err := o.Usable(); err != nil {
			f.Error(err)
		}
	})
}

// ask asks for a secret like Kong's vault strategy.
func (f *inlineFixture) ask(uri, name string) {
	f.Helper()
	if _, err := f.registry.Secrets().Ask(f.Context(), azureAsk(name, map[string]any{"vault_uri": uri, "ttl": 300})); err != nil {
		f.Fatal(err)
	}
}

func TestReferencesThatStayAsKongHasThem(t *testing.T) {
	for about, tt := range map[string]struct {
		reference string
		log       string // a line of it; empty: none
		count     int
	}{
		"to the environment":               {"{vault://env/my-token}", "", 0},
		"to an entity of Kong's only":      {"{vault://entity/vault-token/value}", "reference={vault://entity/vault-token/value}", 1},
		"to a vault of another route":      {"{vault://team/vault-token/value}", "may not name", 1},
		"to a secret that isn't there":     {"{vault://keys/none/value}", `unable to retrieve secret \"none\" from the vault keys: there is no such secret`, 1},
		"to what is no JSON object":        {"{vault://keys/vault-token/none}", "subfield none not found", 1},
		"to what Kong itself takes amiss":  {"{vault://keys", "", 0},
		"to a version that can't be named": {"{vault://keys/vault-token/value#7}", "#1 is the current version", 1},
	} {
		t.Run(about, func(t *testing.T) {
			withKeys(t, nil, func(f *inlineFixture) {
				for _, owner := range []string{"a", "a", "b"} {
					if err := f.mustOpen(owner, "hvs.one", tt.reference).Usable(); err != nil {
						f.Error(err)
					}
				}
				time.Sleep(5 * time.Minute)
				f.want("later", "hvs.one")
				if tt.log != "" && f.log.count(tt.log) != tt.count || f.log.count("reason=config")-f.log.count("without TLS") != tt.count {
					f.Errorf("want %d times %q; log: %s", tt.count, tt.log, f.log)
				}
			})
		})
	}
}

func TestAVaultThatIsDefinedLaterIsAsked(t *testing.T) {
	withKeys(t, nil, func(f *inlineFixture) {
		later := "{vault://later/vault-token/value}"
		f.mustOpen("plugin", "hvs.one", later)
		f.want("at first", "hvs.one")
		f.registry.mu.Lock()
		d := f.registry.node.file["keys"]
		d.Name = "later"
		f.registry.node.file["later"] = d
		f.registry.mu.Unlock()
		time.Sleep(2 * time.Minute)
		f.want("later", "hvs.one", "hvs.two")
		f.registry.mu.Lock()
		delete(f.registry.node.file, "later")
		f.registry.mu.Unlock()
		time.Sleep(2 * time.Minute)
		f.want("and no more", "hvs.one", "hvs.two")
		f.mustOpen("plugin", "hvs.three", later)
		f.want("then Kong's counts again", "hvs.one", "hvs.two", "hvs.three")
	})
}

// Unlike logins of the vaults file, these are configured by authors whom the node need not
// trust.
func TestThePolicyForSecretsBindsReferencesInAPluginsOwnObject(t *testing.T) {
	policy := filepath.Join(t.TempDir(), "policy.yml")
	writeFile(t, policy, "secrets: []")
	p, err := ReadSecretPolicy(policy)
	if err != nil {
		t.Fatal(err)
	}
	withKeys(t, nil, func(f *inlineFixture) {
		f.registry.secrets.policy = p
		f.mustOpen("plugin", "hvs.one", inKeys)
		f.want("forbidden", "hvs.one")
		if f.log.count("level=ERROR", "VAULT_AUTH_SECRETS_POLICY", inKeys) != 1 {
			f.Errorf("log: %s", f.log)
		}
	})
}

// An object that is trusted like the node's own may be resolved here before Kong has.
func TestABlankOfATrustedObject(t *testing.T) {
	withKeys(t, []string{"VAULT_AUTH_INLINE", "trusted"}, func(f *inlineFixture) {
		o := f.mustOpen("plugin", "", inKeys)
		f.want("at once", "hvs.two")
		if err := o.Usable(); err != nil {
			f.Error(err)
		}
	})
}
