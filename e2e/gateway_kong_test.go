package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"kong-vault-auth/kongtest/genuine"
)

// genuineGateway is a genuine Kong, that of E2E_KONG.
type genuineGateway struct {
	*genuine.Kong
	deployment
	declared string // the file of its configuration
}

// startKong starts it as Kong's documentation describes for external plugins.
func startKong(_ *testing.T, kongYML, prefix string, d deployment, env []string) (gateway, error) {
	declared := filepath.Join(prefix, "declared.yml")
	if err := os.WriteFile(declared, []byte(kongYML), 0o600); err != nil {
		return nil, err
	}
	k, err := genuine.Start(genuine.Options{
		Program: genuineKong,
		Prefix:  prefix,
		Servers: d.servers,
		Env:     append([]string{"KONG_DECLARATIVE_CONFIG=" + declared, "KONG_NGINX_WORKER_PROCESSES=2"}, env...),
	})
	if err != nil {
		return nil, err
	}
	return &genuineGateway{k, d, declared}, nil
}

func (g *genuineGateway) URL() string   { return "http://" + g.Addr() }
func (g *genuineGateway) H2URL() string { return "http://" + g.H2Addr() }

func (g *genuineGateway) Configure(kongYML string) error {
	status, body, err := g.Admin(http.MethodPost, "/config", []byte(kongYML))
	if err != nil {
		return err
	}
	if status >= 300 {
		return fmt.Errorf("Kong refuses the configuration: %d\n%s", status, body)
	}
	// For the next reload.
	return os.WriteFile(g.declared, []byte(kongYML), 0o600)
}

// Reload doesn't wait for the old workers, as a user doesn't.
func (g *genuineGateway) Reload() error { return g.Command("reload") }
