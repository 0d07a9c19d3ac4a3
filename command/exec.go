package command

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"kong-vault-auth/secretstore"
	"kong-vault-auth/vault"
)

func (p *Program) exec() *cobra.Command {
	var keep bool
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "exec [flags] -- COMMAND [ARG...]",
		Short: "Run a command with the references in its environment resolved",
		Long: `Run a command, Kong's start above all, with the references in its environment resolved.
A variable whose whole value is a reference such as {vault://azure/pg/password} gets the
secret's value instead. The command replaces this program, so signals reach it directly,
and the exit status is its own.

The vault objects and the login are those of this node's plugin server: those of
VAULT_AUTH_VAULTS_FILE and of the KONG_VAULT_ variables. The plugin server is asked first, if
it runs, and then the stores; if they can't answer, the snapshot is used that
VAULT_AUTH_SECRETS_SNAPSHOT_FILE names. References to Kong's vault env are left to Kong, and
so are values that only contain a reference.

If a reference can't be resolved, the command is not started.

` + exitStatuses,
		Example: "  KONG_PG_PASSWORD='{vault://azure/pg/password}' " + p.Name + " exec -- kong start\n" +
			"  " + p.Name + " exec -- /docker-entrypoint.sh kong docker-start",
		Args: cobra.MinimumNArgs(1),
		RunE: p.run(func(ctx context.Context, args []string) error {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			program, err := exec.LookPath(args[0])
			if err != nil {
				return usageError{err}
			}
			env, err := p.resolved(ctx, p.Environ())
			if err != nil && !keep {
				return fmt.Errorf("%s is not started: %w", args[0], err)
			}
			if err != nil {
				fmt.Fprintf(p.Stderr, "%s: left unresolved: %v\n", p.Name, err)
			}
			return fmt.Errorf("%s: %w", program, syscall.Exec(program, args, env)) // it returns only if it fails
		}),
	}
	c.Flags().SetInterspersed(false) // flags behind the command are the command's
	c.Flags().BoolVar(&keep, "keep-unresolved", false, "start the command even if references can't be resolved, and leave these as they are")
	c.Flags().DurationVar(&timeout, "timeout", secretTimeout, "how long all references may take")
	return c
}

// resolved is an environment with the values of its references. The error names each
// variable that can't be resolved; these keep their references.
func (p *Program) resolved(ctx context.Context, environ []string) ([]string, error) {
	secrets, stop, err := p.resolver()
	if err != nil {
		return environ, err
	}
	defer stop()
	env := make([]string, len(environ))
	var problems []error
	for i, variable := range environ {
		env[i] = variable
		name, reference, _ := strings.Cut(variable, "=")
		if !isReference(reference) {
			continue
		}
		value, err := valueFor(ctx, secrets, reference)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
			continue
		}
		env[i] = name + "=" + value
	}
	return env, errors.Join(problems...)
}

func valueFor(ctx context.Context, secrets *resolver, reference string) (string, error) {
	if _, err := vault.ParseReference(reference); err != nil {
		return "", usageError{err}
	}
	value, err := secrets.Get(ctx, reference)
	if err == nil && strings.ContainsRune(value, 0) {
		err = errors.New("the secret holds a zero byte, which no variable can")
	}
	return value, err
}

// isReference reports whether a variable's value is one reference, and not one to Kong's
// vault env. A list of several references doesn't count.
func isReference(value string) bool {
	if !secretstore.IsReference(value) || strings.Count(value, "{") > 1 {
		return false
	}
	r, err := vault.ParseReference(value)
	return err != nil || r.Vault != "env"
}
