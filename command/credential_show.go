package command

import (
	"context"

	"github.com/spf13/cobra"

	"kong-vault-auth/manage"
)

func (cr *credentials) show() *cobra.Command {
	return &cobra.Command{
		Use:     "show ACCESS_TOKEN",
		Short:   "Show a credential, without its secret token",
		Example: "  " + cr.Name + " credential show mobile-7f3a",
		Args:    cobra.ExactArgs(1),
		RunE: cr.run(func(ctx context.Context, args []string) error {
			return cr.with(func(v *manage.Vault) error {
				return cr.within(ctx, func(ctx context.Context) error {
					e, err := v.Show(ctx, args[0])
					if err != nil {
						return err
					}
					return cr.print(&result{Vault: v.Name, Entry: *e})
				})
			})
		}),
	}
}
