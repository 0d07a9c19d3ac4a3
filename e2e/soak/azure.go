package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"kong-vault-auth/azurevault/akvsim"
)

// The application that the plugin logs in as.
const (
	azureClientID = "22222222-2222-4222-8222-222222222222"
	azureSecret   = "cl1ent~s3cret"
)

// keyVault is a simulated Azure Key Vault.
type keyVault struct {
	sim    *akvsim.Sim
	server *akvsim.Server
	ca     string // the folder of its CA's certificate
}

func openAzure(context.Context, func(string)) (store, error) {
	k := &keyVault{sim: akvsim.New(akvsim.Options{Blocked: isBlocked})}
	k.sim.AddApp(akvsim.App{ClientID: azureClientID, Secret: azureSecret, May: akvsim.Get | akvsim.List})
	var err error
	if k.server, err = k.sim.Start("127.0.0.1:0"); err != nil {
		return nil, err
	}
	if k.ca, err = os.MkdirTemp("", "ca-*"); err == nil {
		err = os.WriteFile(k.caFile(), k.server.CA(), 0o600)
	}
	if err != nil {
		return nil, errors.Join(err, k.close())
	}
	return k, nil
}

func (k *keyVault) caFile() string { return filepath.Join(k.ca, "ca.pem") }

func (*keyVault) String() string { return "Azure Key Vault (simulated)" }

func (*keyVault) object(folder string) (string, object) {
	return "azure", object{
		"vault_uri": akvsim.VaultURI, "name_prefix": folder + "-", "auth_method": "client_secret",
		"tenant_id": akvsim.Tenant, "client_id": azureClientID, "client_secret": azureSecret,
	}
}

func (*keyVault) nowhere() object { return object{"vault_uri": "https://fabrikam.vault.azure.net"} }

func (k *keyVault) environ() []string { return k.server.Environ(k.caFile()) }

func (k *keyVault) put(_ context.Context, folder, access string, record object) error {
	value, err := json.Marshal(record)
	if err == nil {
		k.sim.Put(folder+"-"+access, string(value), nil)
	}
	return err
}

func (k *keyVault) delete(_ context.Context, folder, access string) error {
	k.sim.Delete(folder + "-" + access)
	return nil
}

func (k *keyVault) faults() []fault {
	return []fault{
		k.down(),
		k.of("no answer", akvsim.Fault{Hang: true}),
		k.of("answers after 30s", akvsim.Fault{Late: 30 * time.Second}),
		k.of("answers 503", akvsim.Unavailable()),
		k.of("answers 500", akvsim.VaultError(http.StatusInternalServerError, "InternalServerError", "", "An internal error occurred.")),
		k.of("answers 429", akvsim.Throttled("")),
		k.of("answers 429, Retry-After: 2", akvsim.Throttled("2")),
		k.of("role taken away", akvsim.VaultError(http.StatusForbidden, "Forbidden", "ForbiddenByRbac", "Caller is not authorized to perform action on resource.")),
		{
			name: "Entra ID down, a token at hand", harmless: true,
			begin: func(context.Context) error { k.sim.Fail(akvsim.Entra, akvsim.Fault{Drop: true}); return nil },
			end:   k.recover,
		},
	}
}

func (k *keyVault) down() fault { return k.of("no connection", akvsim.Fault{Drop: true}) }

// of is a fault of Key Vault.
func (k *keyVault) of(name string, f akvsim.Fault) fault {
	return fault{name: name, begin: func(context.Context) error { k.sim.Fail(akvsim.KeyVault, f); return nil }, end: k.recover}
}

func (k *keyVault) recover(context.Context) error { k.sim.Recover(); return nil }

func (k *keyVault) unlistable() fault {
	may := func(p akvsim.Permission) func(context.Context) error {
		return func(context.Context) error {
			k.sim.AddApp(akvsim.App{ClientID: azureClientID, Secret: azureSecret, May: p})
			return nil
		}
	}
	return fault{name: "listing down", begin: may(akvsim.Get), end: may(akvsim.Get | akvsim.List)}
}

func (k *keyVault) requests() []request {
	seen := k.sim.Requests(func(r akvsim.Request) bool { return r.Service == akvsim.KeyVault })
	all := make([]request, len(seen))
	for i, r := range seen {
		all[i] = request{
			lookup: r.SecretRead(), listing: r.SecretList(),
			began: r.Began, answered: r.Answered,
			found: r.Status == http.StatusOK, absent: r.Status == http.StatusNotFound,
		}
	}
	return all
}

func (k *keyVault) forget() { k.sim.Forget() }

func (k *keyVault) close() error {
	return errors.Join(k.server.Close(), os.RemoveAll(k.ca))
}
