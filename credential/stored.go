package credential

import (
	"crypto/sha256"
	"net/netip"
	"time"
)

// Stored is a credential as it is kept outside of a process: digests instead of
// secrets, which are worthless without the key of the Sealer they came from. It
// must be kept where nobody can change it, and read by no program that doesn't know
// all of its fields.
type Stored struct {
	ID        string
	Consumer  Consumer
	TTL       time.Duration
	ExpiresAt time.Time

	Proof         StoredProof
	Previous      StoredProof // of use until PreviousUntil
	PreviousUntil time.Time   // zero: there is none

	NotBefore  time.Time
	AllowedIPs []netip.Prefix // none: from anywhere
	Groups     []string
	HasGroups  bool // encoding/gob doesn't tell no groups from an empty list
}

// StoredProof is what a secret token is verified with.
type StoredProof struct {
	Digest [sha256.Size]byte
	Hashed bool   // the digest is of the secret token's Hash
	Salt   string // of that Hash
}

func (p proof) stored() StoredProof {
	if p.hashed == nil {
		return StoredProof{Digest: p.digest}
	}
	return StoredProof{p.digest, true, p.hashed.salt}
}

func (s StoredProof) proof() proof {
	if !s.Hashed {
		return proof{digest: s.Digest}
	}
	return proof{s.Digest, newHashed(s.Salt)}
}

// Stored is c for keeping.
func (c *Credential) Stored() Stored {
	s := Stored{ID: c.ID, Consumer: c.Consumer, TTL: c.TTL, ExpiresAt: c.ExpiresAt, Proof: c.proof.stored()}
	if t := c.terms; t != nil {
		s.Previous, s.PreviousUntil = t.previous.stored(), t.until
		s.NotBefore, s.AllowedIPs, s.Groups, s.HasGroups = t.notBefore, t.allowed, t.groups, t.groups != nil
	}
	return s
}

// Credential is what Stored was made of.
func (s Stored) Credential() *Credential {
	t := &terms{
		previous: s.Previous.proof(), until: s.PreviousUntil,
		notBefore: s.NotBefore, allowed: s.AllowedIPs, groups: s.Groups,
	}
	if s.HasGroups && t.groups == nil {
		t.groups = []string{}
	}
	return &Credential{ID: s.ID, Consumer: s.Consumer, TTL: s.TTL, ExpiresAt: s.ExpiresAt, proof: s.Proof.proof(), terms: t.orNil()}
}
