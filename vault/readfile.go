package vault

import (
	"fmt"
	"maps"
	"slices"

	"kong-vault-auth/secretstore"
	"kong-vault-auth/securefile"
)

// maxVaultsFile bounds what is read of a vaults file.
const maxVaultsFile = 1 << 20

// readVaultsFile reads, checks and validates a vaults file. Its error, which
// matches ErrConfig, says what to change; warnings are by object.
func readVaultsFile(path string, kinds kinds, getenv func(string) string) (*vaultsFile, map[string][]string, error) {
	f, err := readChecked(path, kinds, getenv)
	if err != nil {
		return nil, nil, configError("", "VAULT_AUTH_VAULTS_FILE", err)
	}
	warnings := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(f.defined)) {
		w, err := secretstore.Check(name, f.defined[name].Config, secretstore.Origin{Node: true})
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		warnings[name] = w
	}
	return f, warnings, nil
}

func readChecked(path string, kinds kinds, getenv func(string) string) (*vaultsFile, error) {
	b, err := securefile.Read(path, securefile.Anybody, maxVaultsFile)
	if err != nil {
		return nil, err
	}
	f, err := parseFile(b, kinds, getenv)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if f.secrets {
		_, err = securefile.Read(path, securefile.Group, maxVaultsFile)
	}
	return f, err
}
