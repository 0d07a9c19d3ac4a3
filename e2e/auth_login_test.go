package e2e

import (
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"kong-vault-auth/certificatetest"
	"kong-vault-auth/e2e/program"
	"kong-vault-auth/unixsocket/sockettest"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/vault/api"
)

// TestVaultIsReadAfterEachLogin: there is one login, a read by a policy that allows nothing
// else, and at the end the token is revoked. A token that was configured stays valid, since
// the rows share it.
func TestVaultIsReadAfterEachLogin(t *testing.T) {
	a := newAuthEnv(t)
	p := a.credential(nil)
	roles, appRole := a.appRole(nil)
	withAppRole := func(more object) object {
		all := maps.Clone(appRole)
		maps.Copy(all, more)
		return all
	}
	clusters, kubernetes := a.kubernetes()
	issuer, jwt := a.jwt()
	certs, cert := a.cert(certificatetest.NewCA())
	certInline := maps.Clone(cert)
	for _, field := range []string{"ca_cert", "cert_auth_cert", "cert_auth_cert_key"} {
		pem, err := os.ReadFile(cert[field].(string))
		a.must(err)
		certInline[field] = string(pem)
	}

	tests := []struct {
		name     string
		inline   bool   // in the plugin's configuration, else the node's file
		settings object // of the vault object
		mount    string // where it logs in; empty: it has a token
		kept     int    // tokens that stay valid
	}{
		{"token, inline", true, nil, "", 0},
		{"token", false, nil, "", 0},
		{"token by reference", false, object{"token": "{vault://env/e2e-vault-token}"}, "", 0},
		{"token file", false, object{"token_file": a.file("token", a.token+"\n")}, "", 0},
		{"Vault Agent's socket", false, object{"unix_socket": a.agent()}, "", 0},
		{"approle, inline", true, withAppRole(object{"approle_secret_id": a.secretID(roles)}), roles, 0},
		{"approle", false, withAppRole(object{"approle_secret_id": a.secretID(roles)}), roles, 0},
		{"approle, secret id in a file", false, withAppRole(object{"approle_secret_id_file": a.file("secret-id", a.secretID(roles)+"\n")}), roles, 0},
		{"approle, wrapped secret id", false, withAppRole(object{
			"approle_secret_id": a.wrappedSecretID(roles), "approle_response_wrapping": true, "token_sink_file": filepath.Join(a.dir, "sink"),
		}), roles, 1},
		{"kubernetes", false, kubernetes, clusters, 0},
		{"cert, inline", true, certInline, certs, 0},
		{"cert", false, cert, certs, 0},
		{"jwt", false, jwt, issuer, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := a.in(t)
			before, reads := a.logins(tt.mount), a.reads(p.access)
			var g gateway
			if tt.inline {
				g = a.gateway(object{"hcv": a.settings(tt.settings)})
			} else {
				g = a.node(tt.settings, "E2E_VAULT_TOKEN="+a.token)
			}
			got := a.ask(g, p)
			if diff := cmp.Diff(alice, told(got.Upstream)); diff != "" {
				t.Fatalf("%d %s, identity (-want +got):\n%s", got.Status, got.Body, diff)
			}
			if n := a.reads(p.access) - reads; n != 1 {
				t.Errorf("%d reads", n)
			}
			if n := a.logins(tt.mount) - before; tt.mount != "" && n != 1 {
				t.Errorf("%d logins", n)
			}
		})
		if tt.mount != "" {
			program.Eventually(t, tt.name+": the token is revoked", func() bool { return a.granted(tt.mount) == tt.kept })
			a.must(a.vault.RevokeGranted(t.Context(), tt.mount))
		}
	}
}

// agent stands in for a Vault Agent, at a socket: it adds a token, and demands the header that
// keeps browsers from being tricked into asking it.
func (a *authEnv) agent() (socket string) {
	a.Helper()
	target, err := url.Parse(a.vault.Addr)
	a.must(err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Header.Set(api.AuthHeaderName, a.token)
	}}
	socket = filepath.Join(sockettest.Dir(a.T), "agent.sock")
	listener, err := net.Listen("unix", socket)
	a.must(err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(api.RequestHeaderName) != "true" {
			http.Error(w, "missing "+api.RequestHeaderName, http.StatusPreconditionFailed)
			return
		}
		proxy.ServeHTTP(w, r)
	})}
	go server.Serve(listener)
	a.Cleanup(func() { server.Close() })
	return socket
}

// TestVaultsOwnVariablesAreBelowKongs: VAULT_* is used where the node's object says nothing,
// and never for an object that isn't the node's.
func TestVaultsOwnVariablesAreBelowKongs(t *testing.T) {
	a := newAuthEnv(t)
	p := a.credential(nil)
	port, path := portOf(a.vault.Addr).String(), "KONG_VAULT_HCV_PATH="+a.kv.Path
	inline := a.settings(object{"token": nil})
	tests := []struct {
		name   string
		config object
		env    []string
		want   int
	}{
		{"VAULT_* say all but the path", object{"vault": "hcv"}, []string{path, "VAULT_ADDR=" + a.vault.Addr, "VAULT_TOKEN=" + a.token}, 200},
		{
			"over TLS", object{"vault": "hcv"},
			[]string{path, "VAULT_ADDR=" + a.vault.TLSAddr, "VAULT_TOKEN=" + a.token, "VAULT_CACERT=" + a.file("ca.pem", string(a.vault.CA))}, 200,
		},
		{
			"KONG_VAULT_HCV_* say otherwise", object{"vault": "hcv"},
			[]string{
				path, "VAULT_ADDR=http://127.0.0.1:1", "VAULT_TOKEN=of-another-vault",
				"KONG_VAULT_HCV_HOST=127.0.0.1", "KONG_VAULT_HCV_PORT=" + port, "KONG_VAULT_HCV_TOKEN=" + a.token,
			}, 200,
		},
		{
			"KONG_VAULT_HCV_* say the address", object{"vault": "hcv"},
			[]string{path, "VAULT_ADDR=http://127.0.0.1:1", "VAULT_TOKEN=" + a.token, "KONG_VAULT_HCV_PORT=" + port}, 200,
		},
		{"object inside the plugin's configuration", object{"hcv": inline}, []string{"VAULT_TOKEN=" + a.token}, 500},
		{
			"which the node trusts", object{"hcv": inline},
			[]string{"VAULT_TOKEN=" + a.token, "VAULT_AUTH_INLINE=trusted"}, 200,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := a.in(t)
			if got := a.ask(a.gateway(tt.config, tt.env...), p); got.Status != tt.want {
				t.Errorf("%d %s, want %d", got.Status, got.Body, tt.want)
			}
		})
	}
}
