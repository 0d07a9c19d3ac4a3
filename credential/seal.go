package credential

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Credential is a record in memory: it has digests instead of secrets. It is immutable
// and safe for concurrent use.
type Credential struct {
	ID        string        // see the function ID
	Consumer  Consumer      // whom the pair authenticates
	TTL       time.Duration // how long it may be cached; 0: as the vault object says
	ExpiresAt time.Time     // refused from then on; zero: never
	proof     proof
	terms     *terms // nil for most
}

// proof is what a secret token is verified with.
type proof struct {
	digest [sha256.Size]byte
	hashed *hashed // nil: the digest is of the secret token itself
}

// hashed says that a proof's digest is of the secret token's Hash.
type hashed struct{ salt string }

// newHashed shares the one without a salt: there may be a million of them.
func newHashed(salt string) *hashed {
	if salt == "" {
		return &unsalted
	}
	return &hashed{salt}
}

var unsalted hashed

// terms are the properties that only some records have.
type terms struct {
	notBefore time.Time
	allowed   []netip.Prefix // nil: from anywhere
	groups    []string       // nil: the consumer's own
	previous  proof
	until     time.Time // when previous ends; zero: there is none
}

// Fingerprint names the credential in logs, errors and audit lines.
func (c *Credential) Fingerprint() string { return Fingerprint(c.ID) }

// Same reports whether c and o, of the same Sealer, are equal: the same credential with
// the same secret tokens, consumer, times and restrictions.
func (c *Credential) Same(o *Credential) bool {
	return c.ID == o.ID && c.Consumer == o.Consumer && c.TTL == o.TTL && c.ExpiresAt.Equal(o.ExpiresAt) && c.proof.same(o.proof) &&
		c.terms.same(o.terms)
}

func (p proof) same(o proof) bool {
	if p.digest != o.digest || p.hashed == nil || o.hashed == nil {
		return p == o
	}
	return *p.hashed == *o.hashed
}

func (t *terms) same(o *terms) bool {
	if t == nil || o == nil {
		return t == o
	}
	return t.previous.same(o.previous) && t.until.Equal(o.until) && t.notBefore.Equal(o.notBefore) &&
		slices.Equal(t.allowed, o.allowed) && slices.Equal(t.groups, o.groups) && (t.groups == nil) == (o.groups == nil)
}

// orNil returns t, or nil if all of its fields are zero.
func (t *terms) orNil() *terms {
	if t.same(&terms{}) {
		return nil
	}
	return t
}

// Expired reports whether the pair's own end has come. An expired credential is refused
// even if the secret token is right.
func (c *Credential) Expired(now time.Time) bool {
	return !c.ExpiresAt.IsZero() && !now.Before(c.ExpiresAt)
}

// Early reports whether the pair may not be used yet. It reads the clock only for a
// credential that may have such a time, because it is called for every request.
func (c *Credential) Early(now func() time.Time) bool {
	return c.terms != nil && now().Before(c.terms.notBefore)
}

// Restricted reports whether the pair may be used only from some addresses.
func (c *Credential) Restricted() bool { return c.terms != nil && c.terms.allowed != nil }

// Allows reports whether the pair may be used from an address. An IPv4 address must
// not be written as IPv6.
func (c *Credential) Allows(a netip.Addr) bool {
	return !c.Restricted() || slices.ContainsFunc(c.terms.allowed, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Groups returns the groups for Kong's ACL plugin; nil: the consumer's own. The caller
// must not change them.
func (c *Credential) Groups() []string {
	if c.terms == nil {
		return nil
	}
	return c.terms.groups
}

// Sealer turns records into credentials and verifies pairs against them. A credential is
// useless without the key of the Sealer that sealed it. It is safe for concurrent use.
type Sealer struct {
	// No field holds the key itself, so that printing a Sealer can't print it.
	key func() []byte
	mac *MAC
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
	return &Sealer{key: func() []byte { return slices.Clone(key) }, mac: NewMAC(key)}
}

// Key returns the Sealer's key, to be kept with what it has sealed. It is a secret:
// whoever has both can try out secret tokens.
func (s *Sealer) Key() []byte { return s.key() }

// Seal makes the credential of a record. The record is then no longer needed and should
// be dropped.
func (s *Sealer) Seal(storeIdentity string, r *Record) *Credential {
	c := &Credential{
		ID:        ID(storeIdentity, r.AccessToken),
		Consumer:  r.Consumer,
		TTL:       r.TTL,
		ExpiresAt: r.ExpiresAt,
		proof:     s.proof(r.AccessToken, r.Secret),
	}
	t := &terms{notBefore: r.NotBefore, allowed: r.AllowedIPs, groups: r.Groups}
	if !r.Previous.IsZero() && !r.PreviousExpiresAt.IsZero() {
		t.previous, t.until = s.proof(r.AccessToken, r.Previous), r.PreviousExpiresAt
	}
	c.terms = t.orNil()
	return c
}

// proof prefers the secret token itself, because it is verified faster.
func (s *Sealer) proof(accessToken string, secret Secret) proof {
	h := secret.Hash
	if secret.Token != "" || h.IsZero() {
		return proof{digest: s.Digest(accessToken, secret.Token)}
	}
	return proof{s.hashDigest(accessToken, h.Digest), newHashed(h.Salt)}
}

// Verify reports whether a pair is the credential's at the time now: the access token is
// exactly the record's, the secret token is the record's or, within its grace period, the
// previous one, and the credential has not expired. The comparison takes the same time
// wherever the first difference is.
func (s *Sealer) Verify(c *Credential, accessToken, secretToken string, now time.Time) bool {
	if len(secretToken) == 0 || len(secretToken) > MaxSecretToken || c.Expired(now) {
		return false
	}
	ok := s.proves(c.proof, accessToken, secretToken)
	if t := c.terms; t != nil && now.Before(t.until) && t.until.Sub(now) <= MaxGrace {
		ok |= s.proves(t.previous, accessToken, secretToken)
	}
	return ok == 1
}

// proves returns 1 or 0.
func (s *Sealer) proves(p proof, accessToken, secretToken string) int {
	var presented [sha256.Size]byte
	if p.hashed == nil {
		presented = s.Digest(accessToken, secretToken)
	} else {
		presented = s.hashDigest(accessToken, Hash{Salt: p.hashed.salt}.of(secretToken))
	}
	return subtle.ConstantTimeCompare(presented[:], p.digest[:])
}

// Digest represents a pair in memory: an HMAC-SHA-256, useless without the Sealer's key.
// It covers both tokens, so equal secrets of different credentials have different
// digests.
func (s *Sealer) Digest(accessToken, secretToken string) [sha256.Size]byte {
	return s.mac.Sum(accessToken, ofToken, secretToken)
}

// hashDigest represents an access token and the Hash of a secret token. No secret token
// has the same Digest, not even the hash itself.
func (s *Sealer) hashDigest(accessToken, digest string) [sha256.Size]byte {
	return s.mac.Sum(accessToken, ofHash, digest)
}

// Separators of the access token and what follows it, which no access token contains.
const (
	ofToken = "\x00"
	ofHash  = "\x01"
)
