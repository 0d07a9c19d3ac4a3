// Package credential defines the token pair: the form of its tokens, the record of it
// in a secret store, and how a secret token is verified although only a digest of it is
// kept. It does no I/O.
//
// For a request, [CheckAccessToken] checks the access token, a secret store finds the
// record of that name, [Parse] reads it, a [Sealer] turns it into a [Credential], which
// has digests instead of secrets and is cached, and [Sealer.Verify] reports whether the
// secret token is the right one. [Encode] and [Change] write records for operators.
package credential

import (
	"fmt"
	"net/netip"
	"time"
)

// Record is a credential record in a secret store. It may have the secret in clear: Seal
// it at once and drop it. However it is printed, logged or marshalled, it shows none of
// its contents; Encode writes it for a store.
type Record struct {
	AccessToken       string
	Secret            Secret
	Previous          Secret         // accepted until PreviousExpiresAt; zero: none
	PreviousExpiresAt time.Time      // zero: there is no previous secret
	Disabled          bool           // the pair is refused
	NotBefore         time.Time      // the pair is refused until then; zero: from the beginning
	ExpiresAt         time.Time      // the pair is refused from then on; zero: never. A Store may lower it
	AllowedIPs        []netip.Prefix // from where the pair may be used; nil: from anywhere
	Groups            []string       // what Kong's ACL plugin goes by; nil: the consumer's own groups
	TTL               time.Duration  // how long the record may be cached; 0: as the vault object says
	Consumer          Consumer
	Description       string    // for people
	CreatedBy         string    // for people
	CreatedAt         time.Time // zero: not known
	UpdatedAt         time.Time // zero: not known
	Flaws             []Problem // parts that could not be understood; see Problems
}

// Secret is a secret token as a record has it: the token, its hash, or both. The zero
// Secret means that there is none.
type Secret struct {
	Token string
	Hash  Hash
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s == Secret{} }

// PlainSecret is a secret token kept in clear, which Kong Enterprise can read.
func PlainSecret(secretToken string) Secret { return Secret{Token: secretToken} }

// HashedSecret is a secret token of which only the hash is kept.
func HashedSecret(secretToken string) Secret { return Secret{Hash: newHash(secretToken)} }

// MaxGrace is how far ahead the end of a rotation's grace period may be. A previous
// secret with a later end is ignored, so that a typing error doesn't leave two secrets
// valid permanently.
const MaxGrace = 7 * 24 * time.Hour

// Rotate gives the record another secret. The previous one is accepted until graceEnd,
// which may be at most MaxGrace ahead, or no longer accepted if that isn't after now.
func (r *Record) Rotate(secret Secret, graceEnd, now time.Time) {
	r.Previous, r.PreviousExpiresAt = Secret{}, time.Time{}
	if graceEnd.After(now) {
		r.Previous, r.PreviousExpiresAt = r.Secret, graceEnd
	}
	r.Secret, r.UpdatedAt = secret, now
}

// Consumer names a Kong consumer, by id (a UUID in lower case) or by username. If it has
// both, ID counts. In a Record that Parse returned it has at least one.
type Consumer struct {
	ID       string
	Username string
}

const redacted = "credential.Record(redacted)"

// Format prints a placeholder for every verb and flag. A String method alone would not do,
// because fmt prints the fields of a struct for verbs such as %d.
func (Record) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// MarshalText returns a placeholder; encoding/json, yaml and slog use it.
func (Record) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Format prints a placeholder, as that of Record does.
func (Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// MarshalText returns a placeholder, as that of Record does.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
