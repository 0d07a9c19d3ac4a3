package genuine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/kongtest/genuine"
)

// A reference in Kong's own settings that has no value stops the start. The error names it and
// says why.
func TestKongDoesNotStartWithoutItsSecrets(t *testing.T) {
	policy := filepath.Join(t.TempDir(), "policy.yml")
	if err := os.WriteFile(policy, []byte("secrets:\n- vault: azure\n  names: [pg, missing, denied, off]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := startVaults(t, vaultsOptions{
		kong: azureEnv(), plugin: []string{"VAULT_AUTH_SECRETS_POLICY=" + policy},
		before: func(n *vaultsNode) {
			n.azure.AddApp(akvsim.App{ClientID: azureClientID, Secret: azureSecret, May: akvsim.Get | akvsim.List, Deny: []string{"denied"}})
			n.azure.Put("pg", `{"password": "p4ss"}`, nil)
			n.azure.Put("denied", "d3nied", nil)
			n.azure.Put("other", "0ther", nil)
		},
	})
	if err := n.kong.Command("vault", "get", "{vault://azure/pg/password}"); err != nil {
		t.Fatal(err)
	}
	for about, tt := range map[string]struct {
		reference string
		env       []string
		want      []string
	}{
		"no such secret":       {"{vault://azure/missing/x}", nil, []string{"there is no such secret"}},
		"no such key":          {"{vault://azure/pg/user}", nil, []string{"subfield user not found in JSON secret"}},
		"no such vault":        {"{vault://azur/pg/password}", nil, []string{"unable to retrieve config from db"}},
		"no reference":         {"{vault://azure}", nil, []string{"reference url is missing path"}},
		"denied by the store":  {"{vault://azure/denied}", nil, []string{"this login may not read it, though it may read others"}},
		"denied by the policy": {"{vault://azure/other}", nil, []string{"this node doesn't hand out the secret"}},
		"a wrong login":        {"{vault://azure/pg/password}", []string{"AZURE_CLIENT_SECRET=wr0ng"}, []string{"AADSTS7000215"}},
		"no plugin server": {
			"{vault://azure/pg/password}", []string{"VAULT_AUTH_SECRETS_LISTEN=/run/vault-auth-of-nobody/secrets.socket"},
			[]string{"the plugin server vault-auth can't be asked at /run/vault-auth-of-nobody/secrets.socket", "no such file"},
		},
	} {
		t.Run(about, func(t *testing.T) {
			o := n.options
			o.Prefix = filepath.Join(filepath.Dir(o.Prefix), "bad")
			o.Env = append(append([]string{}, o.Env...), append(tt.env, "KONG_PG_PASSWORD="+tt.reference)...)
			k, err := genuine.Start(o)
			if err == nil {
				n.close(k.Stop)
				t.Fatal("Kong has started")
			}
			for _, want := range append(tt.want, tt.reference, "pg_password") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("it doesn't say %q:\n%v", want, err)
				}
			}
			for _, secret := range []string{"p4ss", "d3nied", "0ther", "wr0ng", azureSecret} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("it says %s:\n%v", secret, err)
				}
			}
		})
	}
}

// TestKongsCommandsWorkWithReferencesInKongConf, and with the vault's settings in the same
// file.
func TestKongsCommandsWorkWithReferencesInKongConf(t *testing.T) {
	const password = "p4ss/with+signs"
	n := startVaults(t, vaultsOptions{
		database: true, password: password, kong: azureEnv("KONG_PG_PASSWORD={vault://azure/pg/password}"),
		before: func(n *vaultsNode) { n.azure.Put("pg", `{"password": "`+password+`"}`, nil) },
	})
	file := filepath.Join(t.TempDir(), "kong.conf")
	conf := "pg_password = {vault://azure/pg/password}\nvault_azure_vault_uri = " + akvsim.VaultURI +
		"\nvault_azure_tenant_id = " + akvsim.Tenant + "\nvault_azure_client_id = " + azureClientID + "\n"
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	// Only the file has these settings.
	byFile := n.kong.Without("KONG_PG_PASSWORD", "KONG_VAULT_AZURE_VAULT_URI", "KONG_VAULT_AZURE_TENANT_ID", "KONG_VAULT_AZURE_CLIENT_ID")
	for _, command := range [][]string{
		{"migrations", "list", "-c", file}, {"migrations", "up", "-c", file}, {"migrations", "finish", "-c", file},
		{"health"}, {"vault", "get", "{vault://azure/pg/password}", "-c", file}, {"reload", "-c", file}, {"health"}, {"stop"},
	} {
		if err := byFile.Command(command...); err != nil {
			t.Errorf("kong %s: %v", command, err)
		}
	}
	n.eventually("Kong has stopped, and starts by the file", func() bool { return byFile.Command("start", "-c", file) == nil })
	if err := byFile.Command("health"); err != nil {
		t.Errorf("kong health: %v", err)
	}
	n.close(n.plugin.Stop)
	// Without the plugin server, commands that don't need the secret work, and the others
	// say what is missing.
	if err := byFile.Command("health"); err != nil {
		t.Errorf("kong health without the plugin server: %v", err)
	}
	for _, command := range [][]string{{"reload", "-c", file}, {"migrations", "list", "-c", file}} {
		if err := byFile.Command(command...); err == nil || !strings.Contains(err.Error(), "the plugin server vault-auth can't be asked") {
			t.Errorf("kong %s without the plugin server: %v", command, err)
		}
	}
	n.startPluginServer()
}
