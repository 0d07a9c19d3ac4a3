package command

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"kong-vault-auth/secretsocket"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/vault"
)

// secret is the parent of the commands for secrets other than credentials.
func (p *Program) secret() *cobra.Command {
	return group(&cobra.Command{
		Use:   "secret",
		Short: "Read secrets that references name",
	}, p.secretGet())
}

// secretTimeout limits the time for all the secrets of a command.
const secretTimeout = 30 * time.Second

func (p *Program) secretGet() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "get REFERENCE",
		Short: "Show the value of a reference such as {vault://azure/secret-name/foo}",
		Long: `Show the value of a reference, as "kong vault get" does, with the vault objects and the
login of this node's plugin server: those of VAULT_AUTH_VAULTS_FILE and of the KONG_VAULT_
variables. Neither Kong nor the plugin server need be running; a plugin server that runs is
asked first.

The value is written as it is, with a line end.`,
		Example: "  " + p.Name + " secret get '{vault://azure/secret-name/foo}'\n" +
			"  " + p.Name + " secret get hcv/hello/foo",
		Args: cobra.ExactArgs(1),
		RunE: p.run(func(ctx context.Context, args []string) error {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			return p.showSecret(ctx, args[0])
		}),
	}
	c.Flags().DurationVar(&timeout, "timeout", secretTimeout, "how long it may take")
	return c
}

func (p *Program) showSecret(ctx context.Context, reference string) error {
	if !secretstore.IsReference(reference) {
		reference = "{vault://" + reference + "}" // Kong accepts this short form too
	}
	if _, err := vault.ParseReference(reference); err != nil {
		return usageError{err}
	}
	secrets, stop, err := p.resolver()
	if err != nil {
		return err
	}
	defer stop()
	value, err := secrets.Get(ctx, reference)
	if err != nil {
		return err
	}
	if p.output == outputJSON {
		return p.printJSON(map[string]string{"reference": reference, "value": value})
	}
	_, err = fmt.Fprintln(p.Stdout, value)
	return err
}

// resolver makes a resolver with the vault objects of this node.
func (p *Program) resolver() (secrets *resolver, stop func(), err error) {
	policy, err := vault.ReadSecretPolicy(p.Getenv("VAULT_AUTH_SECRETS_POLICY"))
	if err != nil {
		return nil, nil, usage("VAULT_AUTH_SECRETS_POLICY: %w", err)
	}
	r := vault.NewRegistry(p.Kinds, vault.Options{
		Getenv: p.Getenv, UserAgent: "kong-vault-auth/" + p.Version, SecretPolicy: policy,
		SecretsSnapshot: p.Getenv("VAULT_AUTH_SECRETS_SNAPSHOT_FILE"), SecretsSnapshotKey: p.Getenv("VAULT_AUTH_SECRETS_SNAPSHOT_KEY_FILE"), ReadSnapshotOnly: true,
	})
	return &resolver{r.Secrets(), secretsocket.Find(p.Getenv)}, r.Close, nil
}

// resolver resolves references. It asks the plugin server first, which may have a value
// in memory that the store can't give now, and then the store.
type resolver struct {
	secrets *vault.Secrets
	socket  string // of the plugin server; empty: none
}

// Get returns the value of a reference.
func (r *resolver) Get(ctx context.Context, reference string) (string, error) {
	if r.socket != "" {
		if ref, ask, err := r.secrets.AskFor(reference); err == nil {
			if a, err := secretsocket.Ask(ctx, r.socket, ask); err == nil {
				return ref.Of(a.Value)
			}
		}
	}
	return r.secrets.Get(ctx, reference)
}
