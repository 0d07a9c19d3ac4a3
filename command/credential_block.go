package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"kong-vault-auth/blocklist"
	"kong-vault-auth/control"
	"kong-vault-auth/credential"
)

// block is what "credential block" and its opposite are told.
type block struct {
	*credentials
	consumer string
	isToken  bool
	lasts    span
	lift     bool
}

func (cr *credentials) block() *cobra.Command {
	o := &block{credentials: cr}
	name := cr.Name + " credential block"
	c := o.command(&cobra.Command{
		Use:   "block ACCESS_TOKEN|FINGERPRINT | --consumer CONSUMER",
		Short: "Refuse a credential at once, whatever its store says",
		Long: `Refuse a credential, or all those of a consumer, at once and whatever the store says; no
store is asked, so it works while one is down. An access token is blocked in all vault
objects. An argument of 12 hex digits is taken for a fingerprint, as logs show it, unless
--token is given.

The plugin server of this node keeps the list, in the signed file that
` + blocklist.FileVariable + ` names. If none runs, the command writes the file itself.`,
		Example: "  " + name + " mobile-7f3a\n" +
			"  " + name + " 4f1c0a9be2d7 --for 1h\n" +
			"  " + name + " --consumer mobile-app",
	})
	c.Flags().Var(&o.lasts, "for", "for how long: 1h, 7d; until it is lifted if left out")
	return c
}

func (cr *credentials) unblock() *cobra.Command {
	name := cr.Name + " credential unblock"
	return (&block{credentials: cr, lift: true}).command(&cobra.Command{
		Use:     "unblock ACCESS_TOKEN|FINGERPRINT | --consumer CONSUMER",
		Short:   "Lift a block",
		Long:    `Lift a block that was made with the same argument.`,
		Example: "  " + name + " mobile-7f3a\n  " + name + " --consumer mobile-app",
	})
}

// command adds what both have.
func (o *block) command(c *cobra.Command) *cobra.Command {
	c.Args = cobra.MaximumNArgs(1)
	c.RunE = o.run(o.do)
	c.Flags().StringVar(&o.consumer, "consumer", "", "all those of this `consumer`: the id or username that Kong knows")
	c.Flags().BoolVar(&o.isToken, "token", false, "the argument is an access token, whatever it looks like")
	return c
}

func (o *block) do(ctx context.Context, args []string) error {
	if (o.consumer == "") == (len(args) == 0) {
		return usage("name an access token or a fingerprint, or a consumer with --consumer")
	}
	q := control.BlockRequest{Consumer: o.consumer, Lift: o.lift, For: control.Seconds(o.lasts.Seconds())}
	switch {
	case len(args) == 0:
	case !o.isToken && credential.IsFingerprint(args[0]):
		q.Fingerprint = args[0]
	default:
		q.AccessToken = args[0]
	}
	reach, err := o.blocked(ctx, q)
	if err != nil {
		return err
	}
	if o.output == outputJSON {
		return o.printJSON(reach)
	}
	did := "blocked"
	if o.lift {
		did = "no longer blocked"
	}
	_, err = fmt.Fprintf(o.Stdout, "%s: %s\n", did, reach)
	return err
}

// blocked has the plugin server of this node take a block in, or writes it to the file
// for the next one.
func (p *Program) blocked(ctx context.Context, q control.BlockRequest) (control.Reach, error) {
	reach, err := p.control().Block(ctx, q)
	if !errors.Is(err, control.ErrNotRunning) {
		return reach, err
	}
	l, openErr := p.blocks()
	if openErr != nil {
		return reach, fmt.Errorf("%w; and the list can't be written: %w", err, openErr)
	}
	e, err := q.Entry(l, p.Now())
	if err != nil {
		return reach, err
	}
	_, err = l.Add(e)
	return control.Reach{Block: true}, err
}

// blocks is the list in the file that the environment names.
func (p *Program) blocks() (*blocklist.List, error) {
	file := p.Getenv(blocklist.FileVariable)
	if file == "" {
		return nil, control.ErrNoBlocks
	}
	if err := blocklist.CheckSettings(p.Getenv); err != nil {
		return nil, err
	}
	l := blocklist.Open(file, p.Getenv(blocklist.KeyVariable), slog.New(slog.DiscardHandler))
	return l, l.Problem()
}

func (cr *credentials) blocksCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "blocks",
		Short:   "List what is blocked",
		Long:    `List what is blocked on this node. An access token is shown as a digest.`,
		Example: "  " + cr.Name + " credential blocks\n  " + cr.Name + " credential blocks -o json",
		Args:    cobra.NoArgs,
		RunE: cr.run(func(ctx context.Context, _ []string) error {
			all, err := cr.control().Blocks(ctx)
			if errors.Is(err, control.ErrNotRunning) {
				var l *blocklist.List
				if l, err = cr.blocks(); err == nil {
					all = control.Active(l, cr.Now())
				}
			}
			if err != nil {
				return err
			}
			return cr.printBlocks(all)
		}),
	}
}

func (p *Program) printBlocks(all []blocklist.Entry) error {
	if p.output == outputJSON {
		if all == nil {
			all = []blocklist.Entry{}
		}
		return p.printJSON(all)
	}
	w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "BLOCKED\tBY\tSINCE\tUNTIL")
	for _, e := range all {
		value := e.Value
		if e.Kind == blocklist.ByToken {
			value = "digest " + value[:12]
		}
		until := "it is lifted"
		if !e.Until.IsZero() {
			until = moment(e.Until, p.Now())
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", value, e.Kind, moment(e.At, p.Now()), until)
	}
	return w.Flush()
}
