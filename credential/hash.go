package credential

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strings"
)

const (
	hashScheme  = "sha256:"
	newSaltLen  = 16
	maxSaltLen  = 64
	hashRemedy  = "write sha256:<hex> or sha256:<salt in hex>:<hex>, as sha256sum prints it"
	slowRemedy  = "generate the secret token, and write sha256:<hex>: a random token needs no slow hash"
	slowProblem = "it is a slow password hash: a client could make the gateway compute many of them"
)

// Hash is the hash that a record may have instead of a secret token. In the store it is
//
//	sha256:<digest>         the SHA-256 of the secret token's bytes
//	sha256:<salt>:<digest>  the SHA-256 of the salt's bytes followed by the secret token's
//
// with digest and salt in hexadecimal, and a salt of 1 to 64 bytes. Reading it is not
// enough to use the credential, unless the secret token can be guessed: so only generated
// ones may be kept like this. The zero Hash means that there is none.
type Hash struct{ Salt, Digest string } // the bytes; no Salt: not salted

// newHash returns the hash of a secret token, with a random salt.
func newHash(secretToken string) Hash {
	salt := make([]byte, newSaltLen)
	rand.Read(salt)
	h := Hash{Salt: string(salt)}
	h.Digest = h.of(secretToken)
	return h
}

// parseHash parses the hash of a record. Its error is an *UnusableError
// without a Reason.
func parseHash(s string) (Hash, error) {
	if looksSlow(s) {
		return Hash{}, &UnusableError{Detail: slowProblem, Remedy: slowRemedy}
	}
	unusable := func(detail string) (Hash, error) {
		return Hash{}, &UnusableError{Detail: detail, Remedy: hashRemedy}
	}
	rest, ok := strings.CutPrefix(s, hashScheme)
	if !ok {
		return unusable("it does not begin with sha256:")
	}
	salt, digest, salted := strings.Cut(rest, ":")
	if !salted {
		salt, digest = "", salt
	}
	saltBytes, err := hex.DecodeString(salt)
	if err != nil || salted && len(saltBytes) == 0 || len(saltBytes) > maxSaltLen {
		return unusable(fmt.Sprintf("its salt is not 1 to %d bytes in hexadecimal", maxSaltLen))
	}
	sum, err := hex.DecodeString(digest)
	if err != nil || len(sum) != sha256.Size {
		return unusable("it does not end in a SHA-256 in hexadecimal, which has 64 digits")
	}
	return Hash{string(saltBytes), string(sum)}, nil
}

// looksSlow recognises the output of password hashing functions: $2y$… (bcrypt),
// $argon2id$…, $scrypt$…, $6$… and the like, and their names without a dollar.
func looksSlow(s string) bool {
	s = strings.ToLower(s)
	for _, prefix := range []string{"$", "{", "bcrypt", "argon2", "scrypt", "pbkdf2"} {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}

// IsZero reports whether there is no hash.
func (h Hash) IsZero() bool { return h.Digest == "" }

// String returns the hash as it is in a record, or an empty string if there is none.
func (h Hash) String() string {
	switch {
	case h.IsZero():
		return ""
	case h.Salt == "":
		return fmt.Sprintf("%s%x", hashScheme, h.Digest)
	}
	return fmt.Sprintf("%s%x:%x", hashScheme, h.Salt, h.Digest)
}

// Matches reports whether h is the hash of a secret token. The comparison takes the same
// time wherever the first difference is.
func (h Hash) Matches(secretToken string) bool {
	return subtle.ConstantTimeCompare([]byte(h.of(secretToken)), []byte(h.Digest)) == 1
}

// of returns the digest of a secret token with h's salt.
func (h Hash) of(secretToken string) string {
	sum := sha256.Sum256(append([]byte(h.Salt), secretToken...))
	return string(sum[:])
}
