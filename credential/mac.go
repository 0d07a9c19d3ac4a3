package credential

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
)

// MAC computes HMAC-SHA-256s under one key. It is safe for concurrent use, and doesn't
// show its key when it is printed. It allocates nothing, since a request needs one or
// two: to verify its secret token, and to find its access token among blocked ones.
type MAC struct {
	states sync.Pool // of *macState: making one costs more than using it
}

type macState struct {
	hash  hash.Hash
	input []byte // empty between uses
}

// NewMAC returns the MAC of a key, which must not be changed afterwards.
func NewMAC(key []byte) *MAC {
	return &MAC{sync.Pool{New: func() any {
		return &macState{hmac.New(sha256.New, key), make([]byte, 0, 2*MaxAccessToken)}
	}}}
}

// Sum is the HMAC of the parts, one directly after the other.
func (m *MAC) Sum(parts ...string) (sum [sha256.Size]byte) {
	s := m.states.Get().(*macState)
	for _, part := range parts {
		s.input = append(s.input, part...)
	}
	s.hash.Reset()
	s.hash.Write(s.input)
	clear(s.input) // it may hold a secret
	s.input = s.input[:0]
	copy(sum[:], s.hash.Sum(s.input))
	m.states.Put(s)
	return sum
}
