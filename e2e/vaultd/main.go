// Command vaultd is a HashiCorp Vault server for tests: Vault's own core,
// barrier, router, policies, token store, KV secrets engine, auth methods and
// audit device, unmodified, without the cloud SDKs that the vault program
// carries. See README.md for what is left out and for the licence.
//
// It runs in two ways:
//
//	vaultd server -config=vault.hcl
//
// is the part of "vault server" that a test needs: it serves what the file
// says (listener "tcp"; storage "file" or "inmem") and waits to be initialised
// and unsealed over its API. And
//
//	vaultd -addr 127.0.0.1:0 -audit FILE
//
// is ready for use: storage in memory, unsealed, KV version 2 at secret/, and
// one line of JSON on standard output once it answers (see ready).
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/hashicorp/vault/command/server"
	"github.com/hashicorp/vault/internalshared/configutil"
)

func main() {
	run := dev
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "server" {
		run, args = serveConfig, args[1:]
	}
	if err := run(args); err != nil {
		fmt.Fprintln(os.Stderr, "vaultd:", err)
		os.Exit(1)
	}
}

// serveConfig serves what a configuration file of Vault's says.
func serveConfig(args []string) error {
	flags := flag.NewFlagSet("vaultd server", flag.ExitOnError)
	path := flags.String("config", "", "configuration file, as vault server reads it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := server.LoadConfigFile(*path)
	if err != nil {
		return err
	}
	s, err := newServer(config)
	if err != nil {
		return err
	}
	if err := s.listen(config.Listeners); err != nil {
		return err
	}
	return s.wait()
}

// tcp is a listener as a configuration file would describe it.
func tcp(addr string) *configutil.Listener {
	return &configutil.Listener{Type: configutil.TCP, Address: addr, TLSDisable: true}
}
