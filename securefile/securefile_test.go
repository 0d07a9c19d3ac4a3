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
	const (
		us, ourGroup       = 1000, 2000
		others, otherGroup = 1001, 2001
		chmod0640          = "chmod 0640 f, or set defaultMode: 0440 on a Kubernetes volume"
	)
	volume := func(mode string) string {
		return "set defaultMode: " + mode + ` on a Kubernetes volume, or filePermission: "` + mode + `" in the SecretProviderClass`
	}
	for name, tc := range map[string]struct {
		file    securefile.Attributes
		readers securefile.Readers
		remedy  string // how it begins; empty: the file may be used
	}{
		"a secret of ours":                      {securefile.Attributes{Mode: 0o600, Owner: us, Group: ourGroup}, securefile.Group, ""},
		"a secret of root's":                    {securefile.Attributes{Mode: 0o400}, securefile.Group, ""},
		"a secret that our group may read":      {securefile.Attributes{Mode: 0o640, Owner: us, Group: ourGroup}, securefile.Group, ""},
		"a volume with fsGroup":                 {securefile.Attributes{Mode: 0o440, Group: ourGroup, ReadOnly: true}, securefile.Group, ""},
		"a volume without fsGroup":              {securefile.Attributes{Mode: 0o440, ReadOnly: true}, securefile.Group, ""},
		"a secret that another group may read":  {securefile.Attributes{Mode: 0o640, Owner: us, Group: otherGroup}, securefile.Group, "chmod 0600 f"},
		"a secret that our group may write":     {securefile.Attributes{Mode: 0o660, Owner: us, Group: ourGroup}, securefile.Group, chmod0640},
		"a secret that anybody may read":        {securefile.Attributes{Mode: 0o644, Owner: us, Group: ourGroup}, securefile.Group, chmod0640},
		"a volume that anybody may read":        {securefile.Attributes{Mode: 0o444, ReadOnly: true}, securefile.Group, volume("0440")},
		"the CSI driver's default":              {securefile.Attributes{Mode: 0o644, ReadOnly: true}, securefile.Group, volume("0440")},
		"the injector's default":                {securefile.Attributes{Mode: 0o640, Owner: 100, Group: ourGroup}, securefile.Group, "if the Vault Agent Injector wrote it: annotate the pod with vault.hashicorp.com/agent-run-as-same-user"},
		"the injector's, as our user":           {securefile.Attributes{Mode: 0o640, Owner: us, Group: ourGroup}, securefile.Group, ""},
		"the injector's, as our user, too open": {securefile.Attributes{Name: "/vault/secrets/token", Mode: 0o644, Owner: us, Group: ourGroup}, securefile.Group, `annotate the pod with vault.hashicorp.com/agent-inject-perms-token: "0640"`},
		"a snapshot on a volume with fsGroup":   {securefile.Attributes{Mode: 0o660, Owner: us, Group: ourGroup}, securefile.Sealed, ""},
		"a snapshot for another group":          {securefile.Attributes{Mode: 0o660, Owner: us, Group: otherGroup}, securefile.Sealed, "chmod 0600 f"},
		"a snapshot for anybody":                {securefile.Attributes{Mode: 0o664, Owner: us, Group: ourGroup}, securefile.Sealed, "chmod 0660 f"},
		"a snapshot of somebody else's":         {securefile.Attributes{Mode: 0o660, Owner: others, Group: ourGroup}, securefile.Sealed, "chown 1000 f"},
		"a certificate anybody may read":        {securefile.Attributes{Mode: 0o644, Group: otherGroup}, securefile.Anybody, ""},
		"a certificate anybody may replace":     {securefile.Attributes{Mode: 0o666}, securefile.Anybody, "chmod 0644 f"},
		"somebody else's":                       {securefile.Attributes{Mode: 0o600, Owner: others}, securefile.Group, "chown 1000 f"},
		"somebody else's certificate":           {securefile.Attributes{Mode: 0o644, Owner: others}, securefile.Anybody, "chown 1000 f"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.file.Name == "" {
				tc.file.Name = "f"
			}
			err := securefile.Process{User: us, Groups: []int{ourGroup}}.Allow(tc.file, tc.readers)
			var e *securefile.Error
			if errors.As(err, &e) != (tc.remedy != "") || e != nil && !strings.HasPrefix(e.Remedy, tc.remedy) {
				t.Errorf("got %v, want %q", err, tc.remedy)
			}
		})
	}
}

func TestRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if _, err := securefile.Read(name, securefile.Group, 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.WriteFile(name, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := securefile.Read(name, securefile.Group, 10); err != nil || string(b) != "0123456789" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := securefile.Read(name, securefile.Group, 9); err == nil || !strings.Contains(err.Error(), "larger than 9 bytes") {
		t.Errorf("a file too large: %v", err)
	}
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := securefile.Read(name, securefile.Group, 10); err == nil || !strings.Contains(err.Error(), "chmod 0640 "+name) {
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
	if b, err := securefile.Read(name, securefile.Group, 100); err != nil || string(b) != "new" {
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
		if _, err := securefile.Read(name, securefile.Anybody, 10); err == nil || !strings.Contains(err.Error(), "not a plain file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
