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
// *Conflict where something is in the way; none holds a secret.
//
// An access token is the name of a secret here: those that Names tells of will do as
// well, also where they stand for a token that the store can't have as a name.
type Writer interface {
	// Get reads the document of an access token, whether or not it is a usable record.
	Get(ctx context.Context, accessToken string) (*Document, error)

	// Create writes a record where there is nothing of its name. A *Conflict says
	// that there is, or that a deleted secret holds the name.
	Create(ctx context.Context, accessToken string, record []byte) error

	// Replace writes a record in the place of the document of that version. A
	// *Conflict says that it has changed since it was read.
	Replace(ctx context.Context, accessToken string, record []byte, version string) error

	// Delete deletes the secret. Where the store keeps what is deleted, as Azure
	// does, the name stays taken until Purge.
	Delete(ctx context.Context, accessToken string) error

	// Recover makes the name of a deleted secret one that can be written to, and
	// returns the version that Replace then replaces. In Azure the secret is back
	// until then, disabled if it was Delete that deleted it.
	Recover(ctx context.Context, accessToken string) (version string, err error)

	// Purge removes a deleted secret for good, and frees its name.
	Purge(ctx context.Context, accessToken string) error

	// Names tells of every secret that can hold a record, in pages. A nil error
	// means that these are all. An error of yield's ends it and is returned.
	Names(ctx context.Context, yield func(page []Name) error) error

	// Checked reports whether the store itself sees to it that Create and Replace
	// overwrite nothing. Where it can't, as KV v1 and Azure, the secret is read
	// before it is written, and somebody who writes in between is overwritten.
	Checked(ctx context.Context) (bool, error)

	// Base64 reports whether the secret tokens in records are written in base64, see
	// credential.ParseBase64.
	Base64() bool

	// Close gives up what the writer has logged in for.
	Close() error
}

// Document is what a store holds under a name.
type Document struct {
	Record   []byte    // JSON; nil for what is disabled in Azure, which can't be read
	Version  string    // for Replace
	Updated  time.Time // when it was written; zero: the store doesn't tell
	Disabled bool      // it is there and must not be used
}

// String shows nothing of the record.
func (d *Document) String() string { return "secretstore.Document(version " + d.Version + ")" }

// GoString shows nothing of the record.
func (d *Document) GoString() string { return d.String() }

// Name is a secret as a listing of a Writer shows it.
type Name struct {
	AccessToken string    // see Writer
	Created     time.Time // zero: the store doesn't tell
	Updated     time.Time // zero: the store doesn't tell
	Disabled    bool
}

// ConflictReason says what is in the way of a write.
type ConflictReason string

// The reasons of a Conflict.
const (
	ConflictExists  ConflictReason = "exists"  // there is a secret of that name
	ConflictChanged ConflictReason = "changed" // it has changed since it was read
	ConflictDeleted ConflictReason = "deleted" // a deleted secret holds the name
)

// Conflict is a write that was not made, since it would have overwritten something.
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

// Wrapper is a Writer whose store can hand a secret over: Vault's response wrapping.
type Wrapper interface {
	// Wrap keeps fields for whoever unwraps them with the token, once, within ttl.
	Wrap(ctx context.Context, fields map[string]any, ttl time.Duration) (token string, err error)
}

// Namer is a Writer whose store doesn't take every access token as the name of a secret,
// nor every record: Azure Key Vault.
type Namer interface {
	// SecretName is the name of the access token's secret. Tokens whose names differ in
	// case only have one secret. isToken is false where a digest stands for the token.
	SecretName(accessToken string) (name string, isToken bool)

	// CheckSize refuses a record that the store can't keep. Writes do so as well.
	CheckSize(record []byte) error
}
