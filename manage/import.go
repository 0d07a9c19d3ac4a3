package manage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// Importing says how credentials that were made elsewhere are stored. By default, secret
// tokens that look generated are stored as hashes, and the others are refused.
type Importing struct {
	Hash    bool // store hashes, whatever the secret tokens look like
	Plain   bool // store the secret tokens themselves
	Replace bool // replace credentials that exist and differ
	DryRun  bool // write nothing
	Deleted Deleted
	// readFirst looks with a read whether a credential exists. Otherwise a write that is
	// refused shows that it does.
	readFirst bool
	// Turn waits until one more credential may be written. If it is set, every credential
	// is read first, since a read takes no turn.
	Turn func(context.Context) error
}

// Imported is the result of importing a credential.
type Imported string

// The values of Imported. In a dry run they say what would have happened.
const (
	Created   Imported = "created"
	Replaced  Imported = "replaced"
	Unchanged Imported = "unchanged" // the store has it already
)

// errGuessable is matched by the error about a secret token that a hash would not protect.
var errGuessable = errors.New("it doesn't look generated, so it could be guessed from its hash (--plain keeps it as it is, --hash takes the hash all the same)")

// differsError says that the store has another credential with the same access token.
type differsError struct{ Fields []string }

// Error is one line.
func (e *differsError) Error() string {
	return "the store has one already, which differs in " + strings.Join(e.Fields, ", ")
}

// importOne writes a credential as it is. It can be repeated: if the store has the
// credential already, except for dates and the salt of a hash, nothing is written.
func (v *Vault) importOne(ctx context.Context, r *credential.Record, how Importing) (Imported, error) {
	kept, err := v.kept(r, how)
	if err != nil {
		return "", err
	}
	record, err := v.encode(kept)
	if err != nil {
		return "", err
	}
	if namer, ok := v.Writer.(secretstore.Namer); ok && how.DryRun {
		if err := namer.CheckSize(record); err != nil {
			return "", err
		}
	}
	create := func() error { return v.write(ctx, r.AccessToken, record, how.Deleted) }
	if !how.readFirst && how.Turn == nil && !how.DryRun {
		if err := create(); !secretstore.IsConflict(err, secretstore.ConflictExists) {
			return Created, err
		}
	}
	document, err := v.Writer.Get(ctx, r.AccessToken)
	if secretstore.IsAbsent(err, secretstore.ReasonNotFound) || secretstore.IsAbsent(err, secretstore.ReasonDeleted) {
		if how.DryRun && secretstore.IsAbsent(err, secretstore.ReasonDeleted) && how.Deleted == KeepDeleted {
			return "", &secretstore.Conflict{Op: "create", Reason: secretstore.ConflictDeleted, Remedy: "recover it, or purge it"}
		}
		err = how.write(ctx, create)
		if !secretstore.IsConflict(err, secretstore.ConflictExists) {
			return Created, err
		}
		// It was stored after the read, for example by the last write of an import that
		// was killed.
		document, err = v.Writer.Get(ctx, r.AccessToken)
	}
	if err != nil {
		return "", v.about(r.AccessToken, err)
	}
	if v.isAnothers(document, r) {
		return "", errSameName // also with Replace: it is another credential
	}
	differ := v.differences(document, r, kept)
	switch {
	case len(differ) == 0:
		return Unchanged, nil
	case !how.Replace:
		return "", &differsError{differ}
	}
	return Replaced, how.write(ctx, func() error { return v.Writer.Replace(ctx, r.AccessToken, record, document.Version) })
}

// write waits for its turn, and writes.
func (how Importing) write(ctx context.Context, write func() error) error {
	if how.DryRun {
		return nil
	}
	if how.Turn != nil {
		if err := how.Turn(ctx); err != nil {
			return err
		}
	}
	return write()
}

// kept is the record to be stored.
func (v *Vault) kept(r *credential.Record, how Importing) (*credential.Record, error) {
	now := v.Now()
	if p := r.Problems(now); len(p) > 0 {
		return nil, &credential.UnusableError{Reason: p[0].Field, Detail: p[0].Detail, Remedy: p[0].Remedy}
	}
	kept := *r
	if !r.PreviousExpiresAt.After(now) {
		kept.Previous, kept.PreviousExpiresAt = credential.Secret{}, time.Time{}
	}
	for name, secret := range map[string]*credential.Secret{"secret_token": &kept.Secret, "previous_secret_token": &kept.Previous} {
		if err := how.protect(secret); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if kept.CreatedAt.IsZero() {
		kept.CreatedAt = now
	}
	if kept.UpdatedAt.IsZero() {
		kept.UpdatedAt = kept.CreatedAt
	}
	return &kept, nil
}

// protect replaces a secret token by its hash.
func (how Importing) protect(s *credential.Secret) error {
	switch {
	case how.Plain || s.Token == "":
		return nil
	case !how.Hash && !credential.LooksGenerated(s.Token):
		return errGuessable
	case s.Hash.IsZero():
		*s = credential.HashedSecret(s.Token)
	}
	s.Token = ""
	return nil
}

// isAnothers reports whether the stored document is for another access token, which
// differs from the record's only in case.
func (v *Vault) isAnothers(d *secretstore.Document, r *credential.Record) bool {
	stored, err := v.parse(d.Record)
	return err == nil && stored.AccessToken != r.AccessToken && strings.EqualFold(stored.AccessToken, r.AccessToken)
}

// differences are the fields in which the stored document differs from a record of a file.
func (v *Vault) differences(d *secretstore.Document, r, kept *credential.Record) []string {
	if d.Disabled {
		return []string{"that it is disabled in the store"}
	}
	stored, err := v.parse(d.Record)
	if err != nil {
		return []string{"that it can't be used: " + err.Error()}
	}
	wanted := *r
	wanted.Previous, wanted.PreviousExpiresAt = kept.Previous, kept.PreviousExpiresAt
	if !kept.Previous.IsZero() {
		wanted.Previous = r.Previous // in clear, so that any hash of it is recognised
	}
	differ := credential.Differences(stored, &wanted)
	if (stored.Secret.Token == "") != (kept.Secret.Token == "") {
		differ = append(differ, "the form of its secret_token")
	}
	return differ
}
