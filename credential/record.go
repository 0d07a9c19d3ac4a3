package credential

import (
	"fmt"
	"log/slog"
	"net/netip"
	"time"
)

// Record is a credential record as a secret store holds it. It may have the secret
// in clear: Seal it at once and drop it. Whichever way it is printed, logged or
// marshalled, it shows nothing of itself; Encode makes what a store keeps.
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

// Secret is what a record knows of a secret token: the token, its hash, or both.
// The zero Secret is none.
type Secret struct {
	Token string
	Hash  Hash
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s == Secret{} }

// PlainSecret is a secret token kept in clear, which Kong Enterprise can read.
func PlainSecret(secretToken string) Secret { return Secret{Token: secretToken} }

// HashedSecret is a secret token of which only the hash is kept.
func HashedSecret(secretToken string) Secret { return Secret{Hash: NewHash(secretToken)} }

// MaxGrace is how far ahead the end of a rotation's grace period may lie. A
// previous secret with a later end is ignored, so that a slip of the pen does
// not leave two secrets working for good.
const MaxGrace = 7 * 24 * time.Hour

// Rotate gives the record another secret. The one before is accepted until
// graceEnd, which may be at most MaxGrace ahead, or no longer if that isn't after now.
func (r *Record) Rotate(secret Secret, graceEnd, now time.Time) {
	r.Previous, r.PreviousExpiresAt = Secret{}, time.Time{}
	if graceEnd.After(now) {
		r.Previous, r.PreviousExpiresAt = r.Secret, graceEnd
	}
	r.Secret, r.UpdatedAt = secret, now
}

// Consumer names a Kong consumer, by id (a UUID in lower case) or by username.
// ID wins where both are given. A consumer without either does not occur in a
// Record that Parse returned.
type Consumer struct {
	ID       string
	Username string
}

const redacted = "credential.Record(redacted)"

// Format prints a placeholder for every verb and flag, as that of Record does.
func (Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// LogValue returns a placeholder.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns a placeholder; encoding/json and yaml use it too.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Format prints a placeholder for every verb and flag. It is needed beside
// String because fmt prints the fields of a struct for verbs such as %d.
func (Record) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// String returns a placeholder.
func (Record) String() string { return redacted }

// GoString returns a placeholder.
func (Record) GoString() string { return redacted }

// LogValue returns a placeholder.
func (Record) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns a placeholder; encoding/json and yaml use it too.
func (Record) MarshalText() ([]byte, error) { return []byte(redacted), nil }
