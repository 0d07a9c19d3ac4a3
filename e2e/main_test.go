package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"kong-vault-auth/e2e/build"
	"kong-vault-auth/e2e/vaultserver"
)

var (
	// plugins is the folder with the compiled plugins, vault-auth and
	// early-auth.
	plugins string
	// sharedVault serves every test that neither stops nor seals it.
	sharedVault *vaultserver.Server
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx := context.Background()
	if plugins, err = os.MkdirTemp("", "e2e-*"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(plugins)
	if err := build.Plugin(ctx, filepath.Join(plugins, "vault-auth"), raceEnabled); err != nil {
		return 1, err
	}
	if err := build.EarlyAuth(ctx, filepath.Join(plugins, "early-auth")); err != nil {
		return 1, err
	}
	sharedVault, err = vaultserver.Start(ctx, vaultserver.Options{
		Progress: func(line string) { fmt.Fprintln(os.Stderr, line) },
	})
	if err != nil {
		return 1, err
	}
	defer sharedVault.Close()
	return m.Run(), nil
}
