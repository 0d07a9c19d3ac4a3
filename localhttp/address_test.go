package localhttp

import (
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	for setting, want := range map[string]Address{
		"":                        {},
		"127.0.0.1:9542":          {"tcp", "127.0.0.1:9542"},
		":9542":                   {"tcp", ":9542"},
		"[::1]:9542":              {"tcp", "[::1]:9542"},
		"[fe80::1%eth0]:1":        {"tcp", "[fe80::1%eth0]:1"},
		"kong-1.example.com:9542": {"tcp", "kong-1.example.com:9542"},
		"unix:/run/kong/m.socket": {"unix", "/run/kong/m.socket"},
	} {
		got, err := ParseAddress(setting)
		if got != want || err != nil || got.String() != setting {
			t.Errorf("%q: %v, %v", setting, got, err)
		}
	}
	for _, setting := range []string{
		"9542", "localhost", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:http", "::1:9542", "http://127.0.0.1:9542",
		"127.0.0.1:9542/metrics", "some host:9542", " :9542", "on",
		"unix:", "unix:/", "unix:m.socket", "unix:/" + strings.Repeat("x", 90),
	} {
		if got, err := ParseAddress(setting); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(setting, "unix:")) {
			t.Errorf("%q: %v, %v", setting, got, err)
		}
	}
}
