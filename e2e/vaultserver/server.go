// Package vaultserver runs a real HashiCorp Vault server on loopback, for
// end-to-end tests and the demo: stop it, start it again with what it held,
// seal it, and count the reads that reached it.
//
// The server is the program that VAULT_BIN names, or else e2e/vaultd, built
// from source on first use.
package vaultserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/hashicorp/vault/api"

	"kong-vault-auth/certificatetest"
	"kong-vault-auth/e2e/build"
	"kong-vault-auth/e2e/program"
)

// startTimeout bounds how long a server may take from its start until it
// answers; it takes well under a second.
const startTimeout = 30 * time.Second

// Options are the settings of a Server. The zero value serves.
type Options struct {
	// Progress gets a line about everything that takes time. Nil discards.
	Progress func(string)
	// Log receives what the server prints. Nil discards.
	Log io.Writer
}

// Server is a Vault server that is initialised, unsealed and audited, with KV
// version 2 mounted at secret/. It serves plain HTTP and HTTPS, each at a
// loopback port of its own that stays the same from start to start. Its
// methods are not meant for concurrent use, except for Requests and Reads.
type Server struct {
	Addr    string // URL of the plain listener
	TLSAddr string // URL of the HTTPS listener
	CA      []byte // the CA of the HTTPS listener's certificate, PEM
	Token   string // the root token

	unsealKey string
	bin       string
	dir       string // configuration, storage, audit file
	log       io.Writer
	process   *program.Program // nil while stopped
	client    *api.Client
}

// Start starts a server. Close ends it.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	bin, err := binary(ctx, o.Progress)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "vault-*")
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, dir: dir, log: o.Log}
	if err := s.setUp(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// binary is the Vault server to run.
func binary(ctx context.Context, progress func(string)) (string, error) {
	if path := os.Getenv("VAULT_BIN"); path != "" {
		return path, nil
	}
	return build.Vaultd(ctx, progress)
}

func (s *Server) setUp(ctx context.Context) error {
	plain, err := program.FreeAddr()
	if err != nil {
		return err
	}
	secure, err := program.FreeAddr()
	if err != nil {
		return err
	}
	s.Addr, s.TLSAddr = "http://"+plain, "https://"+secure
	certificate := certificatetest.SelfSigned("127.0.0.1")
	s.CA = []byte(certificate.PEM())
	certFile, keyFile, err := certificate.WriteFiles(s.dir)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path("vault.hcl"), s.configuration(plain, secure, certFile, keyFile), 0o600); err != nil {
		return err
	}
	if s.client, err = newClient(s.Addr); err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	init, err := s.client.Sys().InitWithContext(ctx, &api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		return fmt.Errorf("initialise Vault: %w", err)
	}
	s.Token, s.unsealKey = init.RootToken, init.KeysB64[0]
	s.client.SetToken(s.Token)
	if err := s.Unseal(ctx); err != nil {
		return err
	}
	if err := s.enableAudit(ctx); err != nil {
		return err
	}
	return s.MountKV(ctx, KV{Mount: "secret", Version: 2})
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

// configuration is the server's configuration file.
func (s *Server) configuration(plain, secure, certFile, keyFile string) []byte {
	return fmt.Appendf(nil, `disable_mlock = true
api_addr      = "http://%[1]s"

storage "file" {
  path = %[3]q
}

listener "tcp" {
  address     = %[1]q
  tls_disable = true
}

listener "tcp" {
  address       = %[2]q
  tls_cert_file = %[4]q
  tls_key_file  = %[5]q
}
`, plain, secure, s.path("storage"), certFile, keyFile)
}

// start runs the server and waits until it answers; it is sealed then.
func (s *Server) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	cmd := exec.Command(s.bin, "server", "-config="+s.path("vault.hcl"))
	cmd.Stdout, cmd.Stderr = s.log, s.log
	p, err := program.Run(cmd)
	if err != nil {
		return err
	}
	s.process = p
	return s.await(ctx, func() bool {
		_, err := s.client.Sys().SealStatusWithContext(ctx)
		return err == nil
	})
}

// await polls until ok, and gives up when the server ends or ctx does.
func (s *Server) await(ctx context.Context, ok func() bool) error {
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for !ok() {
		select {
		case <-poll.C:
		case <-s.process.Done():
			return fmt.Errorf("the Vault server ended: %v", s.process.Err())
		case <-ctx.Done():
			return fmt.Errorf("the Vault server did not get ready: %w", ctx.Err())
		}
	}
	return nil
}

// Stop ends the server. What it held stays, for Restart.
func (s *Server) Stop() error {
	if s.process == nil {
		return nil
	}
	p := s.process
	s.process = nil
	return p.Stop()
}

// Restart starts a stopped server again, at its address and unsealed.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.start(ctx); err != nil {
		return err
	}
	return s.Unseal(ctx)
}

// Close ends the server and removes what it held.
func (s *Server) Close() error {
	return errors.Join(s.Stop(), os.RemoveAll(s.dir))
}

// Seal makes the server answer every read with 503 until Unseal.
func (s *Server) Seal(ctx context.Context) error {
	return s.client.Sys().SealWithContext(ctx)
}

// Unseal returns when the server reads and writes again.
func (s *Server) Unseal(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if _, err := s.client.Sys().UnsealWithContext(ctx, s.unsealKey); err != nil {
		return fmt.Errorf("unseal Vault: %w", err)
	}
	return s.await(ctx, func() bool {
		health, err := s.client.Sys().HealthWithContext(ctx)
		return err == nil && health.Initialized && !health.Sealed && !health.Standby
	})
}

// newClient is a client that the environment doesn't lead elsewhere.
func newClient(addr string) (*api.Client, error) {
	client, err := api.NewClient(&api.Config{
		Address:    addr,
		HttpClient: &http.Client{Transport: &http.Transport{}},
		Timeout:    10 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	client.ClearToken()
	client.ClearNamespace()
	return client, nil
}
