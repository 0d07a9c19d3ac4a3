package command

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"kong-vault-auth/manage"
)

// root is the tree of commands. cobra adds help and completion.
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

// group makes a command the parent of others. By itself it shows its help. Without the
// checks here, cobra would also show it, with status 0, for a subcommand that doesn't
// exist, and a script would not notice the mistake.
func group(c *cobra.Command, children ...*cobra.Command) *cobra.Command {
	c.Args = cobra.NoArgs
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	c.AddCommand(children...)
	return c
}

// span is the value of a flag for a duration, which may be in days: 90d, 1h30m.
type span struct{ time.Duration }

// Set implements pflag.Value.
func (s *span) Set(text string) (err error) {
	s.Duration, err = manage.ParseSpan(text)
	return err
}

// String implements pflag.Value.
func (s *span) String() string {
	if s.Duration == 0 {
		return ""
	}
	return s.Duration.String()
}

// Type implements pflag.Value.
func (*span) Type() string { return "duration" }
