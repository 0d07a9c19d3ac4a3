package secretstore

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Writer is a secret store as an operator's login sees it, which may write. The
// plugin server never opens one. All methods are safe for concurrent use. Their
// errors are those of Store.Read, an *Absent or preferably a *Failure, and a
// *Conflict if they would overwrite something. No error contains a secret.
//
// Where a method takes an access token, it also takes a name that Names has returned,
// even one that stands for a token that can't be a name in the store.
type Writer interface {
	// Get reads the document of an access token, whether or not it is a usable record.
	Get(ctx context.Context, accessToken string) (*Document, error)

	// Create writes a new record. A *Conflict says that there is a secret of that name,
	// or that a deleted one still holds the name.
	Create(ctx context.Context, accessToken string, record []byte) error

	// Replace replaces the document of that version with a record. A *Conflict says that
	// it has changed since it was read.
	Replace(ctx context.Context, accessToken string, record []byte, version string) error

	// Delete deletes the secret. If the store keeps deleted secrets, as Azure does, the
	// name stays taken until Purge.
	Delete(ctx context.Context, accessToken string) error

	// Recover makes the name of a deleted secret writable again, and returns the version
	// that Replace can replace. Until then the secret exists again in Azure, disabled if
	// Delete has deleted it.
	Recover(ctx context.Context, accessToken string) (version string, err error)

	// Purge removes a deleted secret permanently and frees its name.
	Purge(ctx context.Context, accessToken string) error

	// Names passes the name of every secret that can hold a record to yield, in pages. A
	// nil error means that the listing is complete. Names returns the first error of
	// yield.
	Names(ctx context.Context, yield func(page []Name) error) error

	// Checked reports whether the store itself guarantees that Create and Replace
	// overwrite nothing. KV v1 and Azure can't: there the secret is read before it is
	// written, and a write in between is lost.
	Checked(ctx context.Context) (bool, error)

	// Base64 reports whether the records' secret tokens are in base64, see
	// credential.ParseBase64.
	Base64() bool

	// Close ends the writer's login.
	Close() error
}

// Document is the contents of a secret, with what the store knows about them.
type Document struct {
	Record   []byte    // JSON; nil if it is disabled in Azure, which can then not be read
	Version  string    // for Replace
	Updated  time.Time // when it was written; zero: unknown
	Disabled bool      // it exists but must not be used
}

const redacted = "secretstore.Document(redacted)"

// Format prints a placeholder for every verb and flag.
func (Document) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// MarshalText returns a placeholder; encoding/json and slog use it.
func (Document) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Name is a secret as a listing of a Writer shows it.
type Name struct {
	AccessToken string    // see Writer
	Created     time.Time // zero: unknown
	Updated     time.Time // zero: unknown
	Disabled    bool
}

// ConflictReason says what prevents a write.
type ConflictReason string

// The reasons of a Conflict.
const (
	ConflictExists  ConflictReason = "exists"  // there is a secret of that name
	ConflictChanged ConflictReason = "changed" // it has changed since it was read
	ConflictDeleted ConflictReason = "deleted" // a deleted secret holds the name
)

// Conflict is a write that was not made because it would have overwritten something.
type Conflict struct {
	Op     string // what was tried: "create kong-auth/<fingerprint>"
	Reason ConflictReason
	Remedy string // what an operator can do, without a final stop
}

// Error is one line.
func (e *Conflict) Error() string {
	said := map[ConflictReason]string{
		ConflictExists:  "there is one already",
		ConflictChanged: "it was changed meanwhile",
		ConflictDeleted: "a deleted secret holds its name",
	}[e.Reason]
	if e.Remedy == "" {
		return e.Op + ": " + said
	}
	return fmt.Sprintf("%s: %s (%s)", e.Op, said, e.Remedy)
}

// IsConflict reports whether an error is a write that was not made for this reason.
func IsConflict(err error, reason ConflictReason) bool {
	var conflict *Conflict
	return errors.As(err, &conflict) && conflict.Reason == reason
}

// Wrapper is a Writer whose store has response wrapping, as Vault has.
type Wrapper interface {
	// Wrap stores fields for one recipient, who can unwrap them once, with the token,
	// within ttl.
	Wrap(ctx context.Context, fields map[string]any, ttl time.Duration) (token string, err error)
}

// Namer is a Writer whose store doesn't accept every access token as a name, nor every
// record: Azure Key Vault.
type Namer interface {
	// SecretName is the name of the access token's secret. Names that differ only in case
	// mean the same secret. isToken is false if the name is a digest of the token.
	SecretName(accessToken string) (name string, isToken bool)

	// CheckSize refuses a record that is too large for the store. So do Create and
	// Replace.
	CheckSize(record []byte) error
}
