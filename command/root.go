package command

import (
	"fmt"

	"github.com/spf13/cobra"
)

// root is the whole tree of commands. Those of cobra's, help and completion, are
// added by cobra.
func (p *Program) root() *cobra.Command {
	c := &cobra.Command{
		Use:   p.Name,
		Short: "Manage the credentials and vault objects of Kong's vault-auth plugin",
		Long: `Manage the credentials and vault objects of Kong's vault-auth plugin.

Without one of these commands the program is Kong's plugin server: see ` + p.Name + ` -help.

` + exitStatuses,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return p.checkOutput()
		},
	}
	c.SetIn(p.Stdin)
	c.SetOut(p.Stdout)
	c.SetErr(p.Stderr)
	c.PersistentFlags().StringVarP(&p.output, "output", "o", outputTable, "how to write results: table or json")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{outputTable, outputJSON}, cobra.ShellCompDirectiveNoFileComp))
	c.AddCommand(p.credential(), p.vault(), p.secret(), p.exec(), p.admin(), p.version())
	return c
}

// The values of --output.
const (
	outputTable = "table"
	outputJSON  = "json"
)

func (p *Program) checkOutput() error {
	if p.output != outputTable && p.output != outputJSON {
		return fmt.Errorf("--output is table or json, not %q", p.output)
	}
	return nil
}
