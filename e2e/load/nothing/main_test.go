package main

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"kong-vault-auth/kongtest"
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/pluginserver/servertest"
)

// The plugin makes exactly the configured calls, with no more waits than vault-auth has.
func TestMakesItsCalls(t *testing.T) {
	alice := kongtest.Consumer{ID: "2f9d4c8e-8f7d-4f3b-9d55-0c6d2f1b7a01", Username: "alice", CustomID: "a-1"}
	all := []string{"kong.request.get_headers", "kong.client.authenticate", "kong.service.request.set_headers"}
	sent := []kongtest.Header{{Name: "access_token", Value: "alice-1"}, {Name: "secret_token", Value: "s3cret"}}
	for calls := range len(all) + 1 {
		t.Run(fmt.Sprint(calls), func(t *testing.T) {
			s := servertest.Serve(t, func(*slog.Logger) pluginserver.Plugin { return pluginserver.Plugin{Start: start} }, pluginserver.Options{})
			in := s.Start(t, fmt.Sprintf(`{"calls": %d, "consumer": %q}`, calls, alice.ID))
			request := func() *kongtest.Request {
				return &kongtest.Request{Header: slices.Clone(sent), Consumers: kongtest.ConsumerList{alice}}
			}
			in.Access(t, request()) // reads the consumer
			out := in.Access(t, request())
			if out.Exit != nil {
				t.Fatalf("answered %d %s, want it proxied", out.Exit.Status, out.Exit.Body)
			}
			if !slices.Equal(all[:calls], out.Calls) {
				t.Errorf("the calls were %q, want %q", out.Calls, all[:calls])
			}
			if want := min(calls, 1) + 1; out.Waits != want {
				t.Errorf("Kong waited %d times, want %d", out.Waits, want)
			}
			if authenticated := out.Consumer != nil && out.Consumer.ID == alice.ID; authenticated != (calls > 1) {
				t.Errorf("authenticated as %v", out.Consumer)
			}
			changed := len(out.Upstream.Values("X-Consumer-ID")) == 1 && len(out.Upstream.Values("secret_token")) == 0
			if changed != (calls > 2) {
				t.Errorf("the upstream gets %v", out.Upstream.Header)
			}
		})
	}
}
