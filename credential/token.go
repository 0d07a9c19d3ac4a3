package credential

import (
	"errors"
	"fmt"
	"strings"
)

// The lengths in bytes that tokens may have.
const (
	MaxAccessToken = 255
	MaxSecretToken = 4096
)

// errMalformed is matched by every error of CheckAccessToken.
var errMalformed = errors.New("malformed access token")

var (
	errTokenLength    = fmt.Errorf("%w: it must have 1 to %d bytes", errMalformed, MaxAccessToken)
	errTokenCharacter = fmt.Errorf("%w: it may hold only letters, digits and . _ ~ -", errMalformed)
	errTokenDots      = fmt.Errorf("%w: it may neither be a dot nor hold two in a row", errMalformed)
	errTokenChecksum  = fmt.Errorf("%w: its last six characters are not the checksum of those before", errMalformed)

	errSecretLength   = fmt.Errorf("malformed secret token: it must have 1 to %d bytes", MaxSecretToken)
	errSecretChecksum = errors.New("malformed secret token: its last six characters are not the checksum of those before")
)

// CheckAccessToken reports whether s can be an access token: 1 to 255 bytes of
// [A-Za-z0-9._~-], not a single dot, and without two dots in a row, since Vault
// answers 400 to any path that contains them. If it has exactly the form of a token
// that Generate makes with Prefix, its checksum must be right. An accepted token is one
// segment of a path, needs no escaping in a URL, and can't break a log line; no other may
// get near a secret store. The error never contains any of s.
func CheckAccessToken(s string) error {
	if len(s) == 0 || len(s) > MaxAccessToken {
		return errTokenLength
	}
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return errTokenCharacter
		}
	}
	if s == "." || strings.Contains(s, "..") {
		return errTokenDots
	}
	if badChecksum(s) {
		return errTokenChecksum
	}
	return nil
}

// CheckSecretToken reports whether s can be a secret token: 1 to 4,096 bytes, with
// the right checksum if it has exactly the form of a token that Generate makes with
// Prefix. The error never contains any of s.
func CheckSecretToken(s string) error {
	switch {
	case len(s) == 0 || len(s) > MaxSecretToken:
		return errSecretLength
	case badChecksum(s):
		return errSecretChecksum
	}
	return nil
}

func isTokenByte(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' ||
		b == '.' || b == '_' || b == '~' || b == '-'
}
