package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"kong-vault-auth/e2e/program"
)

func portOf(address string) json.Number {
	u, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	return json.Number(u.Port())
}

// TestConfigurationsThatAreWrong: Kong refuses, in its own words, what its schema language can
// express; everything else is answered 500, and the log has the reason.
func TestConfigurationsThatAreWrong(t *testing.T) {
	w := newEnv(t)
	p := w.credential(nil)
	hcv := func(settings object) object { return object{"hcv": w.hcv(settings)} }
	tests := []struct {
		name   string
		config object
		says   []string // the field, and what to change
	}{
		{"wrong type", object{"tokens_in_query": "yes", "hcv": w.hcv(nil)}, []string{"tokens_in_query", "expected a boolean"}},
		{"wrong type, nested", hcv(object{"port": "https"}), []string{"port", "expected an integer"}},
		{"unknown field", object{"tokens_in_cookie": true, "hcv": w.hcv(nil)}, []string{"tokens_in_cookie", "unknown field"}},
		{"unknown field, nested", hcv(object{"hots": "vault"}), []string{"hots", "unknown field"}},
		{"none of vault, hcv and azure", object{"hcv": nil}, []string{"exactly one of these fields must be non-empty", "vault", "hcv", "azure"}},
		{"two of vault, hcv and azure", object{"vault": "hcv", "hcv": w.hcv(nil)}, []string{"exactly one of these fields must be non-empty", "vault", "hcv", "azure"}},
		{"no such version of KV", hcv(object{"kv": "v3"}), []string{"kv", "expected one of: v1, v2"}},
		{"port out of range", hcv(object{"port": 70000}), []string{"port", "between 1 and 65535"}},
		{"characters that a name can't have", object{"access_token_name": "access token", "hcv": w.hcv(nil)}, []string{"access_token_name"}},
		{"name of a header that Kong needs", object{"access_token_name": "Host", "hcv": w.hcv(nil)}, []string{"config.access_token_name", "Host", "choose a header of its own"}},
		{"a header's other spelling", object{"secret_token_name": "Content_Length", "hcv": w.hcv(nil)}, []string{"config.secret_token_name", "Content_Length", "choose a header of its own"}},
		{"an identity header", object{"access_token_name": "X-Authenticated-Groups", "hcv": w.hcv(nil)}, []string{"config.access_token_name", "X-Authenticated-Groups", "choose a header of its own"}},
		{"one name for both", object{"access_token_name": "key", "secret_token_name": "key", "hcv": w.hcv(nil)}, []string{"secret_token_name"}},
		{"empty Vault token", hcv(object{"token": ""}), []string{"token"}},
		{"no Vault token", hcv(object{"token": nil}), []string{"token"}},
		{"file of the node", hcv(object{"token": nil, "token_file": "/etc/passwd"}), []string{"token_file"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := w.in(t)
			w.says(tt.says, w.refusalOf(w.vaultAuth(tt.config), p))
		})
	}
}

// refusalOf is the text with which a plugin's configuration is refused: by Kong, or else by the
// plugin, which then answers every request with 500.
func (w *testEnv) refusalOf(plugin object, p pair) string {
	w.Helper()
	g := w.start(w.guarded("/good", nil))
	err := g.Configure(w.declare(consumers(), route{"/bad", []object{plugin}}))
	if err != nil {
		if a := w.get(g, "/good", p.header()); a.Status != 200 {
			w.Errorf("after the refusal, the good route answers %d %s", a.Status, a.Body)
		}
		return err.Error()
	}
	program.Eventually(w.T, "the new configuration is there", func() bool {
		return w.fetch(http.DefaultClient, g.URL(), http.MethodGet, "/bad", nil, "").Status != 404
	})
	for _, h := range []http.Header{nil, p.header()} {
		if a := w.get(g, "/bad", h); a.Status != 500 || a.Upstream != nil {
			w.Errorf("a wrong configuration that Kong has taken answers %d %s", a.Status, a.Body)
		}
	}
	return g.Log()
}

func (w *testEnv) says(want []string, got string) {
	w.Helper()
	for _, part := range want {
		if !strings.Contains(got, part) {
			w.Errorf("%q is missing in:\n%s", part, got)
		}
	}
}

func TestVaultTokenComesFromKongsEnvironment(t *testing.T) {
	w := newEnv(t)
	p := w.credential(nil)
	config := w.declare(consumers(), w.guarded("/", object{"hcv": w.hcv(object{"token": "{vault://env/e2e-vault-token}"})}))
	g := start(t, config, "E2E_VAULT_TOKEN="+w.token)
	if a := w.get(g, "/", p.header()); a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// TestVaultObjectComesFromTheNodesEnvironment: a plugin server that Kong starts gets only the
// variables of Kong's environment that nginx_main_env names.
func TestVaultObjectComesFromTheNodesEnvironment(t *testing.T) {
	w := newEnv(t)
	p := w.credential(nil)
	config := w.declare(consumers(), w.guarded("/", object{"vault": "hcv"}))
	env := w.node(nil)
	for _, tt := range []struct {
		name string
		by   supervisor
		env  []string
		want int
	}{
		{"its own", apart, env, 200},
		{"passed on", kong, append(slices.Clip(env), passOn(env)), 200},
		{"not passed on", kong, env, 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := w.in(t)
			g := startBy(t, tt.by, config, tt.env...)
			if a := w.get(g, "/", p.header()); a.Status != tt.want {
				t.Errorf("%d %s, want %d", a.Status, a.Body, tt.want)
			}
		})
	}
}
