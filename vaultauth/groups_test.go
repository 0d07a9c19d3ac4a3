package vaultauth

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"kong-vault-auth/credential"
	"kong-vault-auth/kongtest"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/vault"
)

// inGroups is a vault object whose credential for alice-1 is in groups, or has none of
// its own if it is nil.
type inGroups []string

func (inGroups) Usable() error { return nil }

func (groups inGroups) Lookup(_ context.Context, access, _ string, _ vault.Client) (*credential.Credential, error) {
	if access != "alice-1" {
		return nil, &vault.RefusedError{Reason: secretstore.ReasonNotFound}
	}
	return credential.NewSealer().Seal("store", &credential.Record{
		AccessToken: access, Secret: credential.PlainSecret("s3cret"), Consumer: credential.Consumer{ID: aliceID}, Groups: groups,
	}), nil
}

func TestKongLearnsTheGroupsOfACredentialAndNoOthers(t *testing.T) {
	pair := []string{"access_token: alice-1", "secret_token: s3cret"}
	theirs := map[string]any{"authenticated_groups": []any{"theirs"}}
	asBefore := []string{"X-Consumer-ID: " + guestID} // as a plugin before this one sets it
	ours := func(groups ...any) map[string]any {
		return map[string]any{"authenticated_groups": slices.Concat([]any{}, groups)}
	}
	for name, tc := range map[string]struct {
		config  string
		groups  inGroups
		headers []string
		before  func(*kongtest.Request)
		want    map[string]any // kong.ctx.shared
		context map[string]any // ngx.ctx
	}{
		"groups":                    {groups: inGroups{"gold", "night shift"}, headers: pair, want: ours("gold", "night shift")},
		"no groups":                 {groups: inGroups{}, headers: pair, want: ours()},
		"the consumer's own":        {headers: pair},
		"groups after another's":    {groups: inGroups{"gold"}, headers: slices.Concat(pair, asBefore), before: withGroups(theirs), want: ours("gold"), context: theirs},
		"none after another's":      {headers: slices.Concat(pair, asBefore), before: withGroups(theirs), want: nil},
		"anonymous":                 {config: `{"anonymous": "guest"}`, groups: inGroups{"gold"}},
		"anonymous after another's": {config: `{"anonymous": "guest"}`, headers: append(asBefore, "X-Anonymous-Consumer: true"), before: withGroups(theirs)},
		"anonymous, consumer known": {config: `{"anonymous": "guest"}`, headers: []string{"X-Anonymous-Consumer: true"}, before: func(r *kongtest.Request) {
			withGroups(theirs)(r)
			r.Consumer = &database[1]
		}},
		"another plugin's stay": {config: `{"anonymous": "guest"}`, groups: inGroups{"gold"}, headers: pair, before: func(r *kongtest.Request) {
			withGroups(theirs)(r)
			r.Credential = &kongtest.Credential{ID: "key"}
		}, want: theirs, context: theirs},
		"preflight": {config: `{"run_on_preflight": false}`, groups: inGroups{"gold"}, headers: slices.Concat(pair, asBefore), before: func(r *kongtest.Request) {
			withGroups(theirs)(r)
			r.Method = "OPTIONS"
		}, want: theirs, context: theirs},
	} {
		t.Run(name, func(t *testing.T) {
			_, in := startOn(t, tc.groups, cmpOr(tc.config, `{}`))
			r := get("/", append(tc.headers, "X-Authenticated-Groups: forged", "x_authenticated_groups: forged")...)
			if tc.before != nil {
				tc.before(r)
			}
			out := in.Access(t, r)
			if diff := cmp.Diff(tc.want, out.Shared, cmpopts.EquateEmpty()); diff != "" || out.Exit != nil {
				t.Errorf("kong.ctx.shared: %s, %+v", diff, out.Exit)
			}
			if len(out.Context)+len(tc.context) > 0 {
				if diff := cmp.Diff(tc.context, out.Context); diff != "" {
					t.Errorf("ngx.ctx: %s", diff)
				}
			}
			for _, h := range out.Upstream.Header {
				if h.Value == "forged" {
					t.Errorf("the upstream gets %s", h.Name)
				}
			}
		})
	}
}

// withGroups is what a plugin before this one has left, for the ACL plugin to find.
func withGroups(groups map[string]any) func(*kongtest.Request) {
	return func(r *kongtest.Request) { r.Shared, r.Context = groups, groups }
}

func TestGroupsCostOneCallAndNoWait(t *testing.T) {
	for name, tc := range map[string]struct {
		groups inGroups
		calls  []string
	}{
		"without": {nil, []string{"kong.request.get_headers", "kong.client.authenticate", "kong.service.request.set_headers"}},
		"with":    {inGroups{"gold"}, []string{"kong.request.get_headers", "kong.client.authenticate", "kong.ctx.shared.set", "kong.service.request.set_headers"}},
	} {
		_, in := startOn(t, tc.groups, `{"tokens_in_query": false}`)
		pair := get("/", "access_token: alice-1", "secret_token: s3cret")
		in.Access(t, pair) // Kong's database is asked for the consumer once
		out := in.Access(t, pair)
		if diff := cmp.Diff(tc.calls, out.Calls); diff != "" || out.Waits != 2 {
			t.Errorf("%s: %d waits, %s", name, out.Waits, diff)
		}
	}
}
