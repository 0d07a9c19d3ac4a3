package command

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"kong-vault-auth/azurevault"
	"kong-vault-auth/hashivault"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/vault"
)

// TestMain makes the test binary the programs that scripts run.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"vault-auth": vaultAuth, "vault-api": vaultAPI, "present": present})
}

// vaultAuth is the command, as main runs it. What it writes also goes to a file, for
// checkSecrets. If TERMINAL is set, standard output counts as a terminal; DAYS_LATER moves
// the clock forward.
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
		Terminal: os.Getenv("TERMINAL") != "", Getenv: os.Getenv, Environ: os.Environ, Now: now,
	}
	os.Exit(p.Run(context.Background(), os.Args[1:]))
}

// present is a program for scripts that presents a pair to the plugin, as a client does,
// and fails if it is refused:
//
//	present kong-auth mobile-1 $SECRET
func present() {
	r := vault.NewRegistry([]secretstore.Kind{hashivault.Kind, azurevault.Kind}, vault.Options{
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), LookupTimeout: 20 * time.Second,
	})
	defer r.Close()
	o, _, err := r.Open("plugin", vault.Config{Vault: os.Args[1]})
	if err == nil {
		_, err = o.Lookup(context.Background(), os.Args[2], os.Args[3], nil)
	}
	fmt.Fprintln(os.Stderr, "present:", err)
	if err != nil {
		os.Exit(1)
	}
}
