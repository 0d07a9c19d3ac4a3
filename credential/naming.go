package credential

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"

	"github.com/google/uuid"
)

// ShortID is a fingerprint in binary form: the first bytes of a credential's id.
type ShortID [6]byte

// String is the fingerprint.
func (s ShortID) String() string { return hex.EncodeToString(s[:]) }

// MarshalText and UnmarshalText are for JSON.
func (s ShortID) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a fingerprint.
func (s *ShortID) UnmarshalText(text []byte) (err error) {
	*s, err = ParseFingerprint(string(text))
	return err
}

var errFingerprint = errors.New("a fingerprint has 12 hex digits, in lower case")

// ParseFingerprint reads a fingerprint as logs show it. Its error doesn't hold the
// text, which may be anything.
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

// Naming names the credentials of one store, without allocating. The functions ID and
// Fingerprint do the same for a store that is met once.
type Naming struct{ store uuid.UUID }

// NewNaming is for the store of this identity.
func NewNaming(storeIdentity string) Naming {
	return Naming{uuid.NewSHA1(namespace, []byte(storeIdentity))}
}

// Store is what the store itself is called in messages between nodes.
func (n Naming) Store() ShortID { return ShortID(n.store[:]) }

// ShortID is that of an access token's credential.
func (n Naming) ShortID(accessToken string) ShortID {
	var buffer [len(n.store) + MaxAccessToken + 64]byte // a store's key may be longer than the token
	named := append(append(buffer[:0], n.store[:]...), accessToken...)
	sum := sha1.Sum(named) // as a UUIDv5 begins: its version comes after these bytes
	return ShortID(sum[:])
}

// ShortID is that of the credential.
func (c *Credential) ShortID() (s ShortID) {
	const first, dash = 8, 1
	if len(c.ID) < first+dash+4 {
		return s
	}
	_, _ = hex.Decode(s[:], []byte(c.ID[:first]))
	_, _ = hex.Decode(s[first/2:], []byte(c.ID[first+dash:first+dash+4]))
	return s
}
