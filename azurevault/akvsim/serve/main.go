// Command serve runs the simulated Azure for a demo. When it is ready it prints
// one line of JSON: the address of the proxy, and what a program's environment
// must hold to reach the simulator instead of Azure. It ends on SIGTERM.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"kong-vault-auth/azurevault/akvsim"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

func run() error {
	listen := flag.String("listen", "127.0.0.1:0", "address of the proxy")
	ca := flag.String("ca", "akvsim-ca.pem", "file to write the simulator's CA to")
	app := akvsim.App{ObjectID: "44444444-4444-4444-4444-444444444444", SystemAssigned: true, May: akvsim.Get | akvsim.List | akvsim.Set}
	flag.StringVar(&app.ClientID, "client-id", "22222222-2222-2222-2222-222222222222", "client id of the application that may use the vault")
	flag.StringVar(&app.Secret, "client-secret", "", "its client secret")
	sim := akvsim.New(akvsim.Options{})
	flag.Func("secret", "`name=value` of a secret in the vault; may be repeated", func(s string) error {
		name, value, found := strings.Cut(s, "=")
		if !found {
			return fmt.Errorf("want name=value")
		}
		sim.Put(name, value, nil)
		return nil
	})
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	sim.AddApp(app)
	server, err := sim.Start(*listen)
	if err != nil {
		return err
	}
	defer server.Close()
	if err := os.WriteFile(*ca, server.CA(), 0o644); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(map[string]any{
		"proxy":             server.ProxyURL(),
		"environ":           server.Environ(*ca),
		"vault_uri":         akvsim.VaultURI,
		"tenant_id":         akvsim.Tenant,
		"client_id":         app.ClientID,
		"identity_endpoint": server.IdentityEndpoint(),
		"identity_header":   akvsim.IdentityHeader,
	}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
