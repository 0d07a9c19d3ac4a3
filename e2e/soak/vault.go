package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"kong-vault-auth/e2e/faults"
	"kong-vault-auth/e2e/vaultserver"
)

const vaultMount = "secret"

// hashiVault is a real Vault server, with KV v2, behind a proxy.
type hashiVault struct {
	server *vaultserver.Server
	proxy  *faults.Proxy
	token  string // the plugin's
}

func openVault(ctx context.Context, say func(string)) (store, error) {
	server, err := vaultserver.Start(ctx, vaultserver.Options{Progress: say})
	if err != nil {
		return nil, err
	}
	v := &hashiVault{server: server}
	if err := v.open(ctx); err != nil {
		v.close()
		return nil, err
	}
	return v, nil
}

func (v *hashiVault) open(ctx context.Context) (err error) {
	if v.proxy, err = faults.Listen(v.server.Addr); err != nil {
		return err
	}
	v.proxy.Usually(faults.Only(func(r *http.Request) bool { return isBlocked(r.URL.Path) }, faults.Page(http.StatusForbidden)))
	if err := v.allow(ctx); err != nil {
		return err
	}
	v.token, err = v.server.TokenWith(ctx, "kong-auth", 24*time.Hour)
	return err
}

// allow gives the plugin's token its rights, and disallow takes them away.
func (v *hashiVault) allow(ctx context.Context) error {
	return v.server.PutPolicy(ctx, "kong-auth", `path "secret/data/*" { capabilities = ["read"] }
path "secret/metadata/*" { capabilities = ["list"] }
`)
}

func (v *hashiVault) disallow(ctx context.Context) error {
	return v.server.PutPolicy(ctx, "kong-auth", `path "elsewhere" { capabilities = ["read"] }`)
}

func (*hashiVault) String() string { return "HashiCorp Vault" }

func (*hashiVault) kv(folder string) vaultserver.KV {
	return vaultserver.KV{Mount: vaultMount, Version: 2, Path: folder}
}

func (v *hashiVault) object(folder string) (string, object) {
	return "hcv", v.kv(folder).Config(v.proxy.URL, v.token)
}

func (*hashiVault) nowhere() object   { return object{"host": "vault.invalid"} }
func (*hashiVault) environ() []string { return nil }

func (v *hashiVault) put(ctx context.Context, folder, access string, record object) error {
	return v.server.Put(ctx, v.kv(folder), access, record)
}

func (v *hashiVault) delete(ctx context.Context, folder, access string) error {
	return v.server.Delete(ctx, v.kv(folder), access)
}

func (v *hashiVault) faults() []fault {
	var all []fault
	for _, f := range faults.All() {
		all = append(all, v.before(f))
	}
	return append(all,
		fault{name: "Vault stopped", unreachable: true, begin: func(context.Context) error { return v.server.Stop() }, end: v.server.Restart},
		fault{name: "policy taken away", begin: v.disallow, end: v.allow},
		fault{name: "Vault sealed", unreachable: true, begin: v.server.Seal, end: v.server.Unseal},
	)
}

func (v *hashiVault) down() fault { return v.before(faults.ClosedPort()) }

func (v *hashiVault) unlistable() fault {
	return v.before(faults.Only(func(r *http.Request) bool { return isListing(r.URL.Path) }, faults.Answer("listing down", http.StatusInternalServerError, nil, `{"errors":["internal error"]}`)))
}

// before is a fault of the proxy in front of Vault.
func (v *hashiVault) before(f faults.Fault) fault {
	return fault{
		name:  f.Name,
		begin: func(context.Context) error { return v.proxy.Set(f) },
		end:   func(context.Context) error { return v.proxy.Clear() },
	}
}

// isListing reports whether a path is that of the listing of a folder.
func isListing(path string) bool { return strings.HasPrefix(path, "/v1/"+vaultMount+"/metadata/") }

func (v *hashiVault) requests() []request {
	seen := v.proxy.Requests()
	all := make([]request, len(seen))
	for i, r := range seen {
		all[i] = request{
			lookup: strings.HasPrefix(r.Path, "/v1/"+vaultMount+"/data/"), listing: isListing(r.Path),
			began: r.Began, answered: r.Answered,
			found: r.Status == http.StatusOK, absent: r.Status == http.StatusNotFound,
		}
	}
	return all
}

func (v *hashiVault) forget() { v.proxy.Forget() }

func (v *hashiVault) close() error {
	if v.proxy == nil {
		return v.server.Close()
	}
	return errors.Join(v.proxy.Close(), v.server.Close())
}
