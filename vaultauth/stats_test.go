package vaultauth

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/credential"
	"kong-vault-auth/kongtest"
	"kong-vault-auth/vault"
)

// wantCounted compares what was counted, less what was not.
func wantCounted(t *testing.T, p *Plugin, want ...Answered) {
	t.Helper()
	got := slices.DeleteFunc(p.Stats().Requests, func(a Answered) bool { return a.Count == 0 })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counted:\n%s", diff)
	}
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
		want     []Answered
	}{
		"proxied":                 {"{}", known, []*kongtest.Request{alice, alice}, []Answered{{"ok", "", 2}}},
		"anonymous":               {`{"anonymous": "guest"}`, known, []*kongtest.Request{get("/"), get("/", "access_token: nobody", "secret_token: x")}, []Answered{{"anonymous", "no_access_token", 1}, {"anonymous", "not_found", 1}}},
		"preflight":               {`{"run_on_preflight": false}`, known, []*kongtest.Request{preflight}, []Answered{{"preflight", "", 1}}},
		"another plugin":          {`{"anonymous": "guest"}`, known, []*kongtest.Request{another}, []Answered{{"other_plugin", "", 1}}},
		"too many headers":        {"{}", known, []*kongtest.Request{many}, []Answered{{"431", "", 1}}},
		"no consumer":             {"{}", known, []*kongtest.Request{alice, orphan}, []Answered{{"401", "consumer_gone", 1}, {"ok", "", 1}}},
		"no consumer, ever":       {"{}", known, []*kongtest.Request{orphan}, []Answered{{"401", "consumer_gone", 1}}},
		"no database":             {"{}", known, []*kongtest.Request{alice, outage}, []Answered{{"503", "database", 1}, {"ok", "", 1}}},
		"a panic":                 {"{}", buggy{}, []*kongtest.Request{alice, alice}, []Answered{{"500", "panic", 2}}},
		"a configuration, thrice": {`{"max_body_bytes": 0}`, known, []*kongtest.Request{alice, alice, get("/")}, []Answered{{"500", "config", 3}}},
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

// TestReasonsAreBounded: a store that had a reason of its own for each request
// would fill the memory, and Prometheus'.
func TestReasonsAreBounded(t *testing.T) {
	n := newRequests()
	before := len(n.snapshot())
	for i := range 3 * maxUnforeseen {
		for range 2 {
			n.count(answer503, fmt.Sprint("reason ", i))
		}
	}
	got := n.snapshot()
	if len(got) != before+maxUnforeseen+1 {
		t.Errorf("%d counts, before that %d", len(got), before)
	}
	i := slices.IndexFunc(got, func(a Answered) bool { return a.Reason == reasonOther })
	if want := (Answered{answer503, reasonOther, 4 * maxUnforeseen}); i < 0 || got[i] != want {
		t.Errorf("the rest is not %v: %v", want, got)
	}
}

func TestConsumersAreCounted(t *testing.T) {
	p, in := startOn(t, known, "{}")
	in.Access(t, get("/", "access_token: alice-1", "secret_token: s3cret"))
	if s := p.Stats(); s.Consumers != 1 || s.MaxConsumers != maxConsumers {
		t.Errorf("%d of %d", s.Consumers, s.MaxConsumers)
	}
}
