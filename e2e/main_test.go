// Package e2e tests everything together: the compiled plugin, a real Vault server, an upstream
// and a gateway. The gateway is kongtest's, or with E2E_KONG=/path/to/kong a genuine Kong. The
// scenarios are the same; where the two differ, a test says so in its log. VAULT_BIN names a
// vault program to use instead of the one that is built from e2e/vaultd.
package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
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

// raceDetector reports whether the tests are compiled with it, as the plugin is then too.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func run(m *testing.M) (code int, err error) {
	ctx := context.Background()
	if plugins, err = os.MkdirTemp("", "e2e-*"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(plugins)
	if err := build.Plugin(ctx, filepath.Join(plugins, "vault-auth"), raceDetector()); err != nil {
		return 1, err
	}
	if err := build.Program(ctx, "e2e/earlyauth", filepath.Join(plugins, "early-auth")); err != nil {
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
