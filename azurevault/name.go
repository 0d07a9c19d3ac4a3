package azurevault

import (
	"crypto/sha256"
	"encoding/hex"
)

const (
	maxName      = 127 // characters of a secret's name
	hashedPrefix = "sha256-"
	// maxNamePrefix leaves room for the longest name without a token in clear.
	maxNamePrefix = maxName - len(hashedPrefix) - 2*sha256.Size
)

// secretName is the name of the secret that holds an access token's record.
func secretName(prefix, accessToken string) string {
	if name := prefix + accessToken; len(name) <= maxName && isName(name) {
		return name
	}
	digest := sha256.Sum256([]byte(accessToken))
	return prefix + hashedPrefix + hex.EncodeToString(digest[:])
}

// isName reports whether s holds nothing that a secret's name can't.
func isName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}
