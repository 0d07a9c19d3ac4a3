package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"kong-vault-auth/control"
	"kong-vault-auth/credential"
)

func (p *Program) vaultRefresh() *cobra.Command {
	var isToken bool
	c := &cobra.Command{
		Use:   "refresh NAME [ACCESS-TOKEN|FINGERPRINT]",
		Short: "Make the plugin server read changed credentials again",
		Long: `Have the plugin server forget one credential of a vault object, or all of them, so that
the next request is answered by what is in the store now. It is for changes that were
made by other means than this program: with "vault kv put", in Azure's portal, by
Terraform. Other commands that change a credential do this themselves.

An argument of 12 hex digits is taken for a fingerprint, as logs show it, unless --token
is given.`,
		Example: "  vault kv delete secret/kong-auth/q7nq2xlzt3w5j4xv\n" +
			"  " + p.Name + " vault refresh hcv q7nq2xlzt3w5j4xv\n" +
			"  " + p.Name + " vault refresh hcv",
		Args: cobra.RangeArgs(1, 2),
		RunE: p.run(func(ctx context.Context, args []string) error {
			reach, err := p.refresh(ctx, args, isToken)
			if err != nil {
				return err
			}
			if !reach.Here && (reach.Others == nil || !reach.Others.Connected) {
				return fmt.Errorf("%w at %s: %s", control.ErrNotRunning, control.Find(p.Getenv), reach)
			}
			if p.output == outputJSON {
				return p.printJSON(reach)
			}
			_, err = fmt.Fprintln(p.Stdout, reach)
			return err
		}),
	}
	c.Flags().BoolVar(&isToken, "token", false, "the argument is an access token, whatever it looks like")
	return c
}

func (p *Program) refresh(ctx context.Context, args []string, isToken bool) (control.Reach, error) {
	switch c := p.control(); {
	case len(args) == 1:
		return c.ChangedObject(ctx, args[0])
	case !isToken && credential.IsFingerprint(args[1]):
		return c.ChangedFingerprint(ctx, args[0], args[1])
	default:
		return c.Changed(ctx, args[0], args[1])
	}
}
