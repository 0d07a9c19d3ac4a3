package command

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"kong-vault-auth/control"
	"kong-vault-auth/manage"
	"kong-vault-auth/vault"
)

// credentials is the command "credential", the parent of the commands for credentials,
// with the flags that all of them have.
type credentials struct {
	*Program
	object    string        // --vault
	tokenFile string        // --token-file
	timeout   time.Duration // --timeout
}

func (p *Program) credential() *cobra.Command {
	cr := &credentials{Program: p}
	c := &cobra.Command{
		Use:     "credential",
		Aliases: []string{"credentials"},
		Short:   "Create, show, rotate and revoke credentials",
		Long: `Create, show, rotate and revoke credentials in a vault object that this node defines.

The vault objects are those of the plugin server: set VAULT_AUTH_VAULTS_FILE, or the
KONG_VAULT_ variables, as for it. The login is yours and not the plugin's:

  HashiCorp Vault   --token-file, VAULT_TOKEN, or the token of "vault login"
  Azure Key Vault   AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, a
                    workload or managed identity, or "az login"
  either            the login in the file that VAULT_AUTH_WRITE_FILE names

Consumers are looked up by id, username or custom_id if KONG_ADMIN_URL is set.

` + exitStatuses,
	}
	f := c.PersistentFlags()
	f.StringVar(&cr.object, "vault", "", "`name` of the vault object; not needed where there is only one")
	f.StringVar(&cr.tokenFile, "token-file", "", "`file` with the Vault token to use")
	f.DurationVar(&cr.timeout, "timeout", 30*time.Second, "how long one credential may take")
	_ = c.RegisterFlagCompletionFunc("vault", p.completeObjects)
	return group(c, cr.create(), cr.show(), cr.list(), cr.rotate(), cr.revoke(), cr.importCommand(), cr.export(), cr.block(), cr.unblock(), cr.leaked())
}

// completeObjects completes names of vault objects.
func (p *Program) completeObjects(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	d, err := p.defined()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return d.Names(), cobra.ShellCompDirectiveNoFileComp
}

// defined is the vault objects of this node.
func (p *Program) defined() (*vault.Defined, error) {
	return vault.NewDefined(p.Kinds, vault.Options{Getenv: p.Getenv, UserAgent: "kong-vault-auth/" + p.Version})
}

// chosen is the vault object that --vault names, or the only one.
func (c *credentials) chosen() (*vault.Defined, vault.Definition, error) {
	d, err := c.defined()
	if err != nil {
		return nil, vault.Definition{}, err
	}
	o, err := d.Object(c.object)
	return d, o, err
}

// with opens the vault object for writing and has f use it.
func (c *credentials) with(f func(v *manage.Vault) error) error {
	d, o, err := c.chosen()
	if err != nil {
		return err
	}
	w, err := d.OpenWriter(o, c.tokenFile)
	if err != nil {
		return err
	}
	defer func() {
		if err := w.Close(); err != nil {
			fmt.Fprintf(c.Stderr, "%s: %v\n", c.Name, err)
		}
	}()
	return f(&manage.Vault{Name: o.Name, Writer: w, Fingerprint: o.Fingerprint, Now: c.Now, MaxTTL: o.Config.Common().MaxTTL.Duration()})
}

// within limits the time for one credential to --timeout.
func (c *credentials) within(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return f(ctx)
}

// changed makes the plugin server of this node forget a credential that was changed, and
// returns where the change is in force. If that fails, the change itself has still been
// made, so it is only reported.
func (c *credentials) changed(ctx context.Context, v *manage.Vault, accessToken string) *control.Reach {
	return c.reached(c.control().Changed(ctx, v.Name, accessToken))
}

// changedAll is changed for all credentials of the object.
func (c *credentials) changedAll(ctx context.Context, v *manage.Vault) *control.Reach {
	return c.reached(c.control().ChangedObject(ctx, v.Name))
}

func (c *credentials) reached(reach control.Reach, err error) *control.Reach {
	if err != nil {
		fmt.Fprintf(c.Stderr, "%s: the store has the change, but this node may still use what it has cached: %v\n", c.Name, err)
		return nil
	}
	return &reach
}
