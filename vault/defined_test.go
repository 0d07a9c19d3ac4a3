package vault

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/azurevault"
	"kong-vault-auth/hashivault"
	"kong-vault-auth/secretstore"
)

// defined reads the objects of a vaults file, a file of logins and an environment,
// whose HOME is a folder of the test. An empty text means that there is no such file.
func defined(t *testing.T, vaults, logins string, env map[string]string) (*Defined, error) {
	t.Helper()
	home := t.TempDir()
	all := map[string]string{"HOME": home}
	for variable, contents := range map[string]string{"VAULT_AUTH_VAULTS_FILE": vaults, "VAULT_AUTH_WRITE_FILE": logins} {
		if contents == "" {
			continue
		}
		all[variable] = filepath.Join(home, variable)
		if err := os.WriteFile(all[variable], []byte(contents), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range env {
		all[name] = value
	}
	return NewDefined([]secretstore.Kind{hashivault.Kind, azurevault.Kind}, Options{Getenv: func(name string) string { return all[name] }})
}

const oneVault = `
vaults:
- name: hcv
  prefix: kong-auth
  config:
    host: vault.internal
    protocol: https
    mount: kv
    path: creds
    kv: v2
    auth_method: approle
    approle_role_id: plugins-role
    approle_secret_id: "{vault://env/PLUGINS_SECRET_ID}"
`

const anAzureVault = `
vaults:
- name: azure
  prefix: kong-auth
  config: {vault_uri: https://contoso.vault.azure.net, auth_method: client_secret, tenant_id: t, client_id: plugins, client_secret: plugins-secret}
`

func TestWhichObjectIsMeant(t *testing.T) {
	twoVaults := oneVault + "- {name: azure, prefix: other, config: {vault_uri: https://contoso.vault.azure.net, auth_method: managed_identity}}\n"
	for name, tt := range map[string]struct {
		vaults  string
		env     map[string]string
		asked   string
		want    string // the object's name
		problem string
	}{
		"the only one":                     {oneVault, nil, "", "kong-auth", ""},
		"the only one of the file":         {oneVault, map[string]string{"VAULT_ADDR": "http://127.0.0.1:8200"}, "", "kong-auth", ""},
		"of the environment beside a file": {oneVault, map[string]string{"VAULT_ADDR": "http://127.0.0.1:8200"}, "hcv", "hcv", ""},
		"the only one of the environment":  {"", map[string]string{"VAULT_ADDR": "http://127.0.0.1:8200"}, "", "hcv", ""},
		"one of two":                       {twoVaults, nil, "other", "other", ""},
		"none of two":                      {twoVaults, nil, "", "", "name a vault object with --vault, or as the argument of vault check; this environment defines kong-auth, other"},
		"an unknown one":                   {oneVault, nil, "kong", "", `there is no vault object "kong"; this environment defines kong-auth`},
		"none at all":                      {"", nil, "", "", "name a file of vault objects in VAULT_AUTH_VAULTS_FILE, or set KONG_VAULT_HCV_… or KONG_VAULT_AZURE_… variables, as for the plugin server (an object inside a plugin's configuration is known to Kong only)"},
		"a faulty variable":                {"", map[string]string{"KONG_VAULT_HCV_PORT": "many"}, "hcv", "", "port: it must be a whole number"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := defined(t, tt.vaults, "", tt.env)
			if err != nil {
				t.Fatal(err)
			}
			o, err := d.Object(tt.asked)
			switch {
			case tt.problem == "" && (err != nil || o.Name != tt.want):
				t.Errorf("%q, %v", o.Name, err)
			case tt.problem != "" && (err == nil || !strings.Contains(err.Error(), tt.problem)):
				t.Errorf("it says %v", err)
			}
		})
	}
}

// Writers log in to the same place as the plugin, but never with its login.
func TestWritersLogin(t *testing.T) {
	type login struct{ Method, Token, TokenFile, Role, Secret, Client string }
	for name, tt := range map[string]struct {
		vaults, logins, tokenFile string
		env                       map[string]string
		want                      login
		problem                   string
	}{
		"the operator's token": {vaults: oneVault, env: map[string]string{"VAULT_TOKEN": "mine"}, want: login{Method: "token", Token: "mine"}},
		"a file":               {vaults: oneVault, tokenFile: "/t", env: map[string]string{"VAULT_TOKEN": "mine"}, want: login{Method: "token", TokenFile: "/t"}},
		"none":                 {vaults: oneVault, problem: "you have no Vault token: run vault login"},
		"a login of its own": {
			vaults: oneVault, env: map[string]string{"VAULT_TOKEN": "mine", "WRITERS_SECRET_ID": "s"},
			logins: "vaults: [{name: hcv, prefix: kong-auth, config: {auth_method: approle, approle_role_id: writers, approle_secret_id: '{vault://env/WRITERS_SECRET_ID}'}}]",
			want:   login{Method: "approle", Role: "writers", Secret: "s"},
		},
		"a login of another object's": {
			vaults: oneVault, env: map[string]string{"VAULT_TOKEN": "mine"},
			logins: "vaults: [{name: hcv, prefix: other, config: {token: theirs}}]",
			want:   login{Method: "token", Token: "mine"},
		},
		"Azure's default":           {vaults: anAzureVault, want: login{Method: "default"}},
		"Azure's service principal": {vaults: anAzureVault, env: map[string]string{"AZURE_TENANT_ID": "t2", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "s"}, want: login{Method: "default", Client: "c", Secret: "s"}},
		"a login of Azure's": {
			vaults: anAzureVault, env: map[string]string{"AZURE_CLIENT_SECRET": "mine"},
			logins: "vaults: [{name: azure, prefix: kong-auth, config: {auth_method: managed_identity, client_id: writers}}]",
			want:   login{Method: "managed_identity", Client: "writers"},
		},
		"a token file for Azure": {vaults: anAzureVault, tokenFile: "/t", problem: "--token-file is for HashiCorp Vault"},
		"another place": {
			vaults: oneVault, logins: "vaults: [{name: hcv, prefix: kong-auth, config: {token: t, host: evil.example.com}}]",
			problem: `the config of a login has no field "host"`,
		},
		"another kind":     {vaults: oneVault, logins: "vaults: [{name: azure, prefix: kong-auth, config: {auth_method: default}}]", problem: "its name is azure there, and hcv where it is defined"},
		"twice":            {vaults: oneVault, logins: "vaults: [{name: hcv, prefix: a, config: {token: t}}, {name: hcv, prefix: a, config: {token: u}}]", problem: "prefix a is given twice"},
		"without config":   {vaults: oneVault, logins: "vaults: [{name: hcv, prefix: kong-auth}]", problem: "a login has no config"},
		"not YAML":         {vaults: oneVault, logins: "vaults: [", problem: "it is not valid YAML"},
		"a dead reference": {vaults: oneVault, logins: "vaults: [{name: hcv, prefix: kong-auth, config: {token: '{vault://env/NOWHERE}'}}]", problem: "the environment variable NOWHERE is not set"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := defined(t, tt.vaults, tt.logins, tt.env)
			if err != nil {
				t.Fatal(err)
			}
			o, err := d.Object("kong-auth")
			if err != nil {
				t.Fatal(err)
			}
			kind, _ := d.kinds.named(o.Config.Kind())
			c, err := d.forWriting(o, kind, tt.tokenFile)
			if tt.problem != "" {
				if err == nil || !strings.Contains(err.Error(), tt.problem) || strings.Contains(err.Error(), "plugins-secret") {
					t.Errorf("it says %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got login
			switch c := c.(type) {
			case *hashivault.Config:
				got = login{Method: c.AuthMethod, Token: c.Token, TokenFile: c.TokenFile, Role: c.AppRoleRoleID, Secret: c.AppRoleSecretID}
				if c.Host != "vault.internal" || c.Mount != "kv" || c.Path != "creds" || c.KV != "v2" {
					t.Errorf("it is in another place: %s", c.Place())
				}
			case *azurevault.Config:
				got = login{Method: c.AuthMethod, Client: c.ClientID, Secret: c.ClientSecret}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// If the operator's environment can't resolve a reference of the plugin's login, only
// opening the object as the plugin does fails.
func TestOperatorDoesNotNeedThePluginsLogin(t *testing.T) {
	d, err := defined(t, oneVault, "", map[string]string{"VAULT_TOKEN": "mine"})
	if err != nil {
		t.Fatal(err)
	}
	o, err := d.Object("kong-auth")
	if err != nil {
		t.Fatal(err)
	}
	const want = "approle_secret_id: the environment variable PLUGINS_SECRET_ID is not set"
	if _, err := d.Open(o); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("opened as the plugin it says %v", err)
	}
	w, err := d.OpenWriter(o, "")
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	for name, vaults := range map[string]string{
		"elsewhere": strings.Replace(oneVault, "vault.internal", `"{vault://env/NOWHERE}"`, 1),
		"unknown":   strings.Replace(oneVault, "mount:", "mounts:", 1),
	} {
		if _, err := defined(t, vaults, "", nil); err == nil {
			t.Errorf("%s: it is not refused", name)
		}
	}
}

// The place doesn't depend on who logs in, here or there, and any spelling that the store
// takes for the same has the same key.
func TestChangedNamesAStoreByItsPlace(t *testing.T) {
	azure := func(env ...string) []string {
		return append([]string{"KONG_VAULT_AZURE_VAULT_URI", "https://contoso.vault.azure.net"}, env...)
	}
	hcv := func(env ...string) []string { return append([]string{"KONG_VAULT_HCV_HOST", "vault.internal"}, env...) }
	for _, tt := range []struct {
		name, object, token, otherToken string
		env, otherEnv                   []string
		same                            bool
	}{
		{"another login", "hcv", "ac-1", "ac-1", hcv("KONG_VAULT_HCV_TOKEN", "t"), hcv("KONG_VAULT_HCV_AUTH_METHOD", "approle", "KONG_VAULT_HCV_APPROLE_ROLE_ID", "r"), true},
		{"another mount", "hcv", "ac-1", "ac-1", hcv("KONG_VAULT_HCV_TOKEN", "t"), hcv("KONG_VAULT_HCV_TOKEN", "t", "KONG_VAULT_HCV_MOUNT", "m"), false},
		{"another path", "hcv", "ac-1", "ac-1", hcv("KONG_VAULT_HCV_TOKEN", "t"), hcv("KONG_VAULT_HCV_TOKEN", "t", "KONG_VAULT_HCV_PATH", "p"), false},
		{"another version", "hcv", "ac-1", "ac-1", hcv("KONG_VAULT_HCV_TOKEN", "t", "KONG_VAULT_HCV_KV", "v1"), hcv("KONG_VAULT_HCV_TOKEN", "t", "KONG_VAULT_HCV_KV", "v2"), false},
		{"another credential", "hcv", "ac-1", "AC-1", hcv("KONG_VAULT_HCV_TOKEN", "t"), hcv("KONG_VAULT_HCV_TOKEN", "t"), false},
		{"another login to Azure", "azure", "ac-1", "AC-1", azure("AZURE_CLIENT_ID", clientOne), azure("AZURE_CLIENT_ID", clientTwo), true},
		{"another prefix in Azure", "azure", "ac-1", "ac-1", azure(), azure("KONG_VAULT_AZURE_NAME_PREFIX", "other-"), false},
	} {
		changed := func(env []string, token string) [2]Changes {
			d, err := NewDefined([]secretstore.Kind{hashivault.Kind, azurevault.Kind}, Options{Getenv: environ(env...)})
			if err != nil {
				t.Fatal(tt.name, err)
			}
			one, err1 := d.Changed(tt.object, token)
			all, err2 := d.Changed(tt.object, "")
			if err1 != nil || err2 != nil || one.Bound != time.Hour || len(one.Placed) != 1 || len(all.Stores) != 1 {
				t.Errorf("%s: %+v, %+v, %v, %v", tt.name, one, all, err1, err2)
			}
			return [2]Changes{one.Changes, all.Changes}
		}
		a, b := changed(tt.env, tt.token), changed(tt.otherEnv, tt.otherToken)
		if cmp.Equal(a[0], b[0]) != tt.same || tt.token == tt.otherToken && cmp.Equal(a[1], b[1]) != tt.same {
			t.Errorf("%s: %v and %v", tt.name, a, b)
		}
	}
	d, err := NewDefined([]secretstore.Kind{hashivault.Kind}, Options{Getenv: environ()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Changed("hcv", "ac-1"); err == nil {
		t.Error("an object that isn't defined can have changed")
	}
}

const clientOne, clientTwo = "22222222-2222-2222-2222-222222222222", "33333333-3333-3333-3333-333333333333"

// Every login field is a field of the kind, and none of them says where the store is.
func TestEveryLoginFieldIsOne(t *testing.T) {
	for _, kind := range []secretstore.Kind{hashivault.Kind, azurevault.Kind} {
		known := map[string]bool{}
		for _, f := range fieldsOf(kind.New()) {
			known[f.Name] = true
		}
		for _, name := range kind.Login {
			if !known[name] {
				t.Errorf("%s has no field %s", kind.Name, name)
			}
		}
		// A field that may hold a secret is one of the login.
		for _, f := range fieldsOf(kind.New()) {
			if f.Encrypted && !strings.Contains(strings.Join(kind.Login, " ")+" ", f.Name+" ") {
				t.Errorf("%s: %s holds a secret of the plugin's login", kind.Name, f.Name)
			}
		}
	}
}

func FuzzLogins(f *testing.F) {
	f.Add("vaults: [{name: hcv, prefix: kong-auth, config: {token: t}}]")
	f.Add("vaults: [{name: azure, prefix: kong-auth, config: {client_secret: '{vault://env/X}'}}]")
	f.Add("vaults: [{name: hcv, prefix: a, config: {host: x}}]")
	f.Add("vaults: {}")
	f.Fuzz(func(t *testing.T, text string) {
		kinds := kinds{hashivault.Kind, azurevault.Kind}
		logins, err := parseWriteLogins([]byte(text), kinds, func(string) string { return "" })
		if err != nil {
			return
		}
		for _, l := range logins {
			kind, _ := kinds.named(l.kind)
			c := kind.New()
			if err := fill(c, l.values); err != nil {
				t.Errorf("a login that was read does not fit: %v", err)
			}
		}
	})
}
