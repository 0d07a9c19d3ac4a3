package vault

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/secretstore"
)

// byContents compares definitions, but not which of their fields were set explicitly.
var byContents = cmp.Options{
	cmp.AllowUnexported(Definition{}),
	cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".explicit" }, cmp.Ignore()),
}

// parseFile parses a vaults file.
func parseFile(data []byte, kinds kinds, getenv func(string) string) (*vaultsFile, error) {
	f := newVaultsFile(kinds, getenv)
	if err := f.parse(data); err != nil {
		return nil, err
	}
	return f, nil
}

func TestParseFile(t *testing.T) {
	const file = `
_format_version: "3.0"
_transform: true
vaults:
- name: hcv
  prefix: kong-auth
  description: for API clients
  tags: [a, b]
  config:
    host: vault
    port: 443
    token: "{vault://env/my-token}"
    path: ""
    namespace: ""
    kv: ~
    ssl_verify: false
    ttl: 1.5
    max_ttl: "{vault://env/max-ttl}"
- {name: azure, prefix: cloud, config: {vault_uri: https://contoso.vault.azure.net, name_prefix: ""}}
- name: hcv
  prefix: plain
  allowed_services: [0DC6F45B-8f8d-40d2-a504-473544ee190b]
  allowed_routes:
  - 11111111-1111-4111-8111-111111111111
  - 22222222-2222-4222-8222-222222222222
  allowed_workspaces: [33333333-3333-4333-8333-333333333333]
`
	got, err := parseFile([]byte(file), (&fakeStores{}).kinds(), environ("MY_TOKEN", "hvs.two", "MAX_TTL", "90", "VAULT_ADDR", "http://other:8200", "VAULT_TOKEN", "hvs.one"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Definition{
		"kong-auth": {Name: "kong-auth", Node: true, Config: inlineHCV(t, func(c *HCV) {
			c.Host, c.Port, c.Token, c.Path, c.SSLVerify, c.TTL, c.MaxTTL = "vault", 443, "hvs.two", "", false, 1.5, 90
		}).Inline},
		"cloud": {Name: "cloud", Node: true, Config: inlineAzure(t, func(c *Azure) { c.NamePrefix, c.AuthMethod = "", "default" }).Inline},
		"plain": {Name: "plain", Node: true, Config: inlineHCV(t, func(c *HCV) { c.Host = "other" }).Inline, allowed: allowed{
			Services:   []string{"0dc6f45b-8f8d-40d2-a504-473544ee190b"},
			Routes:     []string{"11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"},
			Workspaces: []string{"33333333-3333-4333-8333-333333333333"},
		}},
	}
	if diff := cmp.Diff(want, got.defined, byContents); diff != "" {
		t.Error(diff)
	}
	if got.secrets {
		t.Error("a reference is taken for a secret")
	}
}

func TestFileWithASecretInIt(t *testing.T) {
	for _, field := range []string{"token: hvs.one", "approle_secret_id: s", "cert_auth_cert_key: /etc/key.pem"} {
		f, err := parseFile([]byte("vaults: [{name: hcv, prefix: kong-auth, config: {"+field+"}}]"), (&fakeStores{}).kinds(), environ())
		if err != nil || !f.secrets {
			t.Errorf("%s: %+v, %v", field, f, err)
		}
	}
}

func TestParseFileRefuses(t *testing.T) {
	hcv := func(config string) string {
		return "vaults:\n- name: hcv\n  prefix: kong-auth\n  config:\n    " + config
	}
	tests := []struct{ name, file, want string }{
		{"empty", "", "it is empty"},
		{"only a comment", "# vaults", "it is empty"},
		{"text", "s3cr3t", "line 1: the file must be a mapping"},
		{"not YAML", "a: b: c", "it is not valid YAML: mapping values"},
		{"a value taken for an anchor", hcv("token: *s3cr3t"), "it is not valid YAML: unknown anchor … referenced"},
		{"no vaults", `_format_version: "3.0"`, "a list named vaults"},
		{"vaults no list", "vaults: {}", "a list named vaults"},
		{"another of Kong's entities", "vaults: []\nservices: []", `line 2: the file has no field "services". Its fields are _format_version`},
		{"vault no mapping", "vaults: [hcv]", "line 1: a vault must be a mapping"},
		{"misspelt field", "vaults:\n- name: hcv\n  prefx: kong-auth", `line 3: a vault has no field "prefx". Did you mean prefix?`},
		{"misspelt setting", hcv("hostt: vault"), `line 5: config has no field "hostt". Did you mean host?`},
		{"setting that there is not", hcv("gitlab_role: x"), `line 5: config has no field "gitlab_role". Its fields are protocol, host,`},
		{"field given twice", hcv("host: a\n    host: b"), "line 6: host is given twice"},
		{"other kind", "vaults: [{name: aws, prefix: kong-auth}]", "name must be hcv or azure"},
		{"no prefix", "vaults: [{name: hcv}]", "prefix must be the object's name"},
		{"allowed by name", hcv("host: a\n  allowed_services: [orders]"), `line 6: allowed_services holds "orders", which is not an id such as`},
		{"allowed by another spelling of an id", hcv("host: a\n  allowed_routes: ['{11111111-1111-4111-8111-111111111111}']"), "line 6: allowed_routes holds"},
		{"allowed to an odd value", hcv("host: a\n  allowed_routes: [[]]"), "line 6: allowed_routes holds"},
		{"allowed to nobody", hcv("host: a\n  allowed_workspaces: []"), "line 6: allowed_workspaces must be a list of ids; leave it out to allow all"},
		{"allowed to nothing", hcv("host: a\n  allowed_workspaces:"), "line 6: allowed_workspaces must be a list of ids"},
		{"allowed to one", hcv("host: a\n  allowed_routes: 11111111-1111-4111-8111-111111111111"), "line 6: allowed_routes must be a list of ids"},
		{"allowed in the configuration", hcv("allowed_routes: [11111111-1111-4111-8111-111111111111]"), `config has no field "allowed_routes"`},
		{"prefix", "vaults: [{name: hcv, prefix: Kong_Auth}]", "prefix must be the object's name"},
		{"reserved prefix", "vaults: [{name: hcv, prefix: azure}]", "objects of that name are those of the environment"},
		{"prefix given twice", "vaults: [{name: hcv, prefix: a1}, {name: azure, prefix: a1}]", "prefix a1 is taken"},
		{"config no mapping", "vaults: [{name: hcv, prefix: a1, config: x}]", "config must be a mapping"},
		{"value no scalar", hcv("token: [s3cr3t]"), "line 5: token must be a single value"},
		{"type", hcv("port: s3cr3t"), "config of kong-auth: port: it must be a whole number"},
		{"reference to nothing", hcv("token: '{vault://env/none}'"), "line 5: token: the environment variable NONE is not set"},
		{"reference to a vault", hcv("token: '{vault://hcv/login/token}'"), `token: the reference names the vault "hcv", which neither this file nor the environment defines`},
		{"decK's reference", hcv("token: '${{ env \"DECK_TOKEN\" }}'"), "line 5: token is a reference of decK's"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := parseFile([]byte(tt.file), (&fakeStores{}).kinds(), environ())
			if f != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("parseFile = %v, %v; want an error with %q", f, err, tt.want)
			}
			if strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("a value is in the error: %v", err)
			}
		})
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte("vaults: [{name: hcv, prefix: kong-auth, config: {token: '{vault://env/x}', port: 1}}]"))
	f.Add([]byte("vaults: &a [*a, {name: azure, prefix: a1, config: {vault_uri: &b x, client_id: *b}}]"))
	f.Add([]byte("_format_version: 3\nvaults:\n- <<: {name: hcv}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseFile(b, (&fakeStores{}).kinds(), environ("X", `{"y":"z"}`))
		if err != nil {
			return
		}
		for name, d := range got.defined {
			if d.Name != name || !d.Node || d.Config == nil {
				t.Errorf("%s: %+v", name, d)
			}
			_, _ = secretstore.Check(name, d.Config, secretstore.Origin{Node: true}) // must not panic
		}
	})
}

func FuzzResolve(f *testing.F) {
	f.Add("{vault://env/x/y}")
	f.Add("{vault://}")
	f.Fuzz(func(t *testing.T, reference string) {
		if secretstore.IsReference(reference) {
			_, _ = resolveEnv(reference, environ("X", `{"y":"z"}`)) // must not panic
		}
	})
}

func TestNearest(t *testing.T) {
	names := []string{"host", "port", "path", "token", "token_file"}
	for name, want := range map[string]string{
		"hots": "host", "tokn": "token", "tokenfile": "token_file", "Port": "port", "": "", "zzzzzz": "", "gcp_service_account": "",
	} {
		if got := nearest(name, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", name, got, want)
		}
	}
}
