package command

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"kong-vault-auth/manage"
)

// list is the command "credential list" with its flags.
type list struct {
	*credentials
	consumer      string
	expiresWithin span
	blocked       bool
}

func (cr *credentials) list() *cobra.Command {
	o := &list{credentials: cr}
	name := cr.Name + " credential list"
	c := &cobra.Command{
		Use:   "list",
		Short: "List credentials, without their secret tokens",
		Long: `List credentials, without their secret tokens. Each is read from the store.

--blocked lists what is blocked on this node instead, see "` + cr.Name + ` credential block". No
store is asked for it. An access token is shown as a digest.`,
		Example: "  " + name + "\n" +
			"  " + name + " --consumer mobile-app\n" +
			"  " + name + " --expires-within 30d -o json\n" +
			"  " + name + " --blocked",
		Args: cobra.NoArgs,
		RunE: cr.run(func(ctx context.Context, _ []string) error {
			switch {
			case o.blocked && o.object != "":
				return usage("blocks are the same for all vault objects: leave --vault or --blocked out")
			case o.blocked:
				return o.listBlocked(ctx)
			}
			return o.run(ctx)
		}),
	}
	c.Flags().BoolVar(&o.blocked, "blocked", false, "what is blocked on this node, whatever the store has")
	c.Flags().StringVar(&o.consumer, "consumer", "", "only those of this `consumer`: its id, username or custom_id")
	c.Flags().Var(&o.expiresWithin, "expires-within", "only those that expire within this time, or have expired")
	c.MarkFlagsMutuallyExclusive("blocked", "consumer")
	c.MarkFlagsMutuallyExclusive("blocked", "expires-within")
	return c
}

func (o *list) run(ctx context.Context) error {
	var names []string
	if o.consumer != "" {
		who, err := o.Program.consumer(ctx, o.consumer)
		if err != nil {
			return err
		}
		names = who.Names
	}
	return o.with(func(v *manage.Vault) error {
		write, flush := o.writer(v)
		err := v.List(ctx, func(e manage.Entry) error {
			if names != nil && !e.Of(names...) || o.expiresWithin.Duration > 0 && !e.Expired(o.Now().Add(o.expiresWithin.Duration)) {
				return nil
			}
			return write(e)
		})
		return cmp.Or(err, flush())
	})
}

// writer writes entries, as lines of JSON or as a table.
func (o *list) writer(v *manage.Vault) (write func(manage.Entry) error, flush func() error) {
	if o.output == outputJSON {
		return func(e manage.Entry) error { return o.printJSON(&result{Vault: v.Name, Entry: e}) }, func() error { return nil }
	}
	t := o.newTable("ACCESS TOKEN", "FINGERPRINT", "CONSUMER", "STATE", "STORED AS", "UPDATED", "EXPIRES")
	return func(e manage.Entry) error {
		who := ""
		if e.Consumer != nil {
			who = shownConsumer(e.Consumer.ID, e.Consumer.Username)
		}
		t.row(e.AccessToken, e.Fingerprint, who, o.state(&e), e.Stored, shownTime(e.UpdatedAt), shownTime(e.ExpiresAt))
		return nil
	}, t.flush
}
