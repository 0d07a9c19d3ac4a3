package blocklist

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"sync"

	"kong-vault-auth/credential"
	"kong-vault-auth/snapshot"
)

const digestLen = sha256.Size

// Keys are made of the one key that the nodes of a fleet share. Each is of use for one
// thing only.
type Keys struct {
	sign    func() hash.Hash // an HMAC
	digests sync.Pool        // of *digester
}

// ReadKeys reads the key's file: 32 bytes in base64 or hex, open to nobody else.
func ReadKeys(file string) (*Keys, error) {
	key, err := snapshot.Key(file)
	if err != nil {
		return nil, err
	}
	return NewKeys(key), nil
}

// NewKeys is for a key of 32 bytes.
func NewKeys(key []byte) *Keys {
	signing, tokens := derive(key, "vault-auth blocks"), derive(key, "vault-auth blocked tokens")
	return &Keys{
		sign:    func() hash.Hash { return hmac.New(sha256.New, signing) },
		digests: sync.Pool{New: func() any { return &digester{mac: hmac.New(sha256.New, tokens)} }},
	}
}

func derive(key []byte, purpose string) []byte {
	derived, _ := hkdf.Key(sha256.New, key, nil, purpose, sha256.Size) // fails for longer ones only
	return derived
}

// digester digests tokens without allocating.
type digester struct {
	mac    hash.Hash
	buffer [max(credential.MaxAccessToken, digestLen)]byte
}

// digest is what stands for an access token, of at most MaxAccessToken bytes.
func (k *Keys) digest(accessToken string) (sum [digestLen]byte) {
	d := k.digests.Get().(*digester)
	d.mac.Reset()
	n := copy(d.buffer[:], accessToken)
	d.mac.Write(d.buffer[:n])
	copy(sum[:], d.mac.Sum(d.buffer[:0]))
	clear(d.buffer[:])
	k.digests.Put(d)
	return sum
}

// Digest is the value of an entry that blocks an access token.
func (k *Keys) Digest(accessToken string) string {
	sum := k.digest(accessToken)
	return hex.EncodeToString(sum[:])
}

// Token is the target that stands for an access token in all stores.
func (k *Keys) Token(accessToken string) (Target, error) {
	return Target{ByToken, k.Digest(accessToken)}, nil
}
