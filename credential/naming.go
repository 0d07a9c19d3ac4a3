package credential

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/google/uuid"
)

// namespace is the UUID namespace of this program's credentials. All ids depend on it, so
// it must never change.
var namespace = uuid.MustParse("6f0e1c52-94c5-4b0e-9d61-5a3b7b5d2c11")

// ID is the id of an access token's credential in a store: a UUIDv5, so it is the same on
// every node and after every restart, and doesn't reveal the token. Kong passes it to the
// upstream (X-Credential-Identifier), to log plugins and to rate limiting.
func ID(storeIdentity, accessToken string) string {
	store := uuid.NewSHA1(namespace, []byte(storeIdentity))
	return uuid.NewSHA1(store, []byte(accessToken)).String()
}

// Fingerprint is the first 12 hex digits of a credential's id. Logs, errors and audit
// lines name a credential in no other way. It is empty if id is too short.
func Fingerprint(id string) string {
	const digits = 12
	hex := strings.ReplaceAll(id, "-", "")
	if len(hex) < digits {
		return ""
	}
	return hex[:digits]
}

// ShortID is a fingerprint in binary form: the first bytes of a credential's id.
type ShortID [6]byte

// String is the fingerprint.
func (s ShortID) String() string { return hex.EncodeToString(s[:]) }

// MarshalText writes the fingerprint in JSON.
func (s ShortID) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a fingerprint.
func (s *ShortID) UnmarshalText(text []byte) (err error) {
	*s, err = ParseFingerprint(string(text))
	return err
}

var errFingerprint = errors.New("a fingerprint has 12 hex digits, in lower case")

// ParseFingerprint reads a fingerprint from a log. Its error doesn't contain the text,
// which may be anything.
func ParseFingerprint(fingerprint string) (s ShortID, err error) {
	b, err := hex.DecodeString(fingerprint)
	if err != nil || len(b) != len(s) || hex.EncodeToString(b) != fingerprint {
		return s, errFingerprint
	}
	return ShortID(b), nil
}

// IsFingerprint reports whether text looks like a fingerprint.
func IsFingerprint(text string) bool {
	_, err := ParseFingerprint(text)
	return err == nil
}

// Naming computes the fingerprints of one store's credentials, without allocating. For a
// single one, use the functions ID and Fingerprint.
type Naming struct{ store uuid.UUID }

// NewNaming returns the Naming of the store with this identity.
func NewNaming(storeIdentity string) Naming {
	return Naming{uuid.NewSHA1(namespace, []byte(storeIdentity))}
}

// Store is the name of the store itself in messages between nodes.
func (n Naming) Store() ShortID { return ShortID(n.store[:]) }

// ShortID returns that of an access token's credential.
func (n Naming) ShortID(accessToken string) ShortID {
	var buffer [len(n.store) + MaxAccessToken + 64]byte // a store's key may be longer than the token
	named := append(append(buffer[:0], n.store[:]...), accessToken...)
	sum := sha1.Sum(named) // as a UUIDv5 begins: its version comes after these bytes
	return ShortID(sum[:])
}

// ShortID returns the credential's.
func (c *Credential) ShortID() (s ShortID) {
	const first, dash = 8, 1
	if len(c.ID) < first+dash+4 {
		return s
	}
	_, _ = hex.Decode(s[:], []byte(c.ID[:first]))
	_, _ = hex.Decode(s[first/2:], []byte(c.ID[first+dash:first+dash+4]))
	return s
}
