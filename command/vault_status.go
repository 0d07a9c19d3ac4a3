package command

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

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
				return json.NewEncoder(p.Stdout).Encode(all)
			}
			return writeStatus(p.Stdout, all, p.Now())
		}),
	}
}

// control is the plugin server of this node.
func (p *Program) control() *control.Client {
	c := control.NewClient(control.Find(p.Getenv))
	c.Alone = p.elsewhere()
	return c
}

// elsewhere are the other nodes, where no plugin server runs on this one.
func (p *Program) elsewhere() *control.Alone {
	if p.alone == nil {
		p.alone = &control.Alone{Getenv: p.Getenv, Objects: p.defined}
	}
	return p.alone
}

func writeStatus(out io.Writer, all []vault.Status, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "OBJECT\tSTATE\tLAST SUCCESS\tHOLD UNTIL\tCREDENTIALS\tLOOKUPS\tLOGIN ENDS")
	for _, s := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", s.Object, s.State, moment(s.LastSuccess, now), moment(s.HoldUntil, now),
			s.Credentials, budget(s.Lookups), moment(s.LoginEnds, now))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, s := range all {
		switch {
		case s.Error != "" && s.ErrorAt.IsZero():
			fmt.Fprintf(out, "\n%s: %s\n", s.Object, s.Error)
		case s.Error != "":
			fmt.Fprintf(out, "\n%s, %s: %s\n", s.Object, moment(s.ErrorAt, now), s.Error)
		}
	}
	return nil
}

// moment is a time as people read it.
func moment(t, now time.Time) string {
	switch d := t.Sub(now).Round(time.Second); {
	case t.IsZero():
		return "-"
	case d <= 0:
		return (-d).String() + " ago"
	default:
		return "in " + d.String()
	}
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
