package credential

import (
	"crypto/sha256"
	"time"
)

// Stored is a credential as it is kept outside of a process: digests instead of
// secrets, which are worthless without the key of the Sealer they came from. It
// must be kept where nobody can change it.
type Stored struct {
	ID        string
	Consumer  Consumer
	TTL       time.Duration
	ExpiresAt time.Time

	Pair          [sha256.Size]byte
	Previous      [sha256.Size]byte // of use until PreviousUntil
	PreviousUntil time.Time         // zero: there is none
}

// Stored is c for keeping.
func (c *Credential) Stored() Stored {
	s := Stored{ID: c.ID, Consumer: c.Consumer, TTL: c.TTL, ExpiresAt: c.ExpiresAt, Pair: c.pair}
	if c.previous != nil {
		s.Previous, s.PreviousUntil = c.previous.digest, c.previous.until
	}
	return s
}

// Credential is what Stored was made of.
func (s Stored) Credential() *Credential {
	c := &Credential{ID: s.ID, Consumer: s.Consumer, TTL: s.TTL, ExpiresAt: s.ExpiresAt, pair: s.Pair}
	if !s.PreviousUntil.IsZero() {
		c.previous = &previousPair{s.Previous, s.PreviousUntil}
	}
	return c
}
