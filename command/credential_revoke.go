package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"kong-vault-auth/manage"
)

// revoke is the command "credential revoke" with its flags.
type revoke struct {
	*credentials
	consumer string
	purge    bool
	yes      bool
}

func (cr *credentials) revoke() *cobra.Command {
	o := &revoke{credentials: cr}
	name := cr.Name + " credential revoke"
	c := &cobra.Command{
		Use:   "revoke ACCESS_TOKEN... | --consumer CONSUMER",
		Short: "Delete credentials from the store",
		Long: `Delete credentials from the store. Plugin servers refuse them once their ttl is over, or
after the next listing if revocation_interval is set.

HashiCorp Vault deletes all versions for good. Azure Key Vault keeps a deleted secret and
its name for a while, disabled; --purge removes that too.`,
		Example: "  " + name + " mobile-7f3a\n" +
			"  " + name + " --consumer mobile-app --yes\n" +
			"  " + name + " --purge mobile-7f3a",
		Args: cobra.ArbitraryArgs,
		RunE: cr.run(o.run),
	}
	f := c.Flags()
	f.StringVar(&o.consumer, "consumer", "", "all those of this `consumer`: its id, username or custom_id")
	f.BoolVar(&o.purge, "purge", false, "also remove what the store keeps of a deleted secret")
	f.BoolVar(&o.yes, "yes", false, "revoke all of a consumer's credentials without asking")
	return c
}

func (o *revoke) run(ctx context.Context, args []string) error {
	if (o.consumer == "") == (len(args) == 0) {
		return usage("name access tokens, or a consumer with --consumer")
	}
	return o.with(func(v *manage.Vault) error {
		if o.consumer != "" {
			var err error
			if args, err = o.ofConsumer(ctx, v); err != nil {
				return err
			}
		}
		for _, accessToken := range args {
			if err := o.within(ctx, func(ctx context.Context) error { return o.one(ctx, v, accessToken) }); err != nil {
				return err
			}
		}
		return nil
	})
}

// ofConsumer is the access tokens of the consumer's credentials.
func (o *revoke) ofConsumer(ctx context.Context, v *manage.Vault) (accessTokens []string, err error) {
	who, err := o.Program.consumer(ctx, o.consumer)
	if err != nil {
		return nil, err
	}
	err = v.List(ctx, func(e manage.Entry) error {
		if e.Of(who.Names...) {
			accessTokens = append(accessTokens, e.AccessToken)
		}
		return nil
	})
	switch {
	case err != nil:
	case len(accessTokens) == 0:
		fmt.Fprintf(o.Stderr, "%s: no credential names the consumer %s (%s)\n", o.Name, clean(o.consumer), consumerNote(who))
	case !o.yes:
		err = usage("%d credentials of %s would be revoked (credential list --consumer shows them): add --yes", len(accessTokens), o.consumer)
	}
	return accessTokens, err
}

// one revokes one credential.
func (o *revoke) one(ctx context.Context, v *manage.Vault, accessToken string) error {
	if err := v.Revoke(ctx, accessToken, o.purge); err != nil {
		return err
	}
	reach := o.changed(ctx, v, accessToken)
	fingerprint := v.Fingerprint(accessToken)
	if o.output == outputJSON {
		return o.printJSON(map[string]any{
			"vault": v.Name, "access_token": accessToken, "fingerprint": fingerprint, "revoked": true, "purged": o.purge, "reach": reach,
		})
	}
	line := fmt.Sprintf("revoked %s (fingerprint %s)", accessToken, fingerprint)
	if reach != nil {
		line += ": " + reach.String()
	}
	_, err := fmt.Fprintln(o.Stdout, line)
	return err
}
