package command

import "github.com/spf13/cobra"

// group makes a command the parent of others. By itself it shows its help. cobra would
// also show it, with status 0, for a command that doesn't exist, and a script would take
// that for done.
func group(c *cobra.Command, children ...*cobra.Command) *cobra.Command {
	c.Args = cobra.NoArgs
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	c.AddCommand(children...)
	return c
}
