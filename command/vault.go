package command

import "github.com/spf13/cobra"

// vault is the parent of the commands for vault objects.
func (p *Program) vault() *cobra.Command {
	return group(&cobra.Command{
		Use:   "vault",
		Short: "List, check and refresh vault objects, the connections to secret stores",
	}, p.vaultCheck(), p.vaultList(), p.vaultRefresh(), p.vaultStatus())
}
