// Package bench measures the plugin against go-pdk's own plugin server.
package bench

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/e2e/build"
	"kong-vault-auth/e2e/program"
	"kong-vault-auth/pluginserver/servertest"
	"kong-vault-auth/unixsocket/sockettest"
)

const aliceID = "2f9d4c8e-8f7d-4f3b-9d55-0c6d2f1b7a01"

// round is how many events a server has at a time.
const round = 100

// BenchmarkEvent runs the access phase of a cached pair in plugin servers, each a process of
// its own, over a bare socket: vault-auth with either store, and go-pdk's server with the same
// three calls and with the usual ten. They take turns; one iteration is a round of each. The
// figures are medians over all events.
func BenchmarkEvent(b *testing.B) {
	dir := b.TempDir()
	store := httptest.NewServer(http.HandlerFunc(kvV1))
	b.Cleanup(store.Close)
	host, port, err := net.SplitHostPort(store.Listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	config := `{"tokens_in_query": false, "hcv": {"kv": "v1", "token": "t", "host": "` + host + `", "port": ` + port + `}}`
	azure, environ := keyVault(b, dir)
	servers := []struct {
		name, folder, config string
		environ              []string
		times                []time.Duration
		wire                 *servertest.Wire
	}{
		{name: "vault-auth", folder: ".", config: config},
		{name: "three", folder: "e2e/bench/peer", config: `{}`},
		{name: "ten", folder: "e2e/bench/peer", config: `{}`},
		{name: "vault-auth-azure", folder: ".", config: azure, environ: environ},
	}
	for i := range servers {
		s := &servers[i]
		socket := startServer(b, dir, s.name, s.folder, s.environ)
		s.wire = servertest.NewWire(b, socket, s.config, replies())
	}
	for _, s := range servers { // the pair is looked up, the consumer loaded
		for range round {
			if err := s.wire.Event(); err != nil {
				b.Fatalf("%s: %v", s.name, err)
			}
		}
	}
	for b.Loop() {
		for i := range servers {
			s := &servers[i]
			for range round {
				begun := time.Now()
				if err := s.wire.Event(); err != nil {
					b.Fatalf("%s: %v", s.name, err)
				}
				s.times = append(s.times, time.Since(begun))
			}
		}
	}
	median := func(i int) float64 {
		t := servers[i].times
		slices.Sort(t)
		return float64(t[len(t)/2].Nanoseconds()) / 1000
	}
	b.ReportMetric(0, "ns/op") // that of all together says nothing
	b.ReportMetric(median(0), "µs/event")
	b.ReportMetric(median(3), "µs/event-azure")
	b.ReportMetric(median(1), "µs/event-go-pdk-3")
	b.ReportMetric(median(2), "µs/event-go-pdk-10")
	b.ReportMetric(median(0)/median(1), "of-go-pdk-3")
	b.ReportMetric(median(0)/median(2), "of-go-pdk-10")
	b.ReportMetric(float64(servers[0].wire.Calls), "calls")
	b.ReportMetric(float64(servers[0].wire.Waits), "waits")
}

// kvV1 answers every read with one credential.
func kvV1(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"data": ` + record + `}`))
}

const record = `{"access_token": "alice-1", "secret_token": "s3cret", "ttl": "1h", "consumer": {"id": "` + aliceID + `"}}`

// keyVault is a simulated Azure Key Vault with one credential: the plugin's
// configuration for it, and the environment that leads there.
func keyVault(b *testing.B, dir string) (config string, environ []string) {
	b.Helper()
	const clientID, secret = "22222222-2222-4222-8222-222222222222", "s3cret"
	sim := akvsim.New(akvsim.Options{})
	sim.AddApp(akvsim.App{ClientID: clientID, Secret: secret, May: akvsim.Get})
	sim.Put("kong-auth-alice-1", record, nil)
	server, err := sim.Start("127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { server.Close() })
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, server.CA(), 0o600); err != nil {
		b.Fatal(err)
	}
	config = `{"tokens_in_query": false, "azure": {"vault_uri": "` + akvsim.VaultURI + `", "auth_method": "client_secret",
		"tenant_id": "` + akvsim.Tenant + `", "client_id": "` + clientID + `", "client_secret": "` + secret + `"}}`
	return config, server.Environ(ca)
}

// startServer builds a plugin server and starts it with an environment that holds nothing else,
// as Kong's is. It returns its socket once it listens.
func startServer(b *testing.B, dir, name, folder string, environ []string) string {
	b.Helper()
	binary := filepath.Join(dir, name)
	if err := build.Program(b.Context(), folder, binary); err != nil {
		b.Fatal(err)
	}
	prefix := sockettest.Dir(b)
	cmd := exec.Command(binary, "-kong-prefix", prefix)
	cmd.Env = append([]string{}, environ...)
	server, err := program.Run(cmd)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Kill)
	socket := filepath.Join(prefix, name+".socket")
	program.Eventually(b, name+" listens", func() bool { return program.Listens("unix", socket) })
	return socket
}

// replies are Kong's answers about a request as browsers and libraries send it.
func replies() map[string]proto.Message {
	return map[string]proto.Message{
		"kong.request.get_headers": servertest.Headers(
			"host: api.example.com", "user-agent: okhttp/4.12.0", "accept: */*", "accept-encoding: gzip, deflate", "connection: keep-alive",
			"content-type: application/json", "x-request-id: 5f1c", "access_token: alice-1", "secret_token: s3cret",
		),
		"kong.client.load_consumer":  &kong_plugin_protocol.Consumer{Id: aliceID, Username: "alice", CustomId: "a-1", CreatedAt: 1550538920},
		"kong.request.get_raw_query": &kong_plugin_protocol.String{V: "page=1"},
		// kong.request.get_header, by its argument
		"access_token": &kong_plugin_protocol.String{V: "alice-1"},
		"secret_token": &kong_plugin_protocol.String{V: "s3cret"},
	}
}
