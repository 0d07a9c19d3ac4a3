package securefile_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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

func TestReplaceIsAllOrNothing(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	if err := os.WriteFile(name, []byte("old, and longer"), 0o644); err != nil {
		t.Fatal(err)
	}
	text := func(s string, end error) func(io.Writer) error {
		return func(w io.Writer) error {
			if _, err := io.WriteString(w, s); err != nil {
				return err
			}
			return end
		}
	}
	failure := errors.New("no more")
	if err := securefile.Replace(name, text("half", failure)); !errors.Is(err, failure) {
		t.Errorf("got %v, want the error of write", err)
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != "old, and longer" {
		t.Errorf("after a failure: %q, %v", b, err)
	}
	if err := securefile.Replace(name, text("new", nil)); err != nil {
		t.Fatal(err)
	}
	if b, err := securefile.Read(name, securefile.Nobody, 100); err != nil || string(b) != "new" {
		t.Errorf("afterwards: %q, %v", b, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left in the folder: %v, %v", left, err)
	}
	if err := securefile.Replace(filepath.Join(dir, "none", "f"), text("new", nil)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a folder: %v", err)
	}
}

func TestOnlyPlainFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, pipe, "/dev/null"} {
		if _, err := securefile.Read(name, securefile.Anybody, 10); err == nil || !strings.Contains(err.Error(), "no plain file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
