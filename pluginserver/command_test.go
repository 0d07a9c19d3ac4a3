package pluginserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseCommand(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want *Command
		err  string
	}{
		"Kong's defaults": {nil, &Command{Name: "vault-auth", KongPrefix: "/usr/local/kong", SocketPath: "/usr/local/kong/vault-auth.socket", SocketMode: 0o600, SocketGroup: -1}, ""},
		"dump":            {[]string{"-kong-prefix", "/k", "-dump"}, &Command{Name: "vault-auth", KongPrefix: "/k", Dump: true, SocketPath: "/k/vault-auth.socket", SocketMode: 0o600, SocketGroup: -1}, ""},
		"sidecar": {[]string{"-socket", "/run/p.sock", "-socket-mode", "0660", "-socket-group", "0", "-env-file", "/e"},
			&Command{Name: "vault-auth", KongPrefix: "/usr/local/kong", SocketPath: "/run/p.sock", SocketMode: 0o660, SocketGroup: 0, EnvFile: "/e"}, ""},
		"name": {[]string{"-name", "orders-auth", "-kong-prefix", "/k"},
			&Command{Name: "orders-auth", KongPrefix: "/k", SocketPath: "/k/orders-auth.socket", SocketMode: 0o600, SocketGroup: -1}, ""},
		"bad mode":      {[]string{"-socket-mode", "rw"}, nil, `-socket-mode "rw" is not an octal file mode such as 0600`},
		"mode too wide": {[]string{"-socket-mode", "7777"}, nil, "not an octal file mode"},
		"bad group":     {[]string{"-socket-group", "no such group"}, nil, "is not a group of this machine"},
		"argument":      {[]string{"serve"}, nil, `unexpected argument "serve"`},
		"unknown flag":  {[]string{"-nope"}, nil, "flag provided but not defined: -nope"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			got, err := ParseCommand("/opt/vault-auth/vault-auth", tc.args, &stderr)
			if tc.err != "" {
				if err == nil || !strings.Contains(stderr.String(), tc.err) {
					t.Errorf("got %v and %q, want %q", err, &stderr, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.IgnoreUnexported(Command{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHelpShowsTheFlags(t *testing.T) {
	var stderr bytes.Buffer
	if _, err := ParseCommand("vault-auth", []string{"-help"}, &stderr); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"-kong-prefix", "-dump", "-env-file", "-socket-mode", `"vault-auth help"`} {
		if !strings.Contains(stderr.String(), name) {
			t.Errorf("usage has no %s: %s", name, &stderr)
		}
	}
}

func TestDumpIsWhatKongReads(t *testing.T) {
	type config struct {
		Name string `json:"name" kong:"required;default=x" doc:"A name that means something."`
	}
	var out bytes.Buffer
	if err := Dump(&out, Plugin{Version: "1.2.3", Priority: 7, Config: (*config)(nil)}, "p", "/k/p.socket"); err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	protocols := []any{"grpc", "grpcs", "http", "https"}
	want := map[string]any{"Protocol": "ProtoBuf:1", "SocketPath": "/k/p.socket", "Plugins": []any{map[string]any{
		"Name": "p", "Phases": []any{"access"}, "Version": "1.2.3", "Priority": 7.0,
		"Schema": map[string]any{"name": "p", "fields": []any{
			map[string]any{"protocols": map[string]any{"type": "set", "required": true, "default": protocols, "elements": map[string]any{"type": "string", "one_of": protocols}}},
			map[string]any{"config": map[string]any{"type": "record", "fields": []any{
				map[string]any{"name": map[string]any{"type": "string", "required": true, "default": "x", "description": "A name that means something."}},
			}}},
		}},
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A genuine Kong 3.9.1 refuses "dev", the version of an image that was built
// without one.
func TestKongGetsAVersionOfThreeNumbers(t *testing.T) {
	for version, want := range map[string]string{
		"1.2.3": "1.2.3", "v1.2.3": "1.2.3", "v1.2.3-4-g6f4686f-dirty": "1.2.3",
		"dev": "0.0.0", "6f4686f": "0.0.0", "1.2": "0.0.0", "": "0.0.0",
	} {
		if got := kongVersion(version); got != want {
			t.Errorf("kongVersion(%q) = %q, want %q", version, got, want)
		}
	}
}

func TestParseEnv(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want map[string]string
		err  string
	}{
		"values as they stand": {"# comment\n\nA=1\n  B=\"q\" $HOME # x\r\nC=\nD=a=b\n", map[string]string{"A": "1", "B": `"q" $HOME # x`, "C": "", "D": "a=b"}, ""},
		"no value":             {"A=1\nSECRET\n", nil, "line 2 is not NAME=VALUE"},
		"export":               {"export A=1\n", nil, "line 1 is not NAME=VALUE"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseEnv(strings.NewReader(tc.text))
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Errorf("got %v, want %s", err, tc.err)
				}
				return
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}
