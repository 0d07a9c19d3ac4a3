// Package recording keeps what a genuine Kong does with external plugins, as
// data, to check kongtest/gateway against it.
//
// A [Case] is one request and what a plugin does with it. [Run] drives any
// [Kong] through all cases, with a plugin server ([Probe]) and a service
// ([Upstream]), and returns what each side saw: the
// replies to the plugin's calls, the request that reached the service, and the
// answer that reached the client. [LifeCycle] does the same for the calls that
// start and close instances. The command kongtest/record runs them on a
// genuine Kong and writes the files in kongtest/testdata/genuine; the tests of
// kongtest/gateway run them on that gateway and compare.
package recording

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Kong is a gateway with one plugin, [Plugin], whose server it doesn't start
// but finds at [Probe.Socket], and with trusted_ips set to [TrustedClient].
type Kong interface {
	// Addr is where the proxy speaks HTTP/1.1, H2Addr where it speaks
	// HTTP/2 without TLS.
	Addr() string
	H2Addr() string
	// SetConfig puts a declarative configuration into effect and returns when
	// new requests meet it.
	SetConfig(text string) error
	// Reload does what kong reload does and returns when new requests are
	// answered by new workers.
	Reload() error
}

// TrustedClient is the address from which cases with [Case.Trusted] come.
const TrustedClient = "127.0.0.2"

// The files of a recording.
const (
	SchemaFile     = "schema.json"               // of vault-auth
	SecretsFile    = "schema-vault-secrets.json" // of vault-secrets
	RequestsFile   = "requests.json"
	LifeCycleFile  = "lifecycle.json"
	ReferencesFile = "references.json"
)

// Requests is the recording of all cases.
type Requests struct {
	Kong  string     `json:"kong"` // version
	Cases []Observed `json:"cases"`
}

// Steps is the recording of the life cycle.
type Steps struct {
	Kong  string `json:"kong"` // version
	Steps []Step `json:"steps"`
}

// Handovers is the recording of what instances are started with where their
// configuration holds references.
type Handovers struct {
	Kong  string   `json:"kong"` // version
	Cases []Handed `json:"cases"`
}

// Verdicts is the recording of how Kong judges plugin configurations.
type Verdicts struct {
	Kong   string          `json:"kong"`   // version
	Schema json.RawMessage `json:"schema"` // of the plugin, as its query command printed it
	Cases  []Verdict       `json:"cases"`
}

// Verdict is how Kong judges one configuration.
type Verdict struct {
	Case     string          `json:"case"`
	Plugin   json.RawMessage `json:"plugin"` // as sent to POST /schemas/plugins/validate
	Accepted bool            `json:"accepted"`
	Errors   json.RawMessage `json:"errors,omitempty"` // the answer's "fields"
	Stored   json.RawMessage `json:"stored,omitempty"` // config, enabled and protocols, as GET /plugins shows them
}

// Text is a string of any bytes. In JSON a byte that isn't UTF-8 is written as
// \xNN, and a backslash as two.
type Text string

// MarshalJSON implements json.Marshaler.
func (t Text) MarshalJSON() ([]byte, error) {
	var b strings.Builder
	for rest := string(t); rest != ""; {
		r, n := utf8.DecodeRuneInString(rest)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, rest[0])
		case r == '\\':
			b.WriteString(`\\`)
		default:
			b.WriteString(rest[:n])
		}
		rest = rest[n:]
	}
	return json.Marshal(b.String())
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Text) UnmarshalJSON(raw []byte) error {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, `\`)
		b.WriteString(before)
		if !found {
			break
		}
		if strings.HasPrefix(after, `\`) {
			b.WriteByte('\\')
			s = after[1:]
			continue
		}
		if len(after) < 3 || after[0] != 'x' {
			return fmt.Errorf("a backslash before %.5q", after)
		}
		c, err := strconv.ParseUint(after[1:3], 16, 8)
		if err != nil {
			return err
		}
		b.WriteByte(byte(c))
		s = after[3:]
	}
	*t = Text(b.String())
	return nil
}

// Read reads a file of a recording.
func Read(dir, name string, into any) error {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Write writes a file of a recording.
func Write(dir, name string, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(v); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o644)
}
