package vaultauth

import (
	"context"
	"log/slog"
	"testing"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"

	"kong-vault-auth/credential"
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/pluginserver/servertest"
	"kong-vault-auth/vault"
)

// cached is a vault object that has its answer ready.
type cached struct{ credential.Credential }

func (*cached) Usable() error { return nil }

func (c *cached) Lookup(context.Context, string, string, vault.Client) (*credential.Credential, error) {
	return &c.Credential, nil
}

// BenchmarkAccess runs the access phase of a cached pair in this process. Its
// allocations are those of an event, since Kong's side makes none.
func BenchmarkAccess(b *testing.B) {
	object := &cached{credential.Credential{ID: credentialID, Consumer: credential.Consumer{ID: aliceID}}}
	s := servertest.Serve(b, func(log *slog.Logger) pluginserver.Plugin {
		return newPlugin("bench", log, func(string, vault.Config) (lookuper, func(), error) { return object, func() {}, nil }).Plugin
	}, pluginserver.Options{})
	w := servertest.NewWire(b, s.Socket, `{"vault": "v", "tokens_in_query": false}`, map[string]proto.Message{
		"kong.request.get_headers": servertest.Headers(
			"host: api.example.com", "user-agent: okhttp/4.12.0", "accept: */*", "accept-encoding: gzip, deflate",
			"connection: keep-alive", "content-type: application/json", "access_token: alice-1", "secret_token: s3cret",
		),
		"kong.client.load_consumer": &kong_plugin_protocol.Consumer{Id: aliceID, Username: "alice"},
	})
	b.ReportAllocs()
	for b.Loop() {
		if err := w.Event(); err != nil {
			b.Fatal(err)
		}
	}
}
