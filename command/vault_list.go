package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"kong-vault-auth/vault"
)

// listedVault is a vault object as it is listed.
type listedVault struct {
	Name     string   `json:"name"`
	Kind     string   `json:"kind"`
	Place    string   `json:"place"`
	TTL      float64  `json:"ttl"` // seconds
	Warnings []string `json:"warnings,omitempty"`
	Problem  string   `json:"problem,omitempty"`
}

func (p *Program) vaultList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the vault objects of this node",
		Example: "  " + p.Name + " vault list\n" +
			"  " + p.Name + " vault list -o json",
		Args: cobra.NoArgs,
		RunE: p.run(func(context.Context, []string) error {
			d, err := p.defined()
			if err != nil {
				return err
			}
			return p.listVaults(d)
		}),
	}
}

func (p *Program) listVaults(d *vault.Defined) error {
	t := p.newTable("NAME", "KIND", "PLACE", "TTL", "PROBLEM")
	for _, name := range d.Names() {
		o, err := d.Object(name)
		if err != nil {
			return err
		}
		warnings, problem := d.Problems(o)
		l := listedVault{Name: name, Kind: o.Config.Kind(), Place: o.Config.Place(), TTL: ttlOf(o).Seconds(), Warnings: warnings}
		if problem != nil {
			l.Problem = problem.Error()
		}
		if p.output == outputJSON {
			if err := p.printJSON(l); err != nil {
				return err
			}
			continue
		}
		t.row(l.Name, l.Kind, l.Place, ttlOf(o).String(), l.Problem)
	}
	if len(d.Names()) == 0 {
		_, err := d.Object("")
		fmt.Fprintln(p.Stderr, err)
	}
	if p.output == outputJSON {
		return nil
	}
	return t.flush()
}
