package securefile

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
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
		file    attributes
		readers Readers
		remedy  string // how it begins; empty: the file may be used
	}{
		"a secret of ours":                      {attributes{mode: 0o600, owner: us, group: ourGroup}, Group, ""},
		"a secret of root's":                    {attributes{mode: 0o400}, Group, ""},
		"a secret that our group may read":      {attributes{mode: 0o640, owner: us, group: ourGroup}, Group, ""},
		"a volume with fsGroup":                 {attributes{mode: 0o440, group: ourGroup, readOnly: true}, Group, ""},
		"a volume without fsGroup":              {attributes{mode: 0o440, readOnly: true}, Group, ""},
		"a secret that another group may read":  {attributes{mode: 0o640, owner: us, group: otherGroup}, Group, "chmod 0600 f"},
		"a secret that our group may write":     {attributes{mode: 0o660, owner: us, group: ourGroup}, Group, chmod0640},
		"a secret that anybody may read":        {attributes{mode: 0o644, owner: us, group: ourGroup}, Group, chmod0640},
		"a volume that anybody may read":        {attributes{mode: 0o444, readOnly: true}, Group, volume("0440")},
		"the CSI driver's default":              {attributes{mode: 0o644, readOnly: true}, Group, volume("0440")},
		"the injector's default":                {attributes{mode: 0o640, owner: 100, group: ourGroup}, Group, "if the Vault Agent Injector wrote it: annotate the pod with vault.hashicorp.com/agent-run-as-same-user"},
		"the injector's, as our user":           {attributes{mode: 0o640, owner: us, group: ourGroup}, Group, ""},
		"the injector's, as our user, too open": {attributes{name: "/vault/secrets/token", mode: 0o644, owner: us, group: ourGroup}, Group, `annotate the pod with vault.hashicorp.com/agent-inject-perms-token: "0640"`},
		"a snapshot on a volume with fsGroup":   {attributes{mode: 0o660, owner: us, group: ourGroup}, Sealed, ""},
		"a snapshot for another group":          {attributes{mode: 0o660, owner: us, group: otherGroup}, Sealed, "chmod 0600 f"},
		"a snapshot for anybody":                {attributes{mode: 0o664, owner: us, group: ourGroup}, Sealed, "chmod 0660 f"},
		"a snapshot of somebody else's":         {attributes{mode: 0o660, owner: others, group: ourGroup}, Sealed, "chown 1000 f"},
		"a certificate anybody may read":        {attributes{mode: 0o644, group: otherGroup}, Anybody, ""},
		"a certificate anybody may replace":     {attributes{mode: 0o666}, Anybody, "chmod 0644 f"},
		"somebody else's":                       {attributes{mode: 0o600, owner: others}, Group, "chown 1000 f"},
		"somebody else's certificate":           {attributes{mode: 0o644, owner: others}, Anybody, "chown 1000 f"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.file.name == "" {
				tc.file.name = "f"
			}
			err := process{user: us, groups: []int{ourGroup}}.allow(tc.file, tc.readers)
			var e *Error
			if errors.As(err, &e) != (tc.remedy != "") || e != nil && !strings.HasPrefix(e.Remedy, tc.remedy) {
				t.Errorf("got %v, want %q", err, tc.remedy)
			}
		})
	}
}

func TestRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if _, err := Read(name, Group, 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.WriteFile(name, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := Read(name, Group, 10); err != nil || string(b) != "0123456789" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := Read(name, Group, 9); err == nil || !strings.Contains(err.Error(), "larger than 9 bytes") {
		t.Errorf("a file too large: %v", err)
	}
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(name, Group, 10); err == nil || !strings.Contains(err.Error(), "chmod 0640 "+name) {
		t.Errorf("a file anybody may read: %v", err)
	}
}

func TestFileThatCannotBeOpenedNamesTheUser(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Read(filepath.Join(file, "below"), Group, 10)
	if want := fmt.Sprintf("check that user %d, who runs this program, may read it", os.Geteuid()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("it says %v, not %s", err, want)
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
	if err := Replace(name, text("half", failure)); !errors.Is(err, failure) {
		t.Errorf("got %v, want the error of write", err)
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != "old, and longer" {
		t.Errorf("after a failure: %q, %v", b, err)
	}
	if err := Replace(name, text("new", nil)); err != nil {
		t.Fatal(err)
	}
	if b, err := Read(name, Group, 100); err != nil || string(b) != "new" {
		t.Errorf("afterwards: %q, %v", b, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left in the folder: %v, %v", left, err)
	}
	if err := Replace(filepath.Join(dir, "none", "f"), text("new", nil)); !errors.Is(err, fs.ErrNotExist) {
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
		if _, err := Read(name, Anybody, 10); err == nil || !strings.Contains(err.Error(), "not a plain file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeysMayBeHexOrBase64(t *testing.T) {
	name, key := filepath.Join(t.TempDir(), "key"), bytes.Repeat([]byte{0xfb}, keyLen)
	for form, tt := range map[string]struct {
		content string
		want    []byte // nil: it is refused
	}{
		"hex":            {hex.EncodeToString(key), key},
		"base64":         {base64.StdEncoding.EncodeToString(key), key},
		"with line ends": {"\n" + hex.EncodeToString(key) + "\r\n", key},
		"too short":      {hex.EncodeToString(key[1:]), nil},
		"as it is":       {string(key), nil},
	} {
		if err := os.WriteFile(name, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadKey(name)
		if !bytes.Equal(got, tt.want) || (err == nil) != (tt.want != nil) || err != nil && !strings.Contains(err.Error(), name+" holds no key of 32 bytes") {
			t.Errorf("%s: %x, %v", form, got, err)
		}
	}
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKey(name); err == nil || !strings.Contains(err.Error(), "chmod 0640 "+name) {
		t.Errorf("a key that anybody may read: %v", err)
	}
}
