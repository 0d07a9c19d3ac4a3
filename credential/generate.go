package credential

import (
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
)

// Prefix is this program's prefix of generated tokens, the one whose checksums
// CheckAccessToken and CheckSecretToken check. Tokens with a prefix can be found
// where they were leaked to: deploy/ has the rules.
const Prefix = "kva"

const (
	randomLen   = 32 // 190 bits
	checksumLen = 6
	maxPrefix   = 32
)

// alphabet is that of generated tokens, and of base 62 with 0 first.
const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// ErrPrefix is matched by Generate's error.
var ErrPrefix = errors.New("a token's prefix is 1 to 32 letters and digits")

// Generate makes a token pair from crypto/rand. Each token is 32 characters of
// [0-9A-Za-z], or with a prefix
//
//	<prefix>_<32 characters of [0-9A-Za-z]>_<checksum>
//
// The checksum is the CRC-32 (the one of zlib, gzip and PNG) of the 32 characters'
// ASCII bytes, as a number in base 62 with the digits 0-9A-Za-z, the most
// significant one first, filled up with zeros to six digits. GitHub's tokens have
// the same.
func Generate(prefix string) (accessToken, secretToken string, err error) {
	if len(prefix) > maxPrefix || strings.Trim(prefix, alphabet) != "" {
		return "", "", fmt.Errorf("%w, not %q", ErrPrefix, prefix)
	}
	return newToken(prefix), newToken(prefix), nil
}

func newToken(prefix string) string {
	random := randomText(randomLen)
	if prefix == "" {
		return random
	}
	return prefix + "_" + random + "_" + checksum(random)
}

// randomText takes those bytes of crypto/rand that are less than a multiple of 62, so
// that all characters are equally likely.
func randomText(n int) string {
	const fair = 256 - 256%len(alphabet)
	text := make([]byte, 0, n)
	for buf := make([]byte, 2*n); len(text) < n; {
		rand.Read(buf)
		for _, b := range buf {
			if int(b) < fair && len(text) < n {
				text = append(text, alphabet[int(b)%len(alphabet)])
			}
		}
	}
	return string(text)
}

func checksum(random string) string {
	sum := crc32.ChecksumIEEE([]byte(random))
	digits := make([]byte, checksumLen)
	for i := checksumLen - 1; i >= 0; i-- {
		digits[i] = alphabet[sum%uint32(len(alphabet))]
		sum /= uint32(len(alphabet))
	}
	return string(digits)
}

// badChecksum reports whether s has the form of a token that Generate makes with
// Prefix, and another checksum: a typing error, or made up.
func badChecksum(s string) bool {
	const sumAt = len(Prefix) + 1 + randomLen + 1
	if len(s) != sumAt+checksumLen || !strings.HasPrefix(s, Prefix+"_") || s[sumAt-1] != '_' {
		return false
	}
	random, sum := s[len(Prefix)+1:sumAt-1], s[sumAt:]
	return strings.Trim(random+sum, alphabet) == "" && sum != checksum(random)
}
