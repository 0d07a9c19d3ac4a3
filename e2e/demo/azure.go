package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/e2e/example"
)

// The identities of the simulated Azure.
const (
	machineID = "22222222-2222-4222-8222-222222222222" // the machine's own, which may read secrets: the plugin's
	writerID  = "33333333-3333-4333-8333-333333333333" // one assigned to it, which may write them: the reader's
)

// azure is a simulator of Azure Key Vault and of a virtual machine's managed identity. The
// plugin reaches it through its proxy, as it would reach the real ones through a company's.
type azure struct {
	sim    *akvsim.Sim
	server *akvsim.Server // nil while it is stopped
	addr   string
	dir    string
}

func startAzure() (store, error) {
	value, err := json.Marshal(record())
	if err != nil {
		return nil, err
	}
	a := &azure{sim: akvsim.New(akvsim.Options{}), addr: "127.0.0.1:0"}
	a.sim.AddApp(akvsim.App{ClientID: machineID, SystemAssigned: true, May: akvsim.Get})
	a.sim.AddApp(akvsim.App{ClientID: writerID, UserAssigned: true, May: akvsim.Set})
	a.sim.Put("kong-auth-"+accessToken, string(value), nil)
	if err := a.Restart(context.Background()); err != nil {
		return nil, err
	}
	a.addr = strings.TrimPrefix(a.server.ProxyURL(), "http://")
	if a.dir, err = os.MkdirTemp("", "demo-*"); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	if err := os.WriteFile(a.ca(), a.server.CA(), 0o600); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (a *azure) ca() string { return filepath.Join(a.dir, "ca.pem") }

func (a *azure) words() words {
	return words{
		label: "Simulator", name: "The simulator", at: akvsim.VaultURI, secret: "kong-auth-" + accessToken,
		but: ",\n          with azure: {vault_uri: " + akvsim.VaultURI + ", auth_method: managed_identity} instead of hcv",
	}
}

// kongYML is kong.yml with azure in the place of hcv.
func (a *azure) kongYML(upstream string) (string, error) {
	text, err := example.KongYML(upstream, "http://127.0.0.1:8200")
	if err != nil {
		return "", err
	}
	var declared map[string]any
	if err := yaml.Unmarshal([]byte(text), &declared); err != nil {
		return "", err
	}
	config, ok := at(declared, "services", "routes", "plugins")["config"].(map[string]any)
	if !ok {
		return "", errors.New("kong.yml has no plugin on its first route")
	}
	delete(config, "hcv")
	config["azure"] = map[string]any{"vault_uri": akvsim.VaultURI, "auth_method": "managed_identity"}
	b, err := yaml.Marshal(declared)
	return string(b), err
}

// at descends through the first entity of each of these lists. It is nil if one is empty.
func at(entity map[string]any, lists ...string) map[string]any {
	for _, name := range lists {
		list, _ := entity[name].([]any)
		if len(list) == 0 {
			return nil
		}
		entity, _ = list[0].(map[string]any)
	}
	return entity
}

func (a *azure) environ() (env []string, mainEnv string) {
	return a.server.Environ(a.ca()), "HTTPS_PROXY; env HTTP_PROXY; env SSL_CERT_FILE"
}

func (a *azure) putOwn() string {
	return fmt.Sprintf(`  TOKEN=$(curl -s -x %[1]s -H Metadata:true \
    'http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net&client_id=%[2]s' |
    sed 's/.*"access_token":"\([^"]*\)".*/\1/')
  curl -x %[1]s --cacert %[3]s -X PUT -H "Authorization: Bearer $TOKEN" \
    '%[4]s/secrets/kong-auth-mine-1?api-version=7.6' -d '{"value":
    "{\"access_token\": \"mine-1\", \"secret_token\": \"shhh\", \"consumer\": {\"username\": \"%[5]s\"}}"}'`,
		"http://"+a.addr, writerID, a.ca(), akvsim.VaultURI, example.Consumer)
}

// Stop makes all of Azure unreachable.
func (a *azure) Stop() error {
	server := a.server
	a.server = nil
	return server.Close()
}

func (a *azure) Restart(context.Context) (err error) {
	a.server, err = a.sim.Start(a.addr)
	return err
}

func (a *azure) Close() (err error) {
	if a.server != nil {
		err = a.Stop()
	}
	return errors.Join(err, os.RemoveAll(a.dir))
}
