package command

import (
	"context"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

func (p *Program) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the program's version",
		Example: "  " + p.Name + " version\n" +
			"  " + p.Name + " version -o json",
		Args: cobra.NoArgs,
		RunE: p.run(func(context.Context, []string) error {
			if p.output == outputJSON {
				return p.printJSON(map[string]string{"version": p.Version, "go": runtime.Version()})
			}
			_, err := fmt.Fprintln(p.Stdout, p.Version)
			return err
		}),
	}
}
