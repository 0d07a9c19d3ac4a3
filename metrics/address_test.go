package metrics

import (
	"os"
	"path/filepath"
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
		"unix:", "unix:/", "unix:m.socket", "unix:/" + strings.Repeat("x", maxSocketPath),
	} {
		if got, err := ParseAddress(setting); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(setting, "unix:")) {
			t.Errorf("%q: %v, %v", setting, got, err)
		}
	}
}

func TestALongestSocketPathCanBeListenedOn(t *testing.T) {
	dir := socketDir(t)
	a, err := ParseAddress("unix:" + filepath.Join(dir, strings.Repeat("x", maxSocketPath-len(dir)-1)))
	if err != nil {
		t.Fatal(err)
	}
	l, err := a.listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestSocketTakesThePlaceOfNoFile(t *testing.T) {
	path := filepath.Join(socketDir(t), "precious")
	if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (Address{"unix", path}).listen(t.Context()); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("%v", err)
	}
	if b, err := os.ReadFile(path); string(b) != "data" {
		t.Errorf("it holds %q, %v", b, err)
	}
}

func TestSocketIsForKongsUserAndGroup(t *testing.T) {
	path := filepath.Join(socketDir(t), "m")
	l, err := (Address{"unix", path}).listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "m") // t.TempDir's paths can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
