package command

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/term"

	"kong-vault-auth/azurevault"
	"kong-vault-auth/hashivault"
	"kong-vault-auth/secretstore"
)

// TestMain is the command itself where a script runs it.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"vault-auth": func() {
			p := &Program{
				Name: "vault-auth", Version: "1.2.3", Kinds: []secretstore.Kind{hashivault.Kind, azurevault.Kind},
				Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Terminal: term.IsTerminal(1),
				Getenv: os.Getenv, Now: time.Now,
			}
			os.Exit(p.Run(context.Background(), os.Args[1:]))
		},
		"vault-api": vaultAPI,
	})
}
