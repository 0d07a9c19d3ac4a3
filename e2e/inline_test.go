package e2e

import (
	"net/http"
	"testing"

	"kong-vault-auth/azurevault/akvsim"
	simulation "kong-vault-auth/kongtest/gateway"
)

// TestInlineObjectsConnectWhereTheNodeLetsThem: both the host in a plugin's configuration and
// the address that it leads to are checked.
func TestInlineObjectsConnectWhereTheNodeLetsThem(t *testing.T) {
	if genuineKong != "" {
		t.Skip("what a genuine Kong starts here is the plugin itself")
	}
	w := newEnv(t)
	p := w.credential(nil)
	loopback, metadata := [4]byte{127, 0, 0, 1}, [4]byte{169, 254, 169, 254}
	for _, tt := range []struct {
		name, hosts string
		address     [4]byte
		want        int
		says        string
	}{
		{"everywhere", "", loopback, 200, ""},
		{"to a name", "vault.test, 10.0.0.0/8", loopback, 200, ""},
		{"to an address", "127.0.0.0/8", loopback, 200, ""},
		{"not to this name", "*.vault.test", loopback, 500, "host: vault.test is not among VAULT_AUTH_INLINE_HOSTS"},
		{"not to this address", "10.0.0.0/8", loopback, 503, "vault.test leads to 127.0.0.1, which is not among VAULT_AUTH_INLINE_HOSTS"},
		{"not to a metadata service", "", metadata, 503, "vault.test leads to 169.254.169.254, which is link-local"},
		{"not to a metadata service by its name", "vault.test", metadata, 503, "vault.test leads to 169.254.169.254, which is link-local"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := w.in(t)
			hcv := w.hcv(object{"host": "vault.test"})
			env := quickExit + "; env GODEBUG=netdns=go" // as the plugin is without cgo
			if tt.hosts != "" {
				env += "; env VAULT_AUTH_INLINE_HOSTS=" + tt.hosts
			}
			g := &simulated{t: t, Gateway: simulation.Start(t, simulation.Options{
				Config:  w.declare(consumers(), w.guarded("/", object{"hcv": hcv})),
				Plugins: []string{pluginAsking(t, startNameServer(t, tt.address))},
				MainEnv: env,
			})}
			if a := w.get(g, "/", p.header()); a.Status != tt.want {
				t.Errorf("%d %s, want %d", a.Status, a.Body, tt.want)
			}
			w.says([]string{tt.says}, g.Log())
		})
	}
}

// TestInlineObjectsUseTheNodesIdentityIfItLetsThem. All requests go through a proxy, so only the
// proxy knows the addresses.
func TestInlineObjectsUseTheNodesIdentityIfItLetsThem(t *testing.T) {
	a := newAzure(t)
	a.sim.AddApp(akvsim.App{ClientID: machine, SystemAssigned: true, May: akvsim.Get})
	p := a.credential(nil)
	managed := object{"auth_method": "managed_identity"}
	for _, tt := range []struct {
		name     string
		by       definedBy
		settings object
		env      string
		want     int
		says     string
	}{
		{"as it is", thePlugin, managed, "", http.StatusOK, ""},
		{"identities kept", thePlugin, managed, "VAULT_AUTH_INLINE_IDENTITIES=off", http.StatusInternalServerError, "auth_method: managed_identity logs in as an identity of the node"},
		{"identities kept for the node", theNode, managed, "VAULT_AUTH_INLINE_IDENTITIES=off", http.StatusOK, ""},
		{"identities kept, none asked for", thePlugin, byClientSecret(nil), "VAULT_AUTH_INLINE_IDENTITIES=off", http.StatusOK, ""},
		{"key vaults by name", thePlugin, managed, "VAULT_AUTH_INLINE_HOSTS=*.vault.azure.net", http.StatusOK, ""},
		{"key vaults by address", thePlugin, managed, "VAULT_AUTH_INLINE_HOSTS=10.0.0.0/8", http.StatusServiceUnavailable, "its address is known only to the proxy"},
		{"no key vaults", thePlugin, managed, "VAULT_AUTH_INLINE_HOSTS=vault.internal", http.StatusInternalServerError, "vault_uri: contoso.vault.azure.net is not among VAULT_AUTH_INLINE_HOSTS"},
		{"no key vaults but the node's", theNode, managed, "VAULT_AUTH_INLINE_HOSTS=vault.internal", http.StatusOK, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := a.in(t)
			var env []string
			if tt.env != "" {
				env = []string{tt.env}
			}
			g := a.guard(tt.by, tt.settings, env...)
			if answer := a.ask(g, p); answer.Status != tt.want {
				t.Errorf("%d %s, want %d", answer.Status, answer.Body, tt.want)
			}
			a.says([]string{tt.says}, g.Log())
		})
	}
}
