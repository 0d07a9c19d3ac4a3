package command

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"kong-vault-auth/credential"
	"kong-vault-auth/credentialfile"
	"kong-vault-auth/manage"
)

// export is the command "credential export" with its flags.
type export struct {
	*credentials
	how    manage.Exporting
	format string
	file   string
}

func (cr *credentials) export() *cobra.Command {
	o := &export{credentials: cr}
	name := cr.Name + " credential export"
	c := &cobra.Command{
		Use:   "export",
		Short: "Write all credentials to a file that import reads",
		Long: `Write all credentials of the store to a file that "credential import" reads: to a new
one of mode 0600 with --file, or to standard output.

Secret tokens are written as hashes. Those of the store that don't look generated could be
guessed from their hash: they are reported on standard error and left out, and the exit
status is 1. --hash writes the hash all the same, and --plain, only with --file, each secret
token as the store has it.`,
		Example: "  " + name + " --file credentials.jsonl\n" +
			"  " + name + " --format csv --file credentials.csv\n" +
			"  " + name + " --plain --file credentials.jsonl",
		Args: cobra.NoArgs,
		RunE: cr.run(func(ctx context.Context, _ []string) error { return o.run(ctx) }),
	}
	f := c.Flags()
	f.StringVar(&o.format, "format", string(credentialfile.JSON), "`format` of the file: json, csv or kong")
	f.StringVar(&o.file, "file", "", "`file` to write, which must not exist")
	f.BoolVar(&o.how.Hash, "hash", false, "write hashes of all secret tokens, also of those that could be guessed")
	f.BoolVar(&o.how.Plain, "plain", false, "write the secret tokens that the store has in clear")
	c.MarkFlagsMutuallyExclusive("hash", "plain")
	return c
}

func (o *export) run(ctx context.Context) error {
	if o.how.Plain && o.file == "" {
		return usage("--plain writes secret tokens, so name a file with --file")
	}
	if _, err := credentialfile.NewWriter(io.Discard, credentialfile.Format(o.format)); err != nil {
		return usage("--format: %v", err)
	}
	return o.with(func(v *manage.Vault) error {
		if o.file == "" {
			return o.write(ctx, v, o.Stdout)
		}
		f, err := os.OpenFile(o.file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return usage("--file: %v", err)
		}
		err = o.write(ctx, v, f)
		return cmp.Or(err, f.Close())
	})
}

// write exports to out.
func (o *export) write(ctx context.Context, v *manage.Vault, out io.Writer) error {
	w, err := credentialfile.NewWriter(out, credentialfile.Format(o.format))
	if err != nil {
		return err
	}
	failed := 0
	err = v.Export(ctx, o.how, func(r *credential.Record) error {
		return w.Write(r)
	}, func(accessToken string, err error) {
		failed++
		fmt.Fprintf(o.Stderr, "%s: %s: %v\n", o.Name, clean(accessToken), err)
	})
	if err = cmp.Or(err, w.Close()); err != nil {
		return fmt.Errorf("the export is incomplete: %w", err)
	}
	if failed > 0 {
		return fmt.Errorf("%d credentials were left out", failed)
	}
	return nil
}
