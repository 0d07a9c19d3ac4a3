package vaultauth

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/credential"
	"kong-vault-auth/kongtest"
	"kong-vault-auth/vault"
)

// wantCounted compares what was counted, less what was not.
func wantCounted(t *testing.T, p *Plugin, want ...answered) {
	t.Helper()
	var got []answered
	for _, a := range p.Stats().Requests {
		if a.Count > 0 {
			got = append(got, answered{a.Answer, a.Reason, a.Count})
		}
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(answered{})); diff != "" {
		t.Errorf("counted:\n%s", diff)
	}
}

// answered is pluginserver.Answered, for tables.
type answered struct {
	answer, reason string
	count          uint64
}

// buggy is a vault object that panics.
type buggy struct{}

func (buggy) Usable() error { return nil }

func (buggy) Lookup(context.Context, string, string, vault.Client) (*credential.Credential, error) {
	panic("bug")
}

// TestEveryAnswerIsCounted: refusals that need nothing but headers are in
// TestRefusals.
func TestEveryAnswerIsCounted(t *testing.T) {
	alice := get("/", "access_token: alice-1", "secret_token: s3cret")
	preflight := get("/")
	preflight.Method = "OPTIONS"
	another := get("/")
	another.Credential = &kongtest.Credential{ID: "key"}
	many := get("/")
	for i := range maxHeaders {
		many.Header = append(many.Header, kongtest.Header{Name: fmt.Sprint("X-", i), Value: "v"})
	}
	orphan := get("/", "access_token: orphan", "secret_token: s3cret")
	outage := get("/", "access_token: orphan", "secret_token: s3cret")
	outage.Consumers = kongtest.ConsumerList{}

	for name, tc := range map[string]struct {
		config   string
		object   lookuper
		requests []*kongtest.Request
		want     []answered
	}{
		"proxied":                 {"{}", known, []*kongtest.Request{alice, alice}, []answered{{"ok", "", 2}}},
		"anonymous":               {`{"anonymous": "guest"}`, known, []*kongtest.Request{get("/"), get("/", "access_token: nobody", "secret_token: x")}, []answered{{"anonymous", "no_access_token", 1}, {"anonymous", "not_found", 1}}},
		"preflight":               {`{"run_on_preflight": false}`, known, []*kongtest.Request{preflight}, []answered{{"preflight", "", 1}}},
		"another plugin":          {`{"anonymous": "guest"}`, known, []*kongtest.Request{another}, []answered{{"other_plugin", "", 1}}},
		"too many headers":        {"{}", known, []*kongtest.Request{many}, []answered{{"431", "", 1}}},
		"no consumer":             {"{}", known, []*kongtest.Request{alice, orphan}, []answered{{"401", "consumer_gone", 1}, {"ok", "", 1}}},
		"no consumer, ever":       {"{}", known, []*kongtest.Request{orphan}, []answered{{"401", "consumer_gone", 1}}},
		"no database":             {"{}", known, []*kongtest.Request{alice, outage}, []answered{{"503", "database", 1}, {"ok", "", 1}}},
		"a panic":                 {"{}", buggy{}, []*kongtest.Request{alice, alice}, []answered{{"500", "panic", 2}}},
		"a configuration, thrice": {`{"max_body_bytes": 0}`, known, []*kongtest.Request{alice, alice, get("/")}, []answered{{"500", "config", 3}}},
	} {
		t.Run(name, func(t *testing.T) {
			p, in := startOn(t, tc.object, tc.config)
			for _, r := range tc.requests {
				in.Access(t, r)
			}
			wantCounted(t, p, tc.want...)
		})
	}
}

func TestConsumersAreCounted(t *testing.T) {
	p, in := startOn(t, known, "{}")
	in.Access(t, get("/", "access_token: alice-1", "secret_token: s3cret"))
	if s := p.Stats(); s.Consumers != 1 || s.MaxConsumers != maxConsumers {
		t.Errorf("%d of %d", s.Consumers, s.MaxConsumers)
	}
}
