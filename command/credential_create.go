package command

import (
	"cmp"
	"context"
	"net/netip"

	"github.com/spf13/cobra"

	"kong-vault-auth/credential"
	"kong-vault-auth/manage"
)

// create is the command "credential create" with its flags.
type create struct {
	*credentials
	secret      secretFlags
	new         manage.New
	consumer    string
	ttl         span
	expiresIn   span
	allowedIPs  []string
	recoverName bool
	purgeName   bool
}

func (cr *credentials) create() *cobra.Command {
	o := &create{credentials: cr}
	name := cr.Name + " credential create"
	c := &cobra.Command{
		Use:   "create --consumer CONSUMER [ACCESS_TOKEN]",
		Short: "Create a credential",
		Long: `Create a credential, with a generated secret token and, unless one is given, a
generated access token.

The secret token is shown once, on a terminal, appended to a file of mode 0600, or
handed over by a Vault wrapping token. The store gets only its hash, so that whoever can
read the store can't use the credential; --plain stores the token itself, which Kong
Enterprise needs. Nothing that exists is overwritten.`,
		Example: "  " + name + " --consumer mobile-app\n" +
			"  " + name + " --consumer mobile-app --prefix kva --ttl 5m --groups gold,reports\n" +
			"  " + name + " --consumer partner-7 --expires-in 90d --allowed-ips 192.0.2.0/24 --secret-file partner-7.json\n" +
			"  " + name + " --consumer mobile-app --wrap=1h -o json",
		Args: cobra.MaximumNArgs(1),
		RunE: cr.run(o.run),
	}
	f := c.Flags()
	o.secret.add(f)
	f.StringVar(&o.consumer, "consumer", "", "id, username or custom_id of the `consumer` in Kong (required)")
	f.StringVar(&o.new.Prefix, "prefix", "", "begin generated tokens with this `prefix`: with kva, wrong ones are refused without a lookup")
	f.BoolVar(&o.new.Plain, "plain", false, "store the secret token itself, as Kong Enterprise needs it")
	f.Var(&o.ttl, "ttl", "how long the credential may be cached; the vault object's ttl if left out")
	f.StringSliceVar(&o.new.Groups, "groups", nil, "`groups` for Kong's ACL plugin")
	f.Var(&o.expiresIn, "expires-in", "how long the credential is valid; for ever if left out")
	f.StringSliceVar(&o.allowedIPs, "allowed-ips", nil, "`addresses` and ranges from which the credential may be used")
	f.StringVar(&o.new.Description, "description", "", "`text` for people")
	f.BoolVar(&o.recoverName, "recover", false, "if a deleted secret holds the name, recover it and make the credential its newest version")
	f.BoolVar(&o.purgeName, "purge", false, "if a deleted secret holds the name, remove it for good")
	c.MarkFlagsMutuallyExclusive("recover", "purge")
	_ = c.MarkFlagRequired("consumer")
	return c
}

func (o *create) run(ctx context.Context, args []string) error {
	if err := o.complete(args); err != nil {
		return err
	}
	who, err := o.Program.consumer(ctx, o.consumer)
	if err != nil {
		return err
	}
	o.new.Consumer = who.Consumer
	return o.with(func(v *manage.Vault) error {
		return o.within(ctx, func(ctx context.Context) error {
			h, err := o.secret.open(ctx, v)
			if err != nil {
				return err
			}
			i, err := v.Create(ctx, o.new, h.deliver)
			if err := cmp.Or(err, h.close()); err != nil {
				return err
			}
			r := o.secret.issued(v, i, h)
			r.ConsumerChecked, r.consumerNote = &who.Checked, consumerNote(who)
			r.Reach = o.changed(ctx, v, i.AccessToken)
			return o.print(r)
		})
	})
}

// complete checks the command line and completes the credential.
func (o *create) complete(args []string) error {
	if err := o.secret.check(o.Program); err != nil {
		return err
	}
	if len(args) > 0 {
		if err := credential.CheckAccessToken(args[0]); err != nil {
			return usageError{err}
		}
		o.new.AccessToken = args[0]
	}
	for _, text := range o.allowedIPs {
		r, err := parseRange(text)
		if err != nil {
			return err
		}
		o.new.AllowedIPs = append(o.new.AllowedIPs, r)
	}
	o.new.TTL = o.ttl.Duration
	if o.expiresIn.Duration > 0 {
		o.new.ExpiresAt = o.Now().Add(o.expiresIn.Duration)
	}
	o.new.CreatedBy = cmp.Or(o.Getenv("SUDO_USER"), o.Getenv("USER"), o.Getenv("LOGNAME"))
	switch {
	case o.recoverName:
		o.new.Deleted = manage.RecoverDeleted
	case o.purgeName:
		o.new.Deleted = manage.PurgeDeleted
	}
	return nil
}

func parseRange(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	r, err := netip.ParsePrefix(text)
	if err != nil || r != r.Masked() {
		return r, usage("--allowed-ips: %q is neither an address nor a range such as 192.0.2.0/24", text)
	}
	return r, nil
}
