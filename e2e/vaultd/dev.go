package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"github.com/hashicorp/vault/command/server"
	"github.com/hashicorp/vault/helper/namespace"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/vault"
)

// ready is the line printed on standard output when the server answers.
type ready struct {
	Addr      string   `json:"addr,omitempty"`     // URL of the plain listener
	TLSAddr   string   `json:"tls_addr,omitempty"` // URL of the TLS listener
	RootToken string   `json:"root_token"`
	UnsealKey string   `json:"unseal_key"` // the only one; hexadecimal
	Mounts    []string `json:"mounts"`
}

// dev serves a Vault that is ready for use and forgets everything at its end.
func dev(args []string) error {
	flags := flag.NewFlagSet("vaultd", flag.ExitOnError)
	addr := flags.String("addr", "127.0.0.1:8200", "plain HTTP listen address; empty for none")
	tlsAddr := flags.String("tls-addr", "", "HTTPS listen address; empty for none")
	certFile := flags.String("tls-cert", "", "server certificate (PEM file)")
	keyFile := flags.String("tls-key", "", "key of the server certificate (PEM file)")
	clientCA := flags.String("tls-client-ca", "", "require a client certificate signed by this CA (PEM file)")
	rootToken := flags.String("root-token", "root", "root token")
	auditFile := flags.String("audit", "", "file for the audit device; empty for none")
	level := flags.String("log-level", "warn", "level of Vault's log on standard error")
	if err := flags.Parse(args); err != nil {
		return err
	}

	config := server.NewConfig()
	config.Storage = &server.Storage{Type: "inmem"}
	config.LogLevel = *level
	s, err := newServer(config)
	if err != nil {
		return err
	}
	r := ready{RootToken: *rootToken, Mounts: []string{"secret/"}}
	if r.UnsealKey, err = s.prepare(*rootToken, *auditFile); err != nil {
		return err
	}

	var listeners []*configutil.Listener
	var urls []*string
	if *addr != "" {
		listeners, urls = append(listeners, tcp(*addr)), append(urls, &r.Addr)
	}
	if *tlsAddr != "" {
		l := tcp(*tlsAddr)
		l.TLSDisable = false
		l.TLSCertFile, l.TLSKeyFile = *certFile, *keyFile
		l.TLSClientCAFile, l.TLSRequireAndVerifyClientCert = *clientCA, *clientCA != ""
		listeners, urls = append(listeners, l), append(urls, &r.TLSAddr)
	}
	if err := s.listen(listeners); err != nil {
		return err
	}
	for i, url := range urls {
		*url = s.urls[i]
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return err
	}
	return s.wait()
}

// prepare initialises and unseals the core, makes the root token, mounts KV
// version 2 at secret/ and turns auditing on. It returns the unseal key.
func (s *vaultServer) prepare(rootToken, auditFile string) (unsealKey string, err error) {
	ctx := namespace.RootContext(context.Background())
	init, err := s.core.Initialize(ctx, &vault.InitParams{
		BarrierConfig: &vault.SealConfig{SecretShares: 1, SecretThreshold: 1},
	})
	if err != nil {
		return "", err
	}
	unsealKey = hex.EncodeToString(init.SecretShares[0])
	if _, err := s.core.Unseal(init.SecretShares[0]); err != nil {
		return "", err
	}

	type write struct {
		path string
		data map[string]any
	}
	writes := []write{
		{"auth/token/create", map[string]any{
			"id": rootToken, "policies": []string{"root"}, "no_parent": true, "no_default_policy": true,
		}},
		{"sys/mounts/secret", map[string]any{"type": "kv", "options": map[string]any{"version": "2"}}},
	}
	if auditFile != "" {
		writes = append(writes, write{"sys/audit/file", map[string]any{
			"type": "file", "options": map[string]any{"file_path": auditFile},
		}})
	}
	for _, w := range writes {
		_, err := s.core.HandleRequest(ctx, &logical.Request{
			Operation: logical.UpdateOperation, ClientToken: init.RootToken, Path: w.path, Data: w.data,
		})
		if err != nil {
			return "", fmt.Errorf("%s: %w", w.path, err)
		}
	}
	return unsealKey, nil
}
