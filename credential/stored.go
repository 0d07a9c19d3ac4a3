package credential

import (
	"crypto/sha256"
	"net/netip"
	"time"
)

// Stored is a credential for storage outside of a process. Like the Credential, it has
// digests instead of secrets. It must be kept where nobody can change it, and a program
// that doesn't know all of its fields must not read it.
type Stored struct {
	ID        string
	Consumer  Consumer
	TTL       time.Duration
	ExpiresAt time.Time

	Proof         StoredProof
	Previous      StoredProof // accepted until PreviousUntil
	PreviousUntil time.Time   // zero: there is none

	NotBefore  time.Time
	AllowedIPs []netip.Prefix // none: from anywhere
	Groups     []string
	HasGroups  bool // encoding/gob doesn't distinguish nil from an empty list
}

// StoredProof is the digest that a secret token is verified with.
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

// Stored returns c in the form for storage.
func (c *Credential) Stored() Stored {
	s := Stored{ID: c.ID, Consumer: c.Consumer, TTL: c.TTL, ExpiresAt: c.ExpiresAt, Proof: c.proof.stored()}
	if t := c.terms; t != nil {
		s.Previous, s.PreviousUntil = t.previous.stored(), t.until
		s.NotBefore, s.AllowedIPs, s.Groups, s.HasGroups = t.notBefore, t.allowed, t.groups, t.groups != nil
	}
	return s
}

// Credential returns the credential that s was made of.
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
