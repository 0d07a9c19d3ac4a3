package credential

import (
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
)

// Prefix is this program's prefix of generated tokens. CheckAccessToken and
// CheckSecretToken check the checksums of tokens with this prefix. Scanners find leaked
// tokens by their prefix: deploy/ has the rules.
const Prefix = "kva"

const (
	randomLen   = 32 // 190 bits
	checksumLen = 6
	maxPrefix   = 32
)

// alphabet is that of generated tokens, and of base 62 with 0 first.
const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// errPrefix is matched by Generate's error.
var errPrefix = errors.New("a token's prefix is 1 to 32 letters and digits")

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
		return "", "", fmt.Errorf("%w, not %q", errPrefix, prefix)
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

// randomText skips the bytes of crypto/rand from the largest multiple of 62 on, so that all
// characters are equally likely.
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

// hasChecksum reports whether s has exactly the form of a token that Generate makes with
// Prefix, and whether its checksum is right. If it isn't, there is a typing error, or
// somebody made the token up.
func hasChecksum(s string) (formed, right bool) {
	const sumAt = len(Prefix) + 1 + randomLen + 1
	if len(s) != sumAt+checksumLen || !strings.HasPrefix(s, Prefix+"_") || s[sumAt-1] != '_' {
		return false, false
	}
	random, sum := s[len(Prefix)+1:sumAt-1], s[sumAt:]
	formed = strings.Trim(random, alphabet) == "" && strings.Trim(sum, alphabet) == ""
	return formed, formed && sum == checksum(random)
}

func badChecksum(s string) bool {
	formed, right := hasChecksum(s)
	return formed && !right
}
