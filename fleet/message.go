package fleet

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"kong-vault-auth/blocklist"
	"kong-vault-auth/credential"
)

// message is what a node tells the others.
type message struct {
	ID          string               `json:"id"` // random: one that is seen again is ignored
	Node        string               `json:"node"`
	At          time.Time            `json:"at"`
	Credentials []credential.ShortID `json:"credentials,omitempty"` // that have changed, and the keys they are cached by
	Stores      []credential.ShortID `json:"stores,omitempty"`      // in which everything has changed
	Placed      []credential.ShortID `json:"placed,omitempty"`      // see vault.Changes
	Blocks      []blocklist.Entry    `json:"blocks,omitempty"`
}

// Bounds of a message.
const (
	maxMessage = 1 << 20 // bytes
	maxChanges = 1000    // of each kind
)

// signer signs and verifies what is in Redis.
type signer struct{ key []byte }

func newSigner(key []byte) signer {
	derived, _ := hkdf.Key(sha256.New, key, nil, "vault-auth events", sha256.Size) // fails for longer ones only
	return signer{derived}
}

// sign returns the signature of a text for a purpose. It is not valid for another purpose.
func (s signer) sign(purpose, text string) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(purpose + "\n" + text))
	return hex.EncodeToString(mac.Sum(nil))
}

func (s signer) genuine(purpose, text, signature string) bool {
	return hmac.Equal([]byte(s.sign(purpose, text)), []byte(signature))
}

// The purposes of signatures.
const (
	purposeMessage = "message 1"
	purposeNode    = "node 1"
)

func newMessage(node string, now time.Time) message {
	return message{ID: rand.Text(), Node: node, At: now}
}

// The fields of an entry of the stream.
const (
	fieldText      = "message"
	fieldSignature = "signature"
)

func (s signer) encode(m message) (text, signature string, err error) {
	b, err := json.Marshal(m)
	return string(b), s.sign(purposeMessage, string(b)), err
}

var errForged = errors.New("a message is not signed with this fleet's key")

// decode reads a message, if it is genuine.
func (s signer) decode(text, signature string) (m message, err error) {
	if len(text) > maxMessage || !s.genuine(purposeMessage, text, signature) {
		return m, errForged
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return m, errors.New("a message can't be read: a node is of another version")
	}
	if len(m.Credentials) > maxChanges || len(m.Stores) > maxChanges || len(m.Placed) > maxChanges || len(m.Blocks) > maxChanges {
		return m, errors.New("a message holds too much")
	}
	return m, nil
}
