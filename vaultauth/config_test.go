package vaultauth

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/azurevault"
	"kong-vault-auth/hashivault"
	"kong-vault-auth/kongschema"
)

func TestDefaults(t *testing.T) {
	got, o, err := parseConfig([]byte(`{"vault": "kong-auth", "__plugin_id": "p", "__ws_id": "w", "__seq__": 1, "route_id": "r", "service_id": "s"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		AccessTokenName: "access_token", SecretTokenName: "secret_token", TokensInQuery: true,
		MaxBodyBytes: 65536, HideCredentials: true, RunOnPreflight: true, Vault: "kong-auth",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(origin{PluginID: "p", Workspace: "w", Service: "s", Route: "r"}, o); diff != "" {
		t.Error(diff)
	}
}

func TestReferencesInRecordsAreNamed(t *testing.T) {
	c, o, err := parseConfig([]byte(`{"hcv": {"token": "", "$refs": {"token": "{vault://env/nothing}"}}, "$refs": {"x": "y"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"token": "{vault://env/nothing}"}, o.refs()); diff != "" || c.HCV == nil {
		t.Error(diff)
	}
}

func TestConfigurationThatCannotWorkSaysWhatToChange(t *testing.T) {
	for name, tc := range map[string]struct{ config, want string }{
		"no vault":           {`{}`, "exactly one of vault, hcv and azure must be set, and 0 are"},
		"two vaults":         {`{"vault": "a", "hcv": {}}`, "exactly one of vault, hcv and azure must be set, and 2 are"},
		"name characters":    {`{"vault": "a", "access_token_name": "a b"}`, `config.access_token_name: "a b" can't be the name`},
		"empty name":         {`{"vault": "a", "secret_token_name": ""}`, `config.secret_token_name: "" can't be the name`},
		"host":               {`{"vault": "a", "access_token_name": "Host"}`, `"Host" can't carry a token`},
		"identity header":    {`{"vault": "a", "access_token_name": "x_consumer_id"}`, `"x_consumer_id" can't carry a token`},
		"one header for two": {`{"vault": "a", "access_token_name": "X-Token", "secret_token_name": "x_token"}`, "are the same header"},
		"type":               {`{"vault": "a", "max_body_bytes": "many"}`, "max_body_bytes"},
		"no body":            {`{"vault": "a", "max_body_bytes": 0}`, "config.max_body_bytes: must be at least 1"},
		"realm":              {`{"vault": "a", "realm": "a\r\nb"}`, "config.realm: must not hold control characters"},
		"not an object":      {`[]`, "config: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := parseConfig([]byte(tc.config))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestTheSchemaCarriesEveryField(t *testing.T) {
	for _, config := range []any{Config{}, hashivault.Config{}, azurevault.Config{}} {
		if _, err := kongschema.Schema(reflect.TypeOf(config)); err != nil {
			t.Error(err)
		}
	}
}
