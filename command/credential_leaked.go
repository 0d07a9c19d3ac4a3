package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"kong-vault-auth/control"
	"kong-vault-auth/manage"
)

func (cr *credentials) leaked() *cobra.Command {
	o := &revoke{credentials: cr}
	return &cobra.Command{
		Use:   "leaked ACCESS_TOKEN...",
		Short: "Block credentials that have leaked, then revoke them",
		Long: `Block credentials that have leaked, so that they are refused at once, and then delete
them from the store. If the store can't be reached they stay blocked, and the command
can be repeated.`,
		Example: "  " + cr.Name + " credential leaked mobile-7f3a",
		Args:    cobra.MinimumNArgs(1),
		RunE: cr.run(func(ctx context.Context, args []string) error {
			for _, accessToken := range args {
				reach, err := cr.blocked(ctx, control.BlockRequest{AccessToken: accessToken})
				if err != nil {
					return err
				}
				if cr.output != outputJSON {
					fmt.Fprintf(cr.Stdout, "blocked %s: %s\n", accessToken, reach)
				}
			}
			err := cr.with(func(v *manage.Vault) error {
				for _, accessToken := range args {
					if err := cr.within(ctx, func(ctx context.Context) error { return o.one(ctx, v, accessToken) }); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("it is blocked, and not revoked: %w", err)
			}
			return nil
		}),
	}
}
