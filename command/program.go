package command

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"kong-vault-auth/control"
	"kong-vault-auth/secretstore"
)

// Program is what a command needs from its environment.
type Program struct {
	Name     string // of the program, for help and messages
	Version  string
	Kinds    []secretstore.Kind // the kinds of secret store
	Stdin    io.Reader
	Stdout   io.Writer
	Stderr   io.Writer
	Terminal bool                // Stdout is a terminal, so that a secret may be shown on it
	Getenv   func(string) string // the environment
	Environ  func() []string     // all of it
	Now      func() time.Time

	alone   *control.Alone // see elsewhere
	output  string         // --output
	started bool           // the command line was accepted, and the command runs
}

// Names reports whether the first of these arguments is a subcommand.
func (p *Program) Names(args []string) bool {
	if len(args) == 0 {
		return false
	}
	if args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd {
		return true
	}
	root := p.root()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(args...)
	for _, c := range root.Commands() {
		if c.Name() == args[0] || c.HasAlias(args[0]) {
			return true
		}
	}
	return false
}

// Run runs a command line and returns the exit status.
func (p *Program) Run(ctx context.Context, args []string) int {
	root := p.root()
	root.SetArgs(args)
	c, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(p.Stderr, "%s: %v\n", p.Name, err)
	if !p.started {
		fmt.Fprintf(p.Stderr, "See '%s --help'.\n", c.CommandPath())
		return exitUsage
	}
	return exitStatus(err)
}

// run makes f a function for cobra. Errors before f is called concern the command line.
func (p *Program) run(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		p.started = true
		return f(c.Context(), args)
	}
}

// control is the client of this node's plugin server.
func (p *Program) control() *control.Client {
	c := control.NewClient(control.Find(p.Getenv))
	c.Alone = p.elsewhere()
	return c
}

// elsewhere reports changes to the other nodes if no plugin server runs on this one.
func (p *Program) elsewhere() *control.Alone {
	if p.alone == nil {
		p.alone = &control.Alone{Getenv: p.Getenv, Objects: p.defined}
	}
	return p.alone
}
