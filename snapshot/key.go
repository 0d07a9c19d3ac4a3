package snapshot

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"

	"kong-vault-auth/securefile"
)

const (
	keyLen     = 32   // bytes
	maxKeyFile = 1024 // bytes
)

// Key reads a file that holds a key of 32 bytes, in base64 or hex, with or
// without a line's end. It must belong to this process's user or root, and be
// readable for no others than this process's groups. The error, a
// *securefile.Error, names the file and what to do about it.
func Key(name string) ([]byte, error) {
	b, err := securefile.Read(name, securefile.Group, maxKeyFile)
	if err != nil {
		return nil, err
	}
	text := strings.TrimSpace(string(b))
	for _, decode := range []func(string) ([]byte, error){hex.DecodeString, base64.StdEncoding.DecodeString} {
		if key, err := decode(text); err == nil && len(key) == keyLen {
			return key, nil
		}
	}
	return nil, &securefile.Error{
		Err:    errors.New(name + " holds no key of 32 bytes in base64 or hex"),
		Remedy: "openssl rand -base64 32 makes one",
	}
}
