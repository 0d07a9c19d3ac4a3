package vault

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"kong-vault-auth/azurevault"
	"kong-vault-auth/hashivault"
	"kong-vault-auth/kongschema"
)

// logbook keeps log lines.
type logbook struct {
	mu    sync.Mutex
	text  bytes.Buffer
	lines chan struct{} // one for each line, if not nil
}

func (b *logbook) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lines != nil {
		b.lines <- struct{}{}
	}
	return b.text.Write(line)
}

func (b *logbook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		},
	}))
}

func (b *logbook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// count is how many lines contain all of parts.
func (b *logbook) count(parts ...string) int {
	n := 0
lines:
	for line := range strings.Lines(b.String()) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue lines
			}
		}
		n++
	}
	return n
}

// The settings of the stores that these tests are about.
type (
	HCV   = hashivault.Config
	Azure = azurevault.Config
)

// inlineHCV is a valid inline object with defaults, changed by change.
func inlineHCV(t *testing.T, change func(*HCV)) Config {
	t.Helper()
	c := &HCV{}
	if err := kongschema.ApplyDefaults(c); err != nil {
		t.Fatal(err)
	}
	c.Token = "hvs.one"
	if change != nil {
		change(c)
	}
	return Config{Inline: c}
}

// inlineAzure is the same for Azure.
func inlineAzure(t *testing.T, change func(*Azure)) Config {
	t.Helper()
	c := &Azure{}
	if err := kongschema.ApplyDefaults(c); err != nil {
		t.Fatal(err)
	}
	c.VaultURI, c.AuthMethod = "https://contoso.vault.azure.net", "managed_identity"
	if change != nil {
		change(c)
	}
	return Config{Inline: c}
}

// environ is an environment of pairs of names and values.
func environ(pairs ...string) func(string) string {
	values := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		values[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return values[name] }
}

// newRegistry is a registry on fake stores with an empty environment, closed
// when the test ends.
func newRegistry(t *testing.T, stores *fakeStores, log *logbook, env ...string) *Registry {
	t.Helper()
	r := NewRegistry(stores.kinds(), Options{Logger: log.logger(), Getenv: environ(env...), UserAgent: "kong-vault-auth/test"})
	t.Cleanup(r.Close)
	return r
}

func mustOpen(t *testing.T, r *Registry, owner string, c Config) (*Object, func()) {
	t.Helper()
	o, release, err := r.Open(owner, c)
	if err != nil {
		t.Fatal(err)
	}
	return o, release
}
