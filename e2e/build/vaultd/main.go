// Command vaultd compiles the Vault server of the tests, unless that was done
// before, and prints its path.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"kong-vault-auth/e2e/build"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	path, err := build.Vaultd(ctx, func(s string) { fmt.Fprintln(os.Stderr, s) })
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(path)
}
