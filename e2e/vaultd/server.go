package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/cli"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/audit"
	"github.com/hashicorp/vault/command/server"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/physical"
	"github.com/hashicorp/vault/sdk/physical/file"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

// leaseTTL is Vault's own default, 32 days.
const leaseTTL = 768 * time.Hour

var storages = map[string]physical.Factory{
	"file":  file.NewFileBackend,
	"inmem": inmem.NewInmem,
}

// vaultServer is a Vault core and the listeners in front of it.
type vaultServer struct {
	core   *vault.Core
	logger hclog.Logger
	urls   []string // of the listeners, in their order
	failed chan error
}

// newServer makes the core of a configuration. It is sealed, and unless the
// storage holds a Vault already, not initialised.
func newServer(config *server.Config) (*vaultServer, error) {
	level := hclog.LevelFromString(config.LogLevel)
	if level == hclog.NoLevel {
		level = hclog.Warn
	}
	logger := hclog.New(&hclog.LoggerOptions{Level: level, Output: os.Stderr})
	if config.Storage == nil || storages[config.Storage.Type] == nil {
		return nil, fmt.Errorf(`the configuration needs storage "file" or "inmem"`)
	}
	storage, err := storages[config.Storage.Type](config.Storage.Config, logger)
	if err != nil {
		return nil, err
	}
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical:           storage,
		StorageType:        config.Storage.Type,
		LogicalBackends:    secretsEngines,
		CredentialBackends: authMethods,
		AuditBackends:      map[string]audit.Factory{"file": audit.NewFileBackend},
		BuiltinRegistry:    registry{},
		DisableMlock:       true,
		Logger:             logger,
		DefaultLeaseTTL:    leaseTTL,
		MaxLeaseTTL:        leaseTTL,
		RawConfig:          config,
	})
	if err != nil {
		return nil, err
	}
	return &vaultServer{core: core, logger: logger, failed: make(chan error, 1)}, nil
}

// listen opens the listeners and serves Vault's API on them.
func (s *vaultServer) listen(listeners []*configutil.Listener) error {
	for _, config := range listeners {
		l, _, _, err := server.NewListener(config, os.Stderr, &cli.BasicUi{ErrorWriter: os.Stderr})
		if err != nil {
			return err
		}
		scheme := "https"
		if config.TLSDisable {
			scheme = "http"
		}
		s.urls = append(s.urls, scheme+"://"+l.Addr().String())
		s.serve(l, config)
	}
	return nil
}

func (s *vaultServer) serve(l net.Listener, config *configutil.Listener) {
	config.MaxRequestDuration = 90 * time.Second
	web := &http.Server{
		Handler: vaulthttp.Handler.Handler(&vault.HandlerProperties{
			Core: s.core, ListenerConfig: config,
		}),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          s.logger.StandardLogger(nil),
	}
	go func() {
		select {
		case s.failed <- web.Serve(l):
		default:
		}
	}()
}

// wait returns when the server was told to stop, or a listener failed.
func (s *vaultServer) wait() error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	select {
	case err := <-s.failed:
		return err
	case <-stop:
		return s.core.Shutdown()
	}
}
