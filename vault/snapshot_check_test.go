package vault

import (
	"fmt"
	"path/filepath"
	"testing"
)

func TestAStoreHasOneSnapshotAndNoOtherStoreThat(t *testing.T) {
	object := func(name, path, snapshot string) string {
		s := fmt.Sprintf("- {name: hcv, prefix: %s, config: {token: hvs.one, path: %s", name, path)
		if snapshot != "" {
			s += ", snapshot_file: /a/" + snapshot + ", snapshot_key_file: /b/key"
		}
		return s + "}}\n"
	}
	const environment = "KONG_VAULT_HCV_SNAPSHOT_FILE"
	for name, tt := range map[string]struct {
		file string
		env  []string
		want string // in the log; empty: there is no problem
	}{
		"each store its own":     {object("one", "a", "1") + object("two", "b", "2"), nil, ""},
		"one store, one file":    {object("one", "a", "1") + object("two", "a", "1"), nil, ""},
		"one with, one without":  {object("one", "a", "1") + object("two", "b", ""), nil, ""},
		"one store, two files":   {object("one", "a", "1") + object("two", "a", "2"), nil, "it is the same store as one: give both the same"},
		"one store, half a file": {object("one", "a", "") + object("two", "a", "2"), nil, "it is the same store as one: give both the same"},
		"two stores, one file":   {object("one", "a", "1") + object("two", "b", "1"), nil, "one, which is another store, has the same files"},
		"file and environment": {object("one", "a", "1"), []string{"KONG_VAULT_HCV_TOKEN", "hvs.one", environment, "/a/1", "KONG_VAULT_HCV_SNAPSHOT_KEY_FILE", "/b/key"},
			"hcv, which is another store, has the same files"},
		"environment alone": {object("one", "a", ""), []string{
			"KONG_VAULT_HCV_TOKEN", "hvs.one", environment, "/a/1", "KONG_VAULT_HCV_SNAPSHOT_KEY_FILE", "/b/key",
			"KONG_VAULT_AZURE_VAULT_URI", "https://contoso.vault.azure.net", "KONG_VAULT_AZURE_SNAPSHOT_FILE", "/a/1", "KONG_VAULT_AZURE_SNAPSHOT_KEY_FILE", "/b/key",
		}, "azure, which is another store, has the same files"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "vaults.yml")
			writeFile(t, path, "vaults:\n"+tt.file)
			log := &logbook{}
			newRegistry(t, &fakeStores{}, log, append(tt.env, "VAULT_AUTH_VAULTS_FILE", path)...)
			errors := log.count("level=ERROR")
			if tt.want == "" && errors > 0 || tt.want != "" && log.count("level=ERROR", "snapshot_file", tt.want) == 0 {
				t.Errorf("want %q: %s", tt.want, log)
			}
		})
	}
}
