package credential

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
)

// The lengths in bytes that tokens may have.
const (
	MaxAccessToken = 255
	MaxSecretToken = 4096
)

// ErrMalformed is matched by every error of CheckAccessToken.
var ErrMalformed = errors.New("malformed access token")

var (
	errTokenLength    = fmt.Errorf("%w: it must have 1 to %d bytes", ErrMalformed, MaxAccessToken)
	errTokenCharacter = fmt.Errorf("%w: it may hold only letters, digits and . _ ~ -", ErrMalformed)
	errTokenDots      = fmt.Errorf("%w: it may neither be a dot nor hold two in a row", ErrMalformed)
)

// CheckAccessToken reports whether s can be an access token: 1 to 255 bytes of
// [A-Za-z0-9._~-], not a single dot, and without two dots in a row, since Vault
// answers 400 to any path that holds those. What it accepts is one segment of a
// path, is the same when escaped for a URL, and can be written to a log line
// without breaking it; nothing else may get near a secret store. The error
// never holds any of s.
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
	return nil
}

func isTokenByte(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' ||
		b == '.' || b == '_' || b == '~' || b == '-'
}

// Generate makes a token pair from crypto/rand. The access token has 130 random
// bits, the secret token 260. Both are of one case and hold only letters and
// digits, so they need no escaping in a URL, a header or a shell, and the
// access token is a valid secret name in Azure, where case is ignored.
func Generate() (accessToken, secretToken string) {
	return strings.ToLower(rand.Text()), strings.ToLower(rand.Text() + rand.Text())
}
