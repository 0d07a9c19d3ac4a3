package e2e

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"kong-vault-auth/e2e/program"
	"kong-vault-auth/e2e/vaultserver"
)

// authEnv is an environment in which the plugin reaches Vault as in production: by a vault
// object that the node defines in a file, and with no other right than to read the
// credentials.
type authEnv struct {
	*testEnv
	policy string   // that of the plugin
	dir    string   // for files
	hidden []string // what no log may hold
}

func newAuthEnv(t *testing.T) *authEnv { return newAuthEnvOn(t, sharedVault) }

func newAuthEnvOn(t *testing.T, vault *vaultserver.Server) *authEnv {
	t.Helper()
	a := &authEnv{
		testEnv: newEnvOn(t, vault, vaultserver.KongAuth),
		dir:     t.TempDir(),
		// hvs. and hvb. begin all of Vault's tokens, eyJ all JWTs.
		hidden: []string{"hvs.", "hvb.", "eyJ", "PRIVATE KEY"},
	}
	var err error
	a.policy, err = vault.ReadPolicy(t.Context(), a.kv)
	a.must(err)
	return a
}

// in is the same for a subtest.
func (a *authEnv) in(t *testing.T) *authEnv {
	sub := *a
	sub.testEnv = a.testEnv.in(t)
	return &sub
}

// file writes a file that only its owner may read, by renaming a new one over it, as careful
// writers do.
func (a *authEnv) file(name, content string) string {
	a.Helper()
	path := filepath.Join(a.dir, name)
	a.must(os.WriteFile(path+".new", []byte(content), 0o600))
	a.must(os.Rename(path+".new", path))
	return path
}

// write writes to Vault's API as an administrator.
func (a *authEnv) write(path string, fields object) {
	a.Helper()
	_, err := a.vault.Write(a.Context(), path, fields)
	a.must(err)
}

// settings are those of the node's vault object for this environment's Vault, with the
// environment's own token unless the changes log in otherwise. nil removes a field.
func (a *authEnv) settings(changes object) object {
	all := a.hcv(nil)
	if changes["auth_method"] != nil || changes["token_file"] != nil || changes["unix_socket"] != nil {
		delete(all, "token")
	}
	maps.Copy(all, changes)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return all
}

// overTLS are the settings that lead to Vault's HTTPS listener.
func (a *authEnv) overTLS(more object) object {
	all := object{"protocol": "https", "port": portOf(a.vault.TLSAddr), "ca_cert": a.file("ca.pem", string(a.vault.CA))}
	maps.Copy(all, more)
	return all
}

// node starts a gateway that guards / by the vault object kong-auth, which the
// node defines in VAULT_AUTH_VAULTS_FILE.
func (a *authEnv) node(changes object, env ...string) gateway {
	a.Helper()
	b, err := json.Marshal(object{"_format_version": "3.0", "vaults": []object{
		{"name": "hcv", "prefix": "kong-auth", "config": a.settings(changes)},
	}})
	a.must(err)
	return a.gateway(object{"vault": "kong-auth"}, append(env, "VAULT_AUTH_VAULTS_FILE="+a.file("vaults.json", string(b)))...)
}

// gateway starts a gateway with a route / whose plugin server gets env. It must never log a
// secret, at any level.
func (a *authEnv) gateway(config object, env ...string) gateway {
	a.Helper()
	env = append(env, "VAULT_AUTH_LOG_LEVEL=debug")
	return a.startUnderWatch(a.guarded("/", config), env, &a.hidden)
}

// ask sends a pair, which must not get into the log.
func (a *authEnv) ask(g gateway, p pair) answer {
	a.Helper()
	a.hidden = append(a.hidden, p.access, p.secret)
	return a.get(g, "/", p.header())
}

// logins counts the logins at auth/mount.
func (a *authEnv) logins(mount string) int { return a.requests("update", "auth/"+mount+"/login") }

func (a *authEnv) requests(operation, path string) int {
	a.Helper()
	requests, err := a.vault.Requests(operation, path)
	a.must(err)
	return len(requests)
}

// granted counts the valid tokens of logins at auth/mount.
func (a *authEnv) granted(mount string) int {
	a.Helper()
	granted, err := a.vault.Granted(a.Context(), mount)
	a.must(err)
	return len(granted)
}

// underLoad sends requests with a pair until ok, and fails unless all are answered 200. Use it
// with neverCached, so that a record is in memory for 10 ms only, also when Vault can't be
// read.
func (a *authEnv) underLoad(g gateway, p pair, what string, ok func() bool) {
	a.Helper()
	l := startLoad(a.testEnv, g, 2, "/", p.header(), succeeded)
	defer l.stop()
	program.Eventually(a.T, what, func() bool { return ok() && l.soFar()["ok"] > 0 })
	if got := l.stop(); len(got) != 1 {
		a.Errorf("answers under load: %v\n%s", got, g.Log())
	}
}

// neverCached changes settings so that nearly every request is a read of Vault.
func neverCached(settings object) object {
	settings = maps.Clone(settings)
	settings["ttl"], settings["resurrect_ttl"] = 0.01, 0
	return settings
}
