package hashivault

import (
	"path/filepath"
	"strings"
	"testing"

	"kong-vault-auth/securefile"
)

func TestFilesWithoutOneToken(t *testing.T) {
	for contents, want := range map[string]string{
		"":                             "empty",
		" \n":                          "empty",
		"hvs.a\nhvs.b":                 "more than one line",
		"hvs.\x00":                     "unprintable",
		strings.Repeat("x", maxFile+1): "larger than",
	} {
		file := filepath.Join(t.TempDir(), "secret")
		replaceFile(t, file, contents)
		if _, err := readSecret(file, securefile.Group); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}
