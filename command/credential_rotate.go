package command

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"kong-vault-auth/manage"
)

// rotate is the command "credential rotate" with its flags.
type rotate struct {
	*credentials
	secret    secretFlags
	grace     span
	olderThan span
	plain     bool
	hash      bool
	dryRun    bool
}

func (cr *credentials) rotate() *cobra.Command {
	o := &rotate{credentials: cr}
	name := cr.Name + " credential rotate"
	c := &cobra.Command{
		Use:   "rotate ACCESS_TOKEN | --older-than TIME",
		Short: "Give credentials another secret token",
		Long: `Give another secret token to a credential, or to all whose secret token is older than a time.

With --grace the old secret token keeps working for that long, at most 7 days; without,
it is refused at once. The record stays as it is otherwise, and keeps the secret token as
it did before: as a hash, or in clear.

With --older-than, one line is written for each credential that is due, as JSON where
standard output is not a terminal. It may be stopped at any time: started again, it continues
with what is still due. In --secret-file the last line of an access token counts. A
credential that can't be rotated is reported, the others are rotated, and the exit status
is 1.`,
		Example: "  " + name + " mobile-7f3a --grace 1h\n" +
			"  " + name + " mobile-7f3a --grace 24h --wrap\n" +
			"  " + name + " --older-than 90d --grace 7d --dry-run\n" +
			"  " + name + " --older-than 90d --grace 7d --secret-file rotated.jsonl",
		Args: cobra.MaximumNArgs(1),
		RunE: cr.run(o.run),
	}
	f := c.Flags()
	o.secret.add(f)
	f.Var(&o.grace, "grace", "how long the old secret token still works; at most 7d")
	f.Var(&o.olderThan, "older-than", "rotate all credentials whose secret token is older than this")
	f.BoolVar(&o.plain, "plain", false, "store the secret token itself, as Kong Enterprise needs it")
	f.BoolVar(&o.hash, "hash", false, "store only the secret token's hash")
	f.BoolVar(&o.dryRun, "dry-run", false, "with --older-than, say what would be rotated and change nothing")
	c.MarkFlagsMutuallyExclusive("plain", "hash")
	return c
}

func (o *rotate) run(ctx context.Context, args []string) error {
	all := o.olderThan.Duration > 0
	how := manage.Rotation{Grace: o.grace.Duration}
	switch {
	case o.plain:
		how.Stored = manage.StoredPlain
	case o.hash:
		how.Stored = manage.StoredHash
	}
	switch {
	case all == (len(args) == 1):
		return usage("name an access token, or an age with --older-than")
	case how.Check() != nil:
		return usage("--grace: %v", how.Check())
	case o.dryRun && !all:
		return usage("--dry-run is for --older-than")
	case all && o.grace.Duration >= o.olderThan.Duration:
		return usage("--grace must be shorter than --older-than: the next rotation would end it early")
	}
	if !o.dryRun {
		if err := o.secret.check(o.Program); err != nil {
			return err
		}
	}
	return o.with(func(v *manage.Vault) error {
		if all {
			return o.due(ctx, v, how)
		}
		return o.within(ctx, func(ctx context.Context) error {
			h, err := o.secret.open(ctx, v)
			if err != nil {
				return err
			}
			i, err := v.Rotate(ctx, args[0], how, h.deliver)
			if err := cmp.Or(err, h.close()); err != nil {
				return err
			}
			r := o.secret.issued(v, i, h)
			r.Reach = o.changed(ctx, v, i.AccessToken)
			return o.print(r)
		})
	})
}

// outcome is the result for one credential of many.
type outcome struct {
	*result
	Result string `json:"result"` // rotated, due, skipped or failed
	Error  string `json:"error,omitempty"`
}

// due rotates the credentials that are due. It reads the whole listing before it writes,
// because a rotation changes what is listed.
func (o *rotate) due(ctx context.Context, v *manage.Vault, how manage.Rotation) error {
	h := &handover{close: func() error { return nil }}
	if !o.dryRun {
		var err error
		if h, err = o.secret.open(ctx, v); err != nil {
			return err
		}
	}
	var found []outcome
	err := v.List(ctx, func(e manage.Entry) error {
		due, why := manage.Due(e, o.olderThan.Duration, o.Now())
		if due || why != "" {
			found = append(found, outcome{result: &result{Vault: v.Name, Entry: e}, Result: map[bool]string{true: "due", false: "skipped"}[due], Error: why})
		}
		return nil
	})
	if err != nil {
		return cmp.Or(err, h.close())
	}
	if !slices.ContainsFunc(found, func(o outcome) bool { return o.Result == "due" }) {
		fmt.Fprintln(o.Stderr, "no credential is due for rotation: none has a secret token older than --older-than")
	}
	failed := 0
	for i := range found {
		if found[i].Result == "due" && !o.dryRun {
			if err := o.one(ctx, v, how, h, &found[i]); err != nil {
				failed++
			}
		}
		if err := o.report(found[i]); err != nil {
			return cmp.Or(err, h.close())
		}
		if ctx.Err() != nil {
			return cmp.Or(ctx.Err(), h.close())
		}
	}
	if failed > 0 {
		err = fmt.Errorf("%d of %d credentials could not be rotated", failed, len(found))
	}
	return cmp.Or(err, h.close())
}

// one rotates one of many.
func (o *rotate) one(ctx context.Context, v *manage.Vault, how manage.Rotation, h *handover, out *outcome) error {
	return o.within(ctx, func(ctx context.Context) error {
		h.wrapping = ""
		i, err := v.Rotate(ctx, out.AccessToken, how, h.deliver)
		if err != nil {
			out.Result, out.Error = "failed", err.Error()
			return err
		}
		out.Result, out.result = "rotated", o.secret.issued(v, i, h)
		out.Reach = o.changed(ctx, v, i.AccessToken)
		return nil
	})
}

// report writes the result for one credential.
func (o *rotate) report(out outcome) error {
	if o.output == outputJSON || !o.Terminal {
		return o.printJSON(out)
	}
	line := fmt.Sprintf("%-8s %s", out.Result, out.AccessToken)
	for _, more := range []string{out.SecretToken, out.WrappingToken, out.Error} {
		if more != "" {
			line += "  " + clean(more)
		}
	}
	_, err := fmt.Fprintln(o.Stdout, line)
	return err
}
