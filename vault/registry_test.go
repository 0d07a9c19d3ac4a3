package vault

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/secretstore"
)

func withToken(token string) func(*HCV) { return func(c *HCV) { c.Token = token } }

func TestStoresAreOpenedWithWhatTheyNeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores := &fakeStores{}
		r := newRegistry(t, stores, &logbook{}, "VAULT_TOKEN", "hvs.node")
		hcv := inlineHCV(t, nil)
		azure := inlineAzure(t, nil)
		mustOpen(t, r, "a", hcv)
		mustOpen(t, r, "b", azure)
		for i, want := range []struct {
			config any
			name   string
		}{
			{hcv.Inline, "hcv at http://127.0.0.1:8200/secret"},
			{azure.Inline, "azure at https://contoso.vault.azure.net"},
		} {
			got := stores.all()[i]
			if diff := cmp.Diff(want.config, got.config); diff != "" {
				t.Error(diff)
			}
			o := got.options
			if o.Name != want.name || o.UserAgent != "kong-vault-auth/test" || o.TrustNode || o.Identity == "" || o.Logger == nil {
				t.Errorf("opened with %+v", o)
			}
		}
	})
}

func TestObjectsOfOneStoreShareItAndItsCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores := &fakeStores{records: someRecords()}
		r := newRegistry(t, stores, &logbook{})
		a, _ := mustOpen(t, r, "a", inlineHCV(t, nil))
		b, _ := mustOpen(t, r, "b", inlineHCV(t, func(c *HCV) {
			c.TTL, c.MaxTTL, c.NegTTL, c.ResurrectTTL, c.MaxLookupsPerSecond = 1, 2, 3, 4, 5
		}))
		wantAccepted(t, a, "ac-alice", "right")
		wantAccepted(t, b, "ac-alice", "right")
		if len(stores.all()) != 1 || stores.all()[0].readCount() != 1 {
			t.Errorf("%d stores, %d reads", len(stores.all()), stores.all()[0].readCount())
		}
		time.Sleep(30 * time.Second) // past the ttl of b, not of a
		wantAccepted(t, a, "ac-alice", "right")
		if n := stores.all()[0].readCount(); n != 1 {
			t.Errorf("%d reads within a's ttl", n)
		}
		wantAccepted(t, b, "ac-alice", "right")
		if n := stores.all()[0].readCount(); n != 2 {
			t.Errorf("%d reads after b's ttl, want 2", n)
		}
	})
}

// The author of a plugin's configuration must not get at what another login has cached.
func TestObjectsThatMustNotShareAnything(t *testing.T) {
	tests := map[string]Config{
		"another token":     inlineHCV(t, withToken("hvs.two")),
		"another namespace": inlineHCV(t, func(c *HCV) { c.Namespace = "team" }),
		"another mount":     inlineHCV(t, func(c *HCV) { c.Mount = "kv" }),
		"another path":      inlineHCV(t, func(c *HCV) { c.Path = "other" }),
		"another kv":        inlineHCV(t, func(c *HCV) { c.KV = "v2" }),
		"another host":      inlineHCV(t, func(c *HCV) { c.Host = "::1" }),
		"another port":      inlineHCV(t, func(c *HCV) { c.Port = 8201 }),
		"another protocol":  inlineHCV(t, func(c *HCV) { c.Protocol = "https" }),
		"no verification":   inlineHCV(t, func(c *HCV) { c.SSLVerify = false }),
		"another decoding":  inlineHCV(t, func(c *HCV) { c.Base64Decode = true }),
		"another login": inlineHCV(t, func(c *HCV) {
			c.AuthMethod, c.AppRoleRoleID, c.AppRoleSecretID = "approle", "role", "secret"
		}),
		"azure": inlineAzure(t, nil),
	}
	for name, config := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stores := &fakeStores{records: someRecords()}
				r := newRegistry(t, stores, &logbook{})
				a, _ := mustOpen(t, r, "a", inlineHCV(t, nil))
				b, _ := mustOpen(t, r, "b", config)
				wantAccepted(t, a, "ac-alice", "right")
				stores.all()[1].fail(errors.New("down"))
				if _, err := b.Lookup(t.Context(), "ac-alice", "right", nil); err == nil {
					t.Error("answered from the cache of another login")
				}
			})
		})
	}
}

// A rotated token reaches the plugin as a new configuration. One worker after the other
// starts an instance of it, and the old instances are closed later.
func TestEditingTheTokenKeepsTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores := &fakeStores{records: someRecords()}
		r := newRegistry(t, stores, &logbook{})
		old1, release1 := mustOpen(t, r, "plugin", inlineHCV(t, nil))
		_, release2 := mustOpen(t, r, "plugin", inlineHCV(t, nil))
		wantAccepted(t, old1, "ac-alice", "right")

		new1, _ := mustOpen(t, r, "plugin", inlineHCV(t, withToken("hvs.two")))
		new2, _ := mustOpen(t, r, "plugin", inlineHCV(t, withToken("hvs.two")))
		release1()
		release2()
		synctest.Wait()
		if len(stores.all()) != 2 {
			t.Fatalf("%d stores opened, want 2", len(stores.all()))
		}
		first, second := stores.all()[0], stores.all()[1]
		if !first.isClosed() || second.isClosed() {
			t.Error("not the first store was closed")
		}
		second.fail(errors.New("down"))
		for _, o := range []*Object{old1, new1, new2} {
			wantAccepted(t, o, "ac-alice", "right")
		}
		second.fail(nil)
		time.Sleep(6 * time.Second)
		wantAccepted(t, new1, "ac-bob", "right")
		if first.readCount() != 1 || second.readCount() == 0 {
			t.Error("the new token is not used")
		}
	})
}

func TestEditingTheTokenAfterEverybodyLeftKeepsTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores := &fakeStores{records: someRecords()}
		r := newRegistry(t, stores, &logbook{})
		o, release := mustOpen(t, r, "plugin", inlineHCV(t, nil))
		wantAccepted(t, o, "ac-alice", "right")
		release()
		o, _ = mustOpen(t, r, "plugin", inlineHCV(t, withToken("hvs.two")))
		stores.all()[1].fail(errors.New("down"))
		wantAccepted(t, o, "ac-alice", "right")
	})
}

func TestNobodyElseInheritsACache(t *testing.T) {
	tests := map[string]struct {
		owners []string // that have the object open
		leave  bool
		next   string // the owner that opens it with another token
	}{
		"another plugin":                    {[]string{"a"}, false, "b"},
		"another plugin, later":             {[]string{"a"}, true, "b"},
		"one of two plugins":                {[]string{"a", "b"}, false, "a"},
		"a plugin without an id":            {[]string{""}, false, ""},
		"a plugin that was the last to use": {[]string{"a", "b"}, true, "a"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stores := &fakeStores{records: someRecords()}
				r := newRegistry(t, stores, &logbook{})
				for _, owner := range tt.owners {
					o, release := mustOpen(t, r, owner, inlineHCV(t, nil))
					wantAccepted(t, o, "ac-alice", "right")
					if tt.leave {
						defer release()
						release()
					}
				}
				o, _ := mustOpen(t, r, tt.next, inlineHCV(t, withToken("hvs.two")))
				stores.all()[1].fail(errors.New("down"))
				if _, err := o.Lookup(t.Context(), "ac-alice", "right", nil); err == nil {
					t.Error("answered from a cache that another token filled")
				}
			})
		})
	}
}

func TestReadsInTheAirOutliveTheirStoreBeingReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores := &fakeStores{records: someRecords()}
		r := newRegistry(t, stores, &logbook{})
		o, _ := mustOpen(t, r, "plugin", inlineHCV(t, nil))
		first := stores.all()[0]
		first.held = make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { wantAccepted(t, o, "ac-alice", "right") })
		synctest.Wait()
		mustOpen(t, r, "plugin", inlineHCV(t, withToken("hvs.two")))
		synctest.Wait()
		if first.isClosed() {
			t.Error("the store was closed under a read")
		}
		wantAccepted(t, o, "ac-bob", "right") // does not wait for the old store
		close(first.held)
		wg.Wait()
		synctest.Wait()
		if !first.isClosed() {
			t.Error("the store was not closed after its last read")
		}
	})
}

func TestStoreThatCannotBeOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores := &fakeStores{records: someRecords()}
		r := newRegistry(t, stores, &logbook{})
		o, _ := mustOpen(t, r, "plugin", inlineHCV(t, nil))
		stores.err = fmt.Errorf("%w: ca_cert holds no certificate", secretstore.ErrConfig)
		if _, _, err := r.Open("plugin", inlineHCV(t, withToken("hvs.two"))); !errors.Is(err, secretstore.ErrConfig) {
			t.Errorf("Open = %v", err)
		}
		wantAccepted(t, o, "ac-alice", "right") // the previous object still works
	})
}

func TestUnusedStoreIsKeptAWhile(t *testing.T) {
	tests := map[string]struct {
		change func(*HCV)
		want   time.Duration
	}{
		"ten minutes at least":   {func(c *HCV) { c.TTL, c.ResurrectTTL = 1, 1 }, 10 * time.Minute},
		"ttl and resurrect_ttl":  {func(c *HCV) { c.ResurrectTTL = 1200 }, 21 * time.Minute},
		"max_ttl in place of 0":  {func(c *HCV) { c.TTL, c.MaxTTL, c.ResurrectTTL = 0, 1800, 1200 }, 50 * time.Minute},
		"the longest of objects": {func(c *HCV) { c.ResurrectTTL = 1800 }, 31 * time.Minute},
		"within an hour":         {nil, 55 * time.Minute},
		"whatever the ttls are":  {func(c *HCV) { c.TTL, c.MaxTTL, c.ResurrectTTL = 1e8, 1e8, 1e8 }, 55 * time.Minute},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stores := &fakeStores{}
				r := newRegistry(t, stores, &logbook{})
				_, release1 := mustOpen(t, r, "a", inlineHCV(t, tt.change))
				_, release2 := mustOpen(t, r, "b", inlineHCV(t, func(c *HCV) { c.TTL, c.ResurrectTTL = 1, 1 }))
				release1()
				time.Sleep(15 * time.Minute)
				release2()
				release2() // does nothing
				store := stores.all()[0]
				time.Sleep(tt.want - time.Second)
				if store.isClosed() {
					t.Fatal("closed too early")
				}
				time.Sleep(2 * time.Second)
				if !store.isClosed() {
					t.Fatal("not closed")
				}
				mustOpen(t, r, "a", inlineHCV(t, tt.change))
				if len(stores.all()) != 2 {
					t.Error("not opened again")
				}
			})
		})
	}
}

func TestStoreThatIsUsedAgainStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores := &fakeStores{records: someRecords()}
		r := newRegistry(t, stores, &logbook{})
		_, release := mustOpen(t, r, "a", inlineHCV(t, nil))
		release()
		time.Sleep(50 * time.Minute)
		_, release = mustOpen(t, r, "a", inlineHCV(t, nil))
		release()
		time.Sleep(50 * time.Minute) // the first timer has fired
		o, _ := mustOpen(t, r, "a", inlineHCV(t, nil))
		time.Sleep(2 * time.Hour)
		wantAccepted(t, o, "ac-alice", "right")
		if len(stores.all()) != 1 {
			t.Errorf("%d stores", len(stores.all()))
		}
	})
}

func TestClosedRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores := &fakeStores{records: someRecords()}
		r := newRegistry(t, stores, &logbook{})
		o, release := mustOpen(t, r, "a", inlineHCV(t, nil))
		_, releaseNamed := mustOpen(t, r, "b", Config{Vault: "hcv"})
		r.Close()
		r.Close()
		if !stores.all()[0].isClosed() {
			t.Error("the store is open")
		}
		if _, err := o.Lookup(t.Context(), "ac-alice", "right", nil); err == nil {
			t.Error("a closed store answered")
		}
		if _, _, err := r.Open("a", inlineHCV(t, nil)); err == nil {
			t.Error("a closed registry opens")
		}
		release()
		releaseNamed()
	})
}

func TestInlineObjects(t *testing.T) {
	file := func(c *HCV) { c.Token, c.TokenFile = "", "/run/token" }
	tests := []struct {
		name   string
		inline string // VAULT_AUTH_INLINE
		config Config
		want   string // part of the error; empty: it opens
	}{
		{"literals by default", "", inlineHCV(t, nil), ""},
		{"literals", "literals", inlineHCV(t, nil), ""},
		{"a file", "literals", inlineHCV(t, file), "token_file: it names a file, and a plugin's configuration may not use what belongs to the node. Define the vault object in VAULT_AUTH_VAULTS_FILE"},
		{"a file, trusted", "trusted", inlineHCV(t, file), ""},
		{"the node's token", "", inlineHCV(t, withToken("")), "token: it is empty"},
		{"the node's token, trusted", "trusted", inlineHCV(t, withToken("")), ""},
		{"off", "off", inlineHCV(t, nil), "VAULT_AUTH_INLINE=off"},
		{"azure off", "off", inlineAzure(t, nil), "VAULT_AUTH_INLINE=off"},
		{"a named object although off", "off", Config{Vault: "hcv"}, ""},
		{"nonsense fails closed", "yes", inlineHCV(t, nil), "VAULT_AUTH_INLINE must be literals, trusted or off"},
		{"nothing", "", Config{}, "exactly one"},
		{"inline and by name", "", Config{Vault: "hcv", Inline: inlineHCV(t, nil).Inline}, "exactly one"},
		{"invalid", "", inlineHCV(t, func(c *HCV) { c.Host = "https://vault:8200" }), "host: it is a URL"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRegistry(t, &fakeStores{}, &logbook{}, "VAULT_AUTH_INLINE", tt.inline, "VAULT_TOKEN", "hvs.node")
				_, _, err := r.Open("plugin", tt.config)
				switch {
				case tt.want == "" && err != nil:
					t.Errorf("Open = %v", err)
				case tt.want != "" && (!errors.Is(err, secretstore.ErrConfig) || !strings.Contains(err.Error(), tt.want)):
					t.Errorf("Open = %v, want an ErrConfig with %q", err, tt.want)
				}
			})
		})
	}
}

// The node's limits for inline objects, trusted or not, don't apply to its own.
func TestInlineObjectsKeepToWhatTheNodePermits(t *testing.T) {
	const corrected = ", and until that is corrected, vault objects inside a plugin's configuration (config.hcv, config.azure) are switched off"
	hcv := func(host string) Config { return inlineHCV(t, func(c *HCV) { c.Host = host }) }
	azure := func(method string) Config {
		return inlineAzure(t, func(c *Azure) {
			c.AuthMethod, c.TenantID, c.ClientID, c.ClientSecret = method, "contoso.com", "ab", "s"
			if method == "client_certificate" {
				c.ClientCertificate = "/run/cert.pem"
			}
		})
	}
	const ofTheNode = " logs in as an identity of the node"
	tests := []struct {
		name   string
		env    []string
		config Config
		want   string // part of the error; empty: it opens
	}{
		{"host that is listed", []string{"VAULT_AUTH_INLINE_HOSTS", "*.example.com"}, hcv("vault.example.com"), ""},
		{"host that isn't", []string{"VAULT_AUTH_INLINE_HOSTS", "*.example.com"}, hcv("evil.test"), "host: evil.test is not among VAULT_AUTH_INLINE_HOSTS"},
		{"host that isn't, trusted", []string{"VAULT_AUTH_INLINE_HOSTS", "*.example.com", "VAULT_AUTH_INLINE", "trusted"}, hcv("evil.test"), "host: evil.test is not among"},
		{"address that isn't", []string{"VAULT_AUTH_INLINE_HOSTS", "10.0.0.0/8"}, hcv("[::1]"), "host: ::1 is not among"},
		{"name that may have an address that is", []string{"VAULT_AUTH_INLINE_HOSTS", "10.0.0.0/8"}, hcv("vault.test"), ""},
		{"key vault that is listed", []string{"VAULT_AUTH_INLINE_HOSTS", "contoso.vault.azure.net"}, azure("client_secret"), ""},
		{"key vault that isn't", []string{"VAULT_AUTH_INLINE_HOSTS", "*.example.com"}, azure("client_secret"), "vault_uri: contoso.vault.azure.net is not among"},
		{"socket, trusted", []string{"VAULT_AUTH_INLINE_HOSTS", "*.example.com", "VAULT_AUTH_INLINE", "trusted"}, inlineHCV(t, func(c *HCV) { c.UnixSocket = "/run/agent.sock" }), ""},
		{"hosts that can't be read", []string{"VAULT_AUTH_INLINE_HOSTS", "10.0.0.0/99"}, hcv("10.0.0.1"), `VAULT_AUTH_INLINE_HOSTS: "10.0.0.0/99" is not a host name`},
		{"hosts that can't be read are no licence", []string{"VAULT_AUTH_INLINE_HOSTS", "vault:8200"}, hcv("vault"), corrected},
		{"object of the node", []string{"VAULT_AUTH_INLINE_HOSTS", "*.example.com", "KONG_VAULT_HCV_TOKEN", "hvs.node"}, Config{Vault: "hcv"}, ""},

		{"identities by default", nil, azure("managed_identity"), ""},
		{"identities on", []string{"VAULT_AUTH_INLINE_IDENTITIES", "on"}, azure("workload_identity"), ""},
		{"managed identity", []string{"VAULT_AUTH_INLINE_IDENTITIES", "off"}, azure("managed_identity"), "auth_method: managed_identity" + ofTheNode},
		{"workload identity", []string{"VAULT_AUTH_INLINE_IDENTITIES", "off"}, azure("workload_identity"), "auth_method: workload_identity" + ofTheNode},
		{"default chain", []string{"VAULT_AUTH_INLINE_IDENTITIES", "off"}, azure("default"), "auth_method: default" + ofTheNode},
		{"managed identity, trusted", []string{"VAULT_AUTH_INLINE_IDENTITIES", "off", "VAULT_AUTH_INLINE", "trusted"}, azure("managed_identity"), "auth_method: managed_identity" + ofTheNode},
		{"default chain, trusted", []string{"VAULT_AUTH_INLINE_IDENTITIES", "off", "VAULT_AUTH_INLINE", "trusted"}, azure("default"), "auth_method: default" + ofTheNode},
		{"client secret", []string{"VAULT_AUTH_INLINE_IDENTITIES", "off"}, azure("client_secret"), ""},
		{"client certificate", []string{"VAULT_AUTH_INLINE_IDENTITIES", "off", "VAULT_AUTH_INLINE", "trusted"}, azure("client_certificate"), ""},
		{"identities, neither on nor off", []string{"VAULT_AUTH_INLINE_IDENTITIES", "no"}, hcv("vault"), "VAULT_AUTH_INLINE_IDENTITIES must be on or off" + corrected},

		{"link-local", nil, hcv("169.254.169.254"), "host: 169.254.169.254 is link-local"},
		{"metadata service", []string{"VAULT_AUTH_INLINE", "trusted"}, hcv("metadata.google.internal"), "host: metadata.google.internal is link-local or a cloud's"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, _, err := newRegistry(t, &fakeStores{}, &logbook{}, tt.env...).Open("plugin", tt.config)
				switch {
				case tt.want == "" && err != nil:
					t.Errorf("Open = %v", err)
				case tt.want != "" && (!errors.Is(err, secretstore.ErrConfig) || !strings.Contains(err.Error(), tt.want)):
					t.Errorf("Open = %v, want an ErrConfig with %q", err, tt.want)
				}
			})
		})
	}
}

// A store that may connect everywhere is not shared with an object that may not, though
// their settings are equal.
func TestStoresOfInlineObjectsMayConnectWhereTheNodePermits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores := &fakeStores{}
		r := newRegistry(t, stores, &logbook{}, "VAULT_AUTH_INLINE_HOSTS", "127.0.0.0/8", "VAULT_AUTH_INLINE", "trusted", "KONG_VAULT_HCV_TOKEN", "hvs.one")
		mustOpen(t, r, "a", Config{Vault: "hcv"})
		mustOpen(t, r, "b", inlineHCV(t, nil))
		if n := len(stores.all()); n != 2 {
			t.Fatalf("%d stores", n)
		}
		of := func(i int) error { return stores.all()[i].options.Reach.Host("10.0.0.1") }
		if of(0) != nil || of(1) == nil {
			t.Errorf("10.0.0.1: %v for the node's object, %v for the inline one", of(0), of(1))
		}
	})
}

func TestTrustedInlineObjectGetsTheNodesTokenWithoutChangingTheConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores := &fakeStores{}
		r := newRegistry(t, stores, &logbook{}, "VAULT_AUTH_INLINE", "trusted", "VAULT_TOKEN", "hvs.node")
		c := inlineHCV(t, withToken(""))
		mustOpen(t, r, "plugin", c)
		s := stores.all()[0]
		if got := s.config.(*HCV).Token; got != "hvs.node" || !s.options.TrustNode || c.Inline.(*HCV).Token != "" {
			t.Errorf("token %q, trusted %v, configured %q", got, s.options.TrustNode, c.Inline.(*HCV).Token)
		}
	})
}

func TestWarningsAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logbook{}
		r := newRegistry(t, &fakeStores{}, log)
		mustOpen(t, r, "plugin", inlineAzure(t, func(c *Azure) { c.Location = "westeurope" }))
		if log.count("level=WARN", "location", "not used", "vault=\"azure at https://contoso.vault.azure.net\"") != 1 {
			t.Errorf("log: %s", log)
		}
	})
}

func TestRegistryIsSafeForConcurrentUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry(t, &fakeStores{records: someRecords()}, &logbook{}, "KONG_VAULT_HCV_TOKEN", "hvs.node")
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range 50 {
					c := Config{Vault: "hcv"}
					if j%2 == 0 {
						c = inlineHCV(t, withToken(fmt.Sprint("hvs.", i%2+j%3)))
					}
					o, release := mustOpen(t, r, fmt.Sprint("plugin", i%2), c)
					wantAccepted(t, o, "ac-alice", "right")
					release()
				}
			})
		}
		wg.Wait()
	})
}

func TestMaxCredentialsBoundsEachStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 10
		stores := &fakeStores{}
		r := NewRegistry(stores.kinds(), Options{Getenv: environ(), MaxCredentials: most})
		defer r.Close()
		o, _ := mustOpen(t, r, "plugin", inlineHCV(t, nil))
		cs := o.bound.Load().store
		for i := range 10 * most {
			record := alice()
			record.AccessToken = fmt.Sprintf("ac-%d", i)
			stores.all()[0].put(record)
			wantAccepted(t, o, record.AccessToken, "right")
		}
		time.Sleep(time.Second) // eviction happens in the background
		synctest.Wait()
		if n := cs.cache.Stats().Entries; n == 0 || n > 2*most {
			t.Errorf("%d credentials are cached, at most %d may be", n, most)
		}
	})
}
