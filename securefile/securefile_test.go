package securefile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kong-vault-auth/securefile"
)

func TestAllow(t *testing.T) {
	for name, tc := range map[string]struct {
		mode    fs.FileMode
		owner   int
		readers securefile.Readers
		remedy  string // empty: it may be used
	}{
		"a secret of ours":                  {0o600, 1000, securefile.Nobody, ""},
		"a secret of root's":                {0o400, 0, securefile.Nobody, ""},
		"a secret that the group may read":  {0o640, 1000, securefile.Nobody, "chmod 0600 f, or set defaultMode: 0400 on a Kubernetes volume"},
		"a volume that the group may read":  {0o440, 0, securefile.Group, ""},
		"a volume that anybody may read":    {0o444, 0, securefile.Group, "chmod 0440 f, or set defaultMode: 0440 on a Kubernetes volume"},
		"a certificate anybody may read":    {0o644, 0, securefile.Anybody, ""},
		"a certificate anybody may replace": {0o666, 0, securefile.Anybody, "chmod 0644 f, or set defaultMode: 0440 on a Kubernetes volume"},
		"somebody else's":                   {0o600, 1001, securefile.Nobody, "chown 1000 f"},
	} {
		t.Run(name, func(t *testing.T) {
			err := securefile.Allow("f", tc.mode, tc.owner, 1000, tc.readers)
			var e *securefile.Error
			if errors.As(err, &e) != (tc.remedy != "") || e != nil && e.Remedy != tc.remedy {
				t.Errorf("got %v, want %q", err, tc.remedy)
			}
		})
	}
}

func TestRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if _, err := securefile.Read(name, securefile.Nobody, 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.WriteFile(name, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := securefile.Read(name, securefile.Nobody, 10); err != nil || string(b) != "0123456789" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := securefile.Read(name, securefile.Nobody, 9); err == nil || !strings.Contains(err.Error(), "larger than 9 bytes") {
		t.Errorf("a file too large: %v", err)
	}
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := securefile.Read(name, securefile.Nobody, 10); err == nil || !strings.Contains(err.Error(), "chmod 0600 "+name) {
		t.Errorf("a file anybody may read: %v", err)
	}
}
