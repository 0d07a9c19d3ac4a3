package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kong-vault-auth/kongtest"
)

// simulated is kongtest's gateway.
type simulated struct {
	*kongtest.Gateway
	t      *testing.T
	prefix string
}

// maxRetries is how often the event of one request may run again because the
// plugin doesn't know the instance: after a reload or a restart, an instance
// of either worker, and once more.
const maxRetries = 3

func startKongtest(t *testing.T, kongYML string, env []string) (gateway, error) {
	prefix, err := os.MkdirTemp("", "kong-*")
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { os.RemoveAll(prefix) })
	g := kongtest.Start(t, kongtest.Options{
		Config:     kongYML,
		Plugins:    []string{filepath.Join(plugins, "vault-auth"), filepath.Join(plugins, "early-auth")},
		Prefix:     prefix,
		Env:        append(os.Environ(), env...),
		MainEnv:    lookup(env, "KONG_NGINX_MAIN_ENV"),
		MaxRetries: maxRetries,
	})
	return &simulated{g, t, prefix}, nil
}

func (s *simulated) H2URL() string                  { return s.URL() }
func (s *simulated) Prefix() string                 { return s.prefix }
func (s *simulated) Configure(kongYML string) error { return s.SetConfig(kongYML) }
func (s *simulated) Reload() error                  { return s.Gateway.Reload(s.t.Context()) }

func (s *simulated) Stop() error {
	s.Close()
	return nil
}

// Log leaves out what Kong's default level hides.
func (s *simulated) Log() string {
	var b strings.Builder
	for _, line := range s.ErrorLog() {
		if line.Level != "debug" && line.Level != "info" {
			b.WriteString("[" + line.Level + "] " + line.Text + "\n")
		}
	}
	return b.String()
}
