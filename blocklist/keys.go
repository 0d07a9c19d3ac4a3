package blocklist

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"

	"kong-vault-auth/credential"
	"kong-vault-auth/securefile"
)

const digestLen = sha256.Size

// Keys are derived from the one key that the nodes of a fleet share: one signs the
// file, the other hides access tokens.
type Keys struct {
	signing []byte
	tokens  *credential.MAC
}

// ReadKeys reads the key's file, see securefile.ReadKey.
func ReadKeys(file string) (*Keys, error) {
	key, err := securefile.ReadKey(file)
	if err != nil {
		return nil, err
	}
	return newKeys(key), nil
}

// newKeys derives the keys from a key of 32 bytes.
func newKeys(key []byte) *Keys {
	return &Keys{
		signing: derive(key, "vault-auth blocks"),
		tokens:  credential.NewMAC(derive(key, "vault-auth blocked tokens")),
	}
}

func derive(key []byte, purpose string) []byte {
	derived, _ := hkdf.Key(sha256.New, key, nil, purpose, sha256.Size) // fails for longer ones only
	return derived
}

// signature is the HMAC-SHA-256 of what follows the file's first line.
func (k *Keys) signature(body []byte) []byte {
	mac := hmac.New(sha256.New, k.signing)
	mac.Write([]byte(format))
	mac.Write(body)
	return mac.Sum(nil)
}

// Token returns the target that stands for an access token in all stores. The error is
// always nil; List.Token has the same form.
func (k *Keys) Token(accessToken string) (Target, error) {
	sum := k.tokens.Sum(accessToken)
	return Target{ByToken, hex.EncodeToString(sum[:])}, nil
}
