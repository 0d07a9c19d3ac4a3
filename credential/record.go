package credential

import (
	"fmt"
	"log/slog"
	"time"
)

// Record is a credential record as a secret store holds it. It has the secret
// in clear: Seal it at once and drop it. Whichever way it is printed, logged or
// marshalled, it shows nothing of itself.
type Record struct {
	AccessToken         string
	SecretToken         string
	PreviousSecretToken string        // accepted until PreviousExpiresAt; empty: none
	PreviousExpiresAt   time.Time     // zero: there is no previous secret
	ExpiresAt           time.Time     // the pair is refused from then on; zero: never. A Store may lower it
	TTL                 time.Duration // how long the record may be cached; 0: as the vault object says
	Consumer            Consumer
	CreatedAt           time.Time // zero: not known
	UpdatedAt           time.Time // zero: not known
	Flaws               []Problem // parts that could not be understood; see Problems
}

// Consumer names a Kong consumer, by id (a UUID in lower case) or by username.
// ID wins where both are given. A consumer without either does not occur in a
// Record that Parse returned.
type Consumer struct {
	ID       string
	Username string
}

const redacted = "credential.Record(redacted)"

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
