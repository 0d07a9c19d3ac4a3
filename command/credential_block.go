package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/spf13/cobra"

	"kong-vault-auth/blocklist"
	"kong-vault-auth/control"
	"kong-vault-auth/credential"
	"kong-vault-auth/fleet"
	"kong-vault-auth/kongadmin"
	"kong-vault-auth/manage"
)

// block is the commands "credential block" and "credential unblock" with their flags.
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

A consumer is looked up in Kong by id, username or custom_id if KONG_ADMIN_URL is set, and
blocked by its id. Otherwise, and if Kong doesn't answer, the name is taken for an id or a
username as it is, and the output says so.

The plugin server of this node keeps the list, in the signed file that
` + blocklist.FileVariable + ` names. If none runs, the command writes the file itself.
"` + cr.Name + ` credential list --blocked" shows the list.`,
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
		Use:   "unblock ACCESS_TOKEN|FINGERPRINT | --consumer CONSUMER",
		Short: "Lift a block",
		Long: `Lift a block that was made with the same argument. Blocks of a consumer are lifted by each
of its names that Kong knows, if KONG_ADMIN_URL is set.`,
		Example: "  " + name + " mobile-7f3a\n  " + name + " --consumer mobile-app",
	})
}

// command adds what both commands have.
func (o *block) command(c *cobra.Command) *cobra.Command {
	c.Args = cobra.MaximumNArgs(1)
	c.RunE = o.run(o.do)
	c.Flags().StringVar(&o.consumer, "consumer", "", "all those of this `consumer`: its id or username, or its custom_id if KONG_ADMIN_URL is set")
	c.Flags().BoolVar(&o.isToken, "token", false, "the argument is an access token, whatever it looks like")
	return c
}

func (o *block) do(ctx context.Context, args []string) error {
	if (o.consumer == "") == (len(args) == 0) {
		return usage("name an access token or a fingerprint, or a consumer with --consumer")
	}
	if o.consumer != "" {
		return o.ofConsumer(ctx)
	}
	q := o.request()
	if !o.isToken && credential.IsFingerprint(args[0]) {
		q.Fingerprint = args[0]
	} else {
		q.AccessToken = args[0]
	}
	reach, err := o.blocked(ctx, q)
	if err != nil {
		return err
	}
	return o.printBlock(blockResult{Reach: reach})
}

// request is a request with what the flags say, for no credential or consumer yet.
func (o *block) request() control.BlockRequest {
	return control.BlockRequest{Lift: o.lift, For: control.Seconds(o.lasts.Seconds())}
}

// ofConsumer blocks a consumer: its id, which stays the same when the consumer is
// renamed, or its name if Kong can't be asked.
func (o *block) ofConsumer(ctx context.Context) error {
	who, err := o.Program.consumer(ctx, o.consumer)
	note := ""
	switch {
	case errors.As(err, new(*kongadmin.Failure)): // it must not prevent a block
		note = "not checked: " + err.Error()
		who, err = manage.FindConsumer(ctx, nil, o.consumer)
	case errors.Is(err, kongadmin.ErrNoConsumer) && o.lift: // it was deleted
		who, err = manage.FindConsumer(ctx, nil, o.consumer)
	}
	if err != nil {
		return err
	}
	if note == "" {
		note = consumerNote(who)
	}
	if !who.Checked {
		note += "; the name was taken for an id or a username"
	}
	r := blockResult{Consumer: &manage.Consumer{ID: who.ID, Username: who.Username}, ConsumerChecked: &who.Checked, note: note}
	for _, q := range o.requests(who) {
		if r.Reach, err = o.blocked(ctx, q); err != nil {
			return err
		}
	}
	return o.printBlock(r)
}

// requests are the requests for a consumer. A block may have been made with any of its
// names, so to lift it, there is a request for each.
func (o *block) requests(who *manage.Found) (all []control.BlockRequest) {
	q := o.request()
	if !o.lift {
		if q.Consumer = cmp.Or(who.ID, who.Username); q.Consumer != o.consumer {
			q.Label = o.consumer
		}
		return []control.BlockRequest{q}
	}
	names := append([]string{o.consumer}, who.Names...)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if q.Consumer = name; name != "" {
			all = append(all, q)
		}
	}
	return all
}

// blockResult is the result of a block, or of lifting one.
type blockResult struct {
	control.Reach
	Consumer        *manage.Consumer `json:"consumer,omitempty"`
	ConsumerChecked *bool            `json:"consumer_checked,omitempty"`
	note            string
}

func (o *block) printBlock(r blockResult) error {
	if o.output == outputJSON {
		return o.printJSON(r)
	}
	did := "blocked"
	if o.lift {
		did = "no longer blocked"
	}
	if r.Consumer != nil {
		did += fmt.Sprintf(" consumer %s (%s)", clean(shownConsumer(r.Consumer.ID, r.Consumer.Username)), r.note)
	}
	_, err := fmt.Fprintf(o.Stdout, "%s: %s\n", did, r.Reach)
	return err
}

// blocked makes the plugin server of this node add or lift a block. If none runs, it
// writes the file that the next one reads.
func (p *Program) blocked(ctx context.Context, q control.BlockRequest) (control.Reach, error) {
	reach, err := p.control().Block(ctx, q)
	if !errors.Is(err, control.ErrNotRunning) {
		return reach, err
	}
	l, openErr := p.blocks()
	if errors.Is(openErr, control.ErrNoBlocks) && p.Getenv(fleet.URLVariable) != "" {
		return p.blockedElsewhere(ctx, q)
	}
	if openErr != nil {
		return reach, fmt.Errorf("%w; and the list can't be written: %w", err, openErr)
	}
	e, err := q.Entry(l, p.Now())
	if err != nil {
		return reach, err
	}
	if _, err = l.Add(e); err != nil {
		return control.Reach{Block: true}, err
	}
	return p.elsewhere().Blocked(ctx, e), nil
}

// blockedElsewhere reports a block only to other nodes, because this machine keeps no
// list.
func (p *Program) blockedElsewhere(ctx context.Context, q control.BlockRequest) (reach control.Reach, err error) {
	if _, err := fleet.ParseSettings(p.Getenv); err != nil {
		return reach, usageError{err}
	}
	keys, err := blocklist.ReadKeys(p.Getenv(blocklist.KeyVariable))
	if err != nil {
		return reach, fmt.Errorf("%s: %w", blocklist.KeyVariable, err)
	}
	e, err := q.Entry(keys, p.Now())
	if err != nil {
		return reach, err
	}
	reach = p.elsewhere().Blocked(ctx, e)
	if !reach.Others.Connected {
		return reach, fmt.Errorf("%w, and other nodes could not be told: nothing has changed: %s", control.ErrNotRunning, reach.Problem)
	}
	return reach, nil
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

// listBlocked lists what is blocked on this node. It asks no store.
func (p *Program) listBlocked(ctx context.Context) error {
	all, err := p.control().Blocks(ctx)
	if errors.Is(err, control.ErrNotRunning) {
		var l *blocklist.List
		if l, err = p.blocks(); err == nil {
			all = control.Active(l, p.Now())
		}
	}
	if err != nil {
		return err
	}
	return p.printBlocks(all)
}

func (p *Program) printBlocks(all []blocklist.Entry) error {
	if p.output == outputJSON {
		if all == nil {
			all = []blocklist.Entry{}
		}
		return p.printJSON(all)
	}
	t := p.newTable("BLOCKED", "BY", "SINCE", "UNTIL")
	for _, e := range all {
		value := e.Value
		switch {
		case e.Kind == blocklist.ByToken:
			value = "digest " + value[:12]
		case e.Label != "":
			value = fmt.Sprintf("%s (%s)", e.Label, value)
		}
		until := "it is lifted"
		if !e.Until.IsZero() {
			until = moment(e.Until, p.Now())
		}
		t.row(value, string(e.Kind), moment(e.At, p.Now()), until)
	}
	return t.flush()
}
