package credential

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"hash"
	"slices"
	"sync"
	"time"
)

// maxGrace is how far ahead the end of a rotation's grace period may lie. A
// previous secret with a later end is ignored, so that a slip of the pen does
// not leave two secrets working for good.
const maxGrace = 7 * 24 * time.Hour

// Credential is a record as it is kept in memory: digests instead of secrets.
// It is immutable and safe for concurrent use.
type Credential struct {
	ID        string        // see the function ID
	Consumer  Consumer      // whom the pair stands for
	TTL       time.Duration // how long it may be cached; 0: as the vault object says
	ExpiresAt time.Time     // refused from then on; zero: never
	pair      [sha256.Size]byte
	previous  *previousPair // nil but during a rotation: most credentials have one secret
}

type previousPair struct {
	digest [sha256.Size]byte
	until  time.Time
}

// Fingerprint names the credential in logs, errors and audit lines.
func (c *Credential) Fingerprint() string { return Fingerprint(c.ID) }

// Same reports whether c and o, of the same Sealer, are the same credential with
// the same secret tokens, for the same consumer and as long.
func (c *Credential) Same(o *Credential) bool {
	return c.ID == o.ID && c.Consumer == o.Consumer && c.TTL == o.TTL && c.ExpiresAt.Equal(o.ExpiresAt) && c.pair == o.pair &&
		c.previous.same(o.previous)
}

func (p *previousPair) same(o *previousPair) bool {
	if p == nil || o == nil {
		return p == o
	}
	return p.digest == o.digest && p.until.Equal(o.until)
}

// Expired reports whether the pair's own end has come. An expired credential is
// refused whatever the secret.
func (c *Credential) Expired(now time.Time) bool {
	return !c.ExpiresAt.IsZero() && !now.Before(c.ExpiresAt)
}

// Sealer turns records into credentials and verifies pairs against them. A
// credential is of use only together with the key of the Sealer that sealed it.
// It is safe for concurrent use.
type Sealer struct {
	// There is no field with the key itself, so that printing a Sealer can't print
	// it.
	key  func() []byte
	macs sync.Pool // HMACs of the key, for making one costs more than using it
}

// NewSealer returns a Sealer with a random key of its own.
func NewSealer() *Sealer {
	key := make([]byte, sha256.Size)
	rand.Read(key)
	return newSealer(key)
}

// RestoreSealer returns a Sealer with the Key of an earlier one.
func RestoreSealer(key []byte) (*Sealer, error) {
	if len(key) != sha256.Size {
		return nil, fmt.Errorf("a sealer's key has %d bytes, not %d", sha256.Size, len(key))
	}
	return newSealer(slices.Clone(key)), nil
}

func newSealer(key []byte) *Sealer {
	return &Sealer{
		key:  func() []byte { return slices.Clone(key) },
		macs: sync.Pool{New: func() any { return hmac.New(sha256.New, key) }},
	}
}

// Key is the Sealer's key, for keeping with what it has sealed. It is a secret:
// whoever has both can try out secret tokens.
func (s *Sealer) Key() []byte { return s.key() }

// Seal makes the credential of a record. Afterwards the record is no longer
// needed and should be dropped.
func (s *Sealer) Seal(storeIdentity string, r *Record) *Credential {
	c := &Credential{
		ID:        ID(storeIdentity, r.AccessToken),
		Consumer:  r.Consumer,
		TTL:       r.TTL,
		ExpiresAt: r.ExpiresAt,
		pair:      s.Digest(r.AccessToken, r.SecretToken),
	}
	if r.PreviousSecretToken != "" && !r.PreviousExpiresAt.IsZero() {
		c.previous = &previousPair{s.Digest(r.AccessToken, r.PreviousSecretToken), r.PreviousExpiresAt}
	}
	return c
}

// Verify reports whether a pair is the credential's at the time now: the access
// token is exactly the record's, the secret token is the record's or, within
// its grace period, the previous one, and the credential has not expired.
// Comparing takes the same time wherever the first difference lies.
func (s *Sealer) Verify(c *Credential, accessToken, secretToken string, now time.Time) bool {
	if len(secretToken) == 0 || len(secretToken) > MaxSecretToken || c.Expired(now) {
		return false
	}
	presented := s.Digest(accessToken, secretToken)
	ok := subtle.ConstantTimeCompare(presented[:], c.pair[:])
	if p := c.previous; p != nil && now.Before(p.until) && p.until.Sub(now) <= maxGrace {
		ok |= subtle.ConstantTimeCompare(presented[:], p.digest[:])
	}
	return ok == 1
}

// Digest is what stands for a pair in memory: an HMAC-SHA-256, of use only
// together with the Sealer's key. It covers both tokens, so equal secrets of
// different credentials have different digests.
func (s *Sealer) Digest(accessToken, secretToken string) (d [sha256.Size]byte) {
	pair := make([]byte, 0, len(accessToken)+1+len(secretToken))
	pair = append(pair, accessToken...)
	pair = append(pair, 0) // which no access token holds
	pair = append(pair, secretToken...)

	mac := s.macs.Get().(hash.Hash)
	mac.Reset()
	mac.Write(pair)
	mac.Sum(d[:0])
	s.macs.Put(mac)
	return d
}
