package command

import (
	"context"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"kong-vault-auth/azurevault"
	"kong-vault-auth/hashivault"
	"kong-vault-auth/secretstore"
)

// TestMain is the command itself where a script runs it.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"vault-auth": vaultAuth, "vault-api": vaultAPI})
}

// vaultAuth is the command, as main runs it. What it writes goes to a file beside, for
// checkSecrets. TERMINAL says that standard output is a terminal, and DAYS_LATER that
// it is so many days later.
func vaultAuth() {
	written, err := os.CreateTemp(os.Getenv("OUTPUT"), "*")
	if err != nil {
		panic(err)
	}
	now := time.Now
	if later := os.Getenv("DAYS_LATER"); later != "" {
		var days int
		if _, err := fmt.Sscan(later, &days); err != nil {
			panic(err)
		}
		now = func() time.Time { return time.Now().AddDate(0, 0, days) }
	}
	p := &Program{
		Name: "vault-auth", Version: "1.2.3", Kinds: []secretstore.Kind{hashivault.Kind, azurevault.Kind},
		Stdin: os.Stdin, Stdout: io.MultiWriter(os.Stdout, written), Stderr: io.MultiWriter(os.Stderr, written),
		Terminal: os.Getenv("TERMINAL") != "", Getenv: os.Getenv, Now: now,
	}
	os.Exit(p.Run(context.Background(), os.Args[1:]))
}
