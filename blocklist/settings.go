package blocklist

import (
	"fmt"
	"path/filepath"
)

// The variables of the environment that set blocks up.
const (
	FileVariable = "VAULT_AUTH_BLOCKS_FILE"     // where the list is kept
	KeyVariable  = "VAULT_AUTH_EVENTS_KEY_FILE" // the key that the nodes of a fleet share
)

// CheckSettings says what is wrong with the variables. It reads no file.
func CheckSettings(getenv func(string) string) error {
	file, key := getenv(FileVariable), getenv(KeyVariable)
	switch {
	case file == "":
		return nil
	case !filepath.IsAbs(file):
		return fmt.Errorf("%s: it must be the whole path of a file, not %.100q", FileVariable, file)
	case key == "":
		return fmt.Errorf("%s: it is needed with %s: name a file with a key (openssl rand -base64 32)", KeyVariable, FileVariable)
	}
	return nil
}
