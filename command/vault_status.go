package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"kong-vault-auth/control"
	"kong-vault-auth/vault"
)

func (p *Program) vaultStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what this node's plugin server knows of its vault objects",
		Long: `Show what this node's plugin server knows of its vault objects: whether the store
answers, when it last did, until when known clients are safe during an outage, the
budget of lookups, when the login ends unless it is renewed, and the last error with
its remedy.

The command asks the running plugin server over its control socket, which lets in its
own user and root. ` + control.Variable + ` names the socket if it is not at a usual place.`,
		Example: "  " + p.Name + " vault status\n" +
			"  " + p.Name + " vault status -o json | jq '.[] | select(.state == \"failing\")'",
		Args: cobra.NoArgs,
		RunE: p.run(func(ctx context.Context, _ []string) error {
			all, err := p.control().Status(ctx)
			if err != nil {
				return err
			}
			if p.output == outputJSON {
				if all == nil {
					all = []vault.Status{}
				}
				return p.printJSON(all)
			}
			return p.printStatus(all)
		}),
	}
}

func (p *Program) printStatus(all []vault.Status) error {
	now := p.Now()
	t := p.newTable("OBJECT", "STATE", "LAST SUCCESS", "HOLD UNTIL", "CREDENTIALS", "LOOKUPS", "LOGIN ENDS")
	for _, s := range all {
		t.row(s.Object, string(s.State), moment(s.LastSuccess, now), moment(s.HoldUntil, now), fmt.Sprint(s.Credentials), budget(s.Lookups), moment(s.LoginEnds, now))
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, s := range all {
		switch {
		case s.Error != "" && s.ErrorAt.IsZero():
			fmt.Fprintf(p.Stdout, "\n%s: %s\n", s.Object, s.Error)
		case s.Error != "":
			fmt.Fprintf(p.Stdout, "\n%s, %s: %s\n", s.Object, moment(s.ErrorAt, now), s.Error)
		}
	}
	return nil
}

func budget(l vault.LookupsStatus) string {
	if l.PerSecond == 0 {
		return "-"
	}
	s := fmt.Sprintf("%d of %d/s left", l.Permits, l.PerSecond)
	if l.Waiting > 0 {
		s += fmt.Sprintf(", %d waiting", l.Waiting)
	}
	return s
}
