package vault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/secretstore"
)

var editedAt = time.Unix(1_790_000_000, 0)

// objectFile is a vaults file with these contents, or none yet.
func objectFile(t *testing.T, contents string, noLiterals bool) (*ObjectFile, string) {
	path := filepath.Join(t.TempDir(), "vaults.yml")
	if contents != "" {
		writeFile(t, path, contents)
	}
	return NewObjectFile(path, (&fakeStores{}).kinds(), environ("VAULT_TOKEN", "the-operators"), noLiterals), path
}

const commented = `# who owns this
_format_version: "3.0"
vaults:
- name: hcv
  prefix: kong-auth # the first one
  created_at: 1700000000
  config:
    # the production server
    host: vault
    token: "{vault://env/my-token}"
    max_ttl: 60
`

func TestEditedFileKeepsWhatWasNotEdited(t *testing.T) {
	f, path := objectFile(t, commented, false)
	description := "for clients"
	got, err := f.Update(Edit{Name: "kong-auth", Kind: "hcv", Description: &description, Fields: map[string]string{"port": "443", "max_ttl": "", "ssl_verify": "false"}}, editedAt)
	if err != nil {
		t.Fatal(err)
	}
	want := Stored{
		ID: idOf("kong-auth"), Name: "kong-auth", Kind: "hcv", Description: "for clients",
		CreatedAt: time.Unix(1_700_000_000, 0), UpdatedAt: editedAt,
		Config: map[string]any{"host": "vault", "port": 443, "token": "{vault://env/my-token}", "ssl_verify": false},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wantFile := `# who owns this
_format_version: "3.0"
vaults:
  - name: hcv
    prefix: kong-auth # the first one
    created_at: 1700000000
    config:
      # the production server
      host: vault
      token: "{vault://env/my-token}"
      port: 443
      ssl_verify: false
    id: ` + idOf("kong-auth") + `
    updated_at: 1790000000
    description: for clients
`
	if diff := cmp.Diff(wantFile, string(b)); diff != "" {
		t.Error(diff)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Error(info.Mode())
	}
}

// Such a mistake was made by hand, by somebody who knows the lines of the file.
func TestMistakeElsewhereInTheFileHasItsLine(t *testing.T) {
	f, _ := objectFile(t, "vaults:\n- name: hcv\n  prefix: broken\n  config: {port: many}\n", false)
	_, err := f.Create(Edit{Name: "one", Kind: "hcv", Fields: map[string]string{"token": "hvs.one"}}, editedAt)
	if err == nil || !strings.Contains(err.Error(), "VAULT_AUTH_VAULTS_FILE: line 2: config of broken: port") {
		t.Error(err)
	}
}

// Errors about names that no object has, or can have, list the names that exist.
func TestNamesThatNoObjectHas(t *testing.T) {
	f, _ := objectFile(t, "", false)
	says := func(want string, err error) {
		t.Helper()
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	_, err := f.Object("three")
	says(`there is no vault object called "three": there is none yet`, err)
	for _, name := range []string{"one", "two"} {
		if _, err := f.Create(Edit{Name: name, Kind: "hcv", Fields: map[string]string{"token": "hvs.one"}}, editedAt); err != nil {
			t.Fatal(err)
		}
	}
	_, err = f.Object("three")
	says(`there is no vault object called "three": there are one, two`, err)
	for name, why := range map[string]string{
		"Kong_Auth": "a name is letters in lower case, digits and -, as in kong-auth",
		"":          "a name is letters in lower case, digits and -, as in kong-auth",
		"env":       "objects of that name are those of the environment",
		"hcv":       "objects of that name are those of the environment",
	} {
		_, err := f.Create(Edit{Name: name, Kind: "hcv"}, editedAt)
		says(fmt.Sprintf("vault object configuration: no vault object can be called %q: %s", name, why), err)
	}
}

// The file doesn't exist at first. The plugin server could read every version of it.
func TestObjectsLifeInAFile(t *testing.T) {
	f, path := objectFile(t, "", false)
	readable := func() map[string]Definition {
		t.Helper()
		parsed, _, err := readVaultsFile(path, f.kinds, environ())
		if err != nil {
			t.Fatal(err)
		}
		return parsed.defined
	}
	if _, err := f.Object("one"); !errors.Is(err, ErrNoObject) {
		t.Error(err)
	}
	one, err := f.Create(Edit{Name: "one", Kind: "hcv", Fields: map[string]string{"host": "vault", "token": "hvs.one"}}, editedAt)
	if err != nil {
		t.Fatal(err)
	}
	if one.Config["token"] != nil {
		t.Error("the token is shown")
	}
	if d := readable()["one"]; d.Config == nil {
		t.Error("it isn't there")
	}
	for what, e := range map[string]Edit{
		"name": {Name: "one", Kind: "hcv"}, "id": {Name: "two", ID: one.ID, Kind: "hcv"},
	} {
		if _, err := f.Create(e, editedAt); !errors.Is(err, ErrObjectExists) {
			t.Errorf("the same %s: %v", what, err)
		}
	}
	if byID, err := f.Object(one.ID); err != nil || byID.Name != "one" {
		t.Errorf("%v, %v", byID, err)
	}
	replaced, err := f.Update(Edit{Name: "one", Kind: "hcv", Fields: map[string]string{"token": "hvs.two"}, Replace: true}, editedAt.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Stored{ID: one.ID, Name: "one", Kind: "hcv", CreatedAt: editedAt, UpdatedAt: editedAt.Add(time.Hour), Config: map[string]any{}}, replaced); diff != "" {
		t.Error(diff)
	}
	if err := f.Delete("one"); err != nil {
		t.Error(err)
	}
	if err := f.Delete("one"); !errors.Is(err, ErrNoObject) {
		t.Error(err)
	}
	if n := len(readable()); n != 0 {
		t.Errorf("%d objects", n)
	}
}

// The file stays as it was.
func TestWhatAPluginServerWouldRefuseIsNotWritten(t *testing.T) {
	token := func(value string) map[string]string { return map[string]string{"token": value} }
	for name, tt := range map[string]struct {
		edit Edit
		want string
	}{
		"name":                {Edit{Name: "Kong", Kind: "hcv", Fields: token("t")}, `no vault object can be called "Kong"`},
		"reserved name":       {Edit{Name: "hcv", Kind: "hcv", Fields: token("t")}, `no vault object can be called "hcv"`},
		"kind":                {Edit{Name: "two", Kind: "aws", Fields: token("t")}, "must be hcv or azure"},
		"number":              {Edit{Name: "two", Kind: "hcv", Fields: map[string]string{"token": "t", "port": "many"}}, "whole number"},
		"rule":                {Edit{Name: "two", Kind: "hcv", Fields: map[string]string{"token": "t", "kv": "v3"}}, "kv"},
		"no login":            {Edit{Name: "two", Kind: "hcv"}, "token"},
		"another vault's":     {Edit{Name: "two", Kind: "hcv", Fields: token("{vault://aws/x}")}, `the vault "aws", which neither this file`},
		"a place in a vault":  {Edit{Name: "two", Kind: "hcv", Fields: map[string]string{"token": "{vault://env/T}", "host": "{vault://kong-auth/x/y}"}}, "only {vault://env/NAME} can"},
		"its own":             {Edit{Name: "two", Kind: "hcv", Fields: token("{vault://two/x/y}")}, "can't be read without it"},
		"decK's reference":    {Edit{Name: "two", Kind: "hcv", Fields: token("${{ env \"X\" }}")}, "decK"},
		"a literal":           {Edit{Name: "two", Kind: "hcv", Fields: token("t")}, "--no-literals"},
		"unknown environment": {Edit{Name: "two", Kind: "hcv", Fields: map[string]string{"token": "{vault://env/T}", "host": "{vault://env/not-there}"}}, "NOT_THERE"},
	} {
		t.Run(name, func(t *testing.T) {
			f, path := objectFile(t, commented, name == "a literal")
			_, err := f.Create(tt.edit, editedAt)
			if !errors.Is(err, secretstore.ErrConfig) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v", err)
			}
			if strings.Contains(err.Error(), "line ") {
				t.Errorf("a line of a file that was never written: %v", err)
			}
			if b, _ := os.ReadFile(path); string(b) != commented {
				t.Errorf("the file is now\n%s", b)
			}
		})
	}
	for _, reference := range []string{"{vault://env/only-the-plugin-has-it}", "{vault://kong-auth/deeper/token/value}", "{vault://azure/token/value}"} {
		f, _ := objectFile(t, commented, true)
		if _, err := f.Create(Edit{Name: "two", Kind: "hcv", Fields: token(reference)}, editedAt); err != nil {
			t.Errorf("%s: %v", reference, err)
		}
	}
}

func TestVaultsFileThatCannotBeReadIsNotReplaced(t *testing.T) {
	for name, contents := range map[string]string{
		"no YAML": "vaults: [", "other": "consumers: []", "unknown field": "vaults: [{name: hcv, prefx: a}]", "no list": "vaults: {}",
	} {
		f, path := objectFile(t, contents, false)
		if _, err := f.Create(Edit{Name: "two", Kind: "hcv"}, editedAt); !errors.Is(err, ErrFile) {
			t.Errorf("%s: %v", name, err)
		}
		if b, _ := os.ReadFile(path); string(b) != contents {
			t.Errorf("%s: the file is now\n%s", name, b)
		}
	}
	f, path := objectFile(t, commented, false)
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Objects(); !errors.Is(err, ErrFile) {
		t.Errorf("anybody may write it: %v", err)
	}
}
