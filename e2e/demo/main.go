// Command demo shows vault-auth at work, on loopback only: it starts a Vault
// server, or with STORE=azure in the environment a simulator of Azure Key Vault,
// an upstream and a gateway with the compiled plugin, stores a credential, and sends a handful
// of requests, each shown as the curl that does the same. Then it stays up for the reader's
// own requests, until Ctrl-C; with DEMO=once it ends after the tour, with status 1 if an
// answer was not as announced.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"kong-vault-auth/e2e/build"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, os.Getenv("STORE"), os.Getenv("DEMO") == "once"); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, kind string, once bool) (err error) {
	root, err := build.Root()
	if err != nil {
		return err
	}
	s, err := setUp(ctx, out, filepath.Join(root, "bin", "vault-auth"), kind)
	if err != nil {
		return err
	}
	defer s.stop()
	if err := s.tour(ctx); err != nil || once {
		return err
	}
	fmt.Fprintf(out, ownRequests, s.store.words().name, s.store.putOwn(), s.gateway)
	<-ctx.Done()
	fmt.Fprintln(out)
	return nil
}

const ownRequests = `
%[1]s runs again, and everything stays up until Ctrl-C, for your own requests.
A pair of your own, mine-1 and shhh, for the same consumer:

%[2]s
  curl %[3]s/orders -H 'access_token: mine-1' -H 'secret_token: shhh'
`
