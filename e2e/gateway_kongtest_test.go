package e2e

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	simulation "kong-vault-auth/kongtest/gateway"
)

// simulated is kongtest's gateway.
type simulated struct {
	*simulation.Gateway
	deployment
	t *testing.T
}

// maxRetries is how often the event of one request may run again because the plugin server
// doesn't know the instance, or is stopping: after a reload, a restart or an upgrade, for some
// of the connections that the worker has to the old plugin server.
const maxRetries = 10

func startKongtest(t *testing.T, kongYML, prefix string, d deployment, env []string) (gateway, error) {
	var trusted []netip.Prefix
	if ips := lookup(env, "KONG_TRUSTED_IPS"); ips != "" {
		trusted = append(trusted, netip.MustParsePrefix(ips))
	}
	g := simulation.Start(t, simulation.Options{
		Config:        kongYML,
		PluginServers: d.servers,
		Prefix:        prefix,
		Env:           append(os.Environ(), env...),
		MainEnv:       lookup(env, "KONG_NGINX_MAIN_ENV"),
		MaxRetries:    maxRetries,
		TrustedIPs:    trusted,
	})
	return &simulated{g, d, t}, nil
}

func (s *simulated) H2URL() string                  { return s.URL() }
func (s *simulated) Configure(kongYML string) error { return s.SetConfig(kongYML) }
func (s *simulated) Reload() error                  { return s.Gateway.Reload(s.t.Context()) }

func (s *simulated) Stop() error {
	s.Close()
	return nil
}

// Log leaves out the levels that Kong hides by default.
func (s *simulated) Log() string {
	var b strings.Builder
	for _, line := range s.ErrorLog() {
		if line.Level != "debug" && line.Level != "info" {
			b.WriteString("[" + line.Level + "] " + line.Text + "\n")
		}
	}
	return b.String()
}
