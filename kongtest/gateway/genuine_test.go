package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/kongtest/internal/lua"
	"kong-vault-auth/kongtest/recording"
	"kong-vault-auth/kongtest/schema"
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/vaultauth"
	"kong-vault-auth/vaultsecrets"
)

// The folder of what a genuine Kong did (go run ./kongtest/record).
const genuine = "../testdata/genuine"

// recordable is a Gateway as recording.Run drives it.
type recordable struct{ *Gateway }

func (s recordable) H2Addr() string { return s.Addr() }

func (s recordable) Reload() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.Gateway.Reload(ctx); err != nil {
		return err
	}
	return s.AwaitReloaded(ctx)
}

func startRecordable(t *testing.T) (recordable, *recording.Probe, *recording.Upstream) {
	t.Helper()
	dir, err := os.MkdirTemp("", "probe") // short: a socket's path ends at 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	probe, err := recording.NewProbe(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(probe.Kill)
	upstream, err := recording.NewUpstream()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(upstream.Close)
	g := Start(t, Options{
		Config:        recording.Config(upstream),
		PluginServers: []PluginServer{{Name: recording.Plugin, Socket: probe.Socket(), QueryCommand: probe.Query()}},
		TrustedIPs:    []netip.Prefix{netip.MustParsePrefix(recording.TrustedClient + "/32")},
		Workers:       1,
		ReloadDelay:   -1,
		MaxRetries:    3,
		Env:           append(os.Environ(), recording.ReferenceEnv),
	})
	return recordable{g}, probe, upstream
}

func TestRequestsGoAsThroughAGenuineKong(t *testing.T) {
	var recorded recording.Requests
	if err := recording.Read(genuine, recording.RequestsFile, &recorded); err != nil {
		t.Fatal(err)
	}
	k, probe, upstream := startRecordable(t)
	for i, c := range recording.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			if i >= len(recorded.Cases) || recorded.Cases[i].Case != c.Name {
				t.Fatal("this case isn't recorded: go run ./kongtest/record -kong /path/to/kong")
			}
			got, err := recording.Run(k, probe, upstream, []recording.Case{c})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(recorded.Cases[i], got[0]); diff != "" {
				t.Errorf("- genuine Kong %s, + kongtest\n%s", recorded.Kong, diff)
			}
		})
	}
}

func TestInstancesLiveAsInAGenuineKong(t *testing.T) {
	var recorded recording.Steps
	if err := recording.Read(genuine, recording.LifeCycleFile, &recorded); err != nil {
		t.Fatal(err)
	}
	got, err := recording.LifeCycle(startRecordable(t))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(recorded.Steps, got); diff != "" {
		t.Errorf("- genuine Kong %s, + kongtest\n%s", recorded.Kong, diff)
	}
}

func TestReferencesAreHandedOverAsByAGenuineKong(t *testing.T) {
	var recorded recording.Handovers
	if err := recording.Read(genuine, recording.ReferencesFile, &recorded); err != nil {
		t.Fatal(err)
	}
	got, err := recording.References(startRecordable(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(recorded.Cases) {
		t.Fatal("there are other cases than were recorded: go run ./kongtest/record -kong /path/to/kong")
	}
	for i, want := range recorded.Cases {
		if diff := cmp.Diff(decoded(t, want.Handed), decoded(t, got[i].Handed)); want.Case != got[i].Case || diff != "" {
			t.Errorf("%s: - genuine Kong %s, + kongtest\n%s", want.Case, recorded.Kong, diff)
		}
	}
}

// Today's schema must lead to the verdicts on the recorded one: what a genuine Kong
// accepted or refused, with which messages, and which fields it stored. Fields that
// are new since then are allowed.
func TestConfigurationsAreJudgedAsByAGenuineKong(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	t.Run("vault-auth", func(t *testing.T) {
		wantVerdicts(t, recording.SchemaFile, "vault-auth", vaultauth.New("test", nil, log).Plugin)
	})
	t.Run("vault-secrets", func(t *testing.T) {
		wantVerdicts(t, recording.SecretsFile, vaultsecrets.Name, vaultsecrets.New("test", nil, log).Plugin)
	})
}

func wantVerdicts(t *testing.T, file, of string, plugin pluginserver.Plugin) {
	var recorded recording.Verdicts
	if err := recording.Read(genuine, file, &recorded); err != nil {
		t.Fatal(err)
	}
	var dump bytes.Buffer
	if err := pluginserver.Dump(&dump, plugin, of, "/"); err != nil {
		t.Fatal(err)
	}
	var description struct {
		Plugins []struct{ Schema json.RawMessage }
	}
	if err := json.Unmarshal(dump.Bytes(), &description); err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]json.RawMessage{"the recorded schema": recorded.Schema, "today's schema": description.Plugins[0].Schema} {
		t.Run(name, func(t *testing.T) {
			s, err := schema.ParsePlugin(raw)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range recorded.Cases {
				got := judge(t, s, v)
				want, stored := decoded(t, v.Stored), decoded(t, got.Stored)
				if name == "today's schema" {
					want = withNewFields(want, stored)
				}
				for what, pair := range map[string][2]any{
					"accepted": {v.Accepted, got.Accepted},
					"errors":   {decoded(t, v.Errors), decoded(t, got.Errors)},
					"stored":   {want, stored},
				} {
					if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
						t.Errorf("%s, %s: - genuine Kong %s, + kongtest\n%s", v.Case, what, recorded.Kong, diff)
					}
				}
			}
		})
	}
}

// judge is what kongtest makes of one configuration.
func judge(t *testing.T, pluginSchema *schema.Schema, v recording.Verdict) recording.Verdict {
	t.Helper()
	var entity map[string]any
	if err := json.Unmarshal(v.Plugin, &entity); err != nil {
		t.Fatal(err)
	}
	own, err := schema.Parse([]byte(entitySchemas["plugins"]))
	if err != nil {
		t.Fatal(err)
	}
	of, _ := entity["name"].(string)
	l := &loader{schemas: map[string]*schema.Schema{"plugins": own}, plugins: map[string]*plugin{of: {name: of, schema: pluginSchema}}}
	s, errs := l.pluginSchema(entity)
	if errs != nil {
		t.Fatal(errs)
	}
	filled := s.Fill(entity)
	got := recording.Verdict{Case: v.Case, Plugin: v.Plugin}
	if errs := s.Validate(filled); errs != nil {
		got.Errors = encode(t, listsAsKong(errs))
		return got
	}
	got.Accepted = true
	got.Stored = encode(t, map[string]any{"config": filled["config"], "enabled": filled["enabled"], "protocols": filled["protocols"]})
	return got
}

// listsAsKong turns messages by entry into a list with nulls, as Lua's JSON does.
func listsAsKong(errs any) any {
	switch errs := errs.(type) {
	case schema.Errors:
		out := map[string]any{}
		for name, err := range errs {
			out[name] = listsAsKong(err)
		}
		return out
	case map[int]any:
		out := make([]any, slices.Max(slices.Collect(maps.Keys(errs))))
		for i, err := range errs {
			out[i-1] = listsAsKong(err)
		}
		return out
	}
	return errs
}

func encode(t *testing.T, v any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// withNewFields is what was recorded, plus the fields that only the newer has.
func withNewFields(recorded, newer any) any {
	was, ok := recorded.(map[string]any)
	is, ok2 := newer.(map[string]any)
	if !ok || !ok2 {
		return recorded
	}
	out := maps.Clone(is)
	for name, v := range was {
		out[name] = withNewFields(v, is[name])
	}
	return out
}

func decoded(t *testing.T, raw json.RawMessage) (v any) {
	t.Helper()
	if len(raw) == 0 {
		return nil
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	// A set has no order.
	if m, ok := v.(map[string]any); ok {
		if set, ok := m["protocols"].([]any); ok {
			slices.SortFunc(set, func(a, b any) int { return strings.Compare(lua.ToString(a), lua.ToString(b)) })
		}
	}
	return v
}
