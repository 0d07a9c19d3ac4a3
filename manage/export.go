package manage

import (
	"context"
	"errors"
	"slices"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// Exporting says how secret tokens are exported. By default, those that look generated
// are exported as hashes, and the others can't be.
type Exporting struct {
	Hash  bool // as hashes, whatever they look like
	Plain bool // as they are stored
}

// Export yields the record of every credential of the store, and calls failed for those
// that can't be exported. It returns the first error of yield.
func (v *Vault) Export(ctx context.Context, how Exporting, yield func(*credential.Record) error, failed func(accessToken string, err error)) error {
	return v.Writer.Names(ctx, func(page []secretstore.Name) error {
		for names := range slices.Chunk(page, readsAtOnce) {
			records, errs := atOnce(ctx, names, v.record)
			for i, name := range names {
				if err := how.one(records[i], errs[i], yield, func(err error) { failed(name.AccessToken, err) }); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// one yields a record that was read, or calls failed with why it can't be exported.
func (how Exporting) one(r *credential.Record, err error, yield func(*credential.Record) error, failed func(error)) error {
	if err == nil {
		err = how.protect(r)
	}
	switch {
	case errors.As(err, new(*secretstore.Absent)): // deleted meanwhile
		return nil
	case isFailure(err):
		return err
	case err != nil:
		failed(err)
		return nil
	}
	return yield(r)
}

func (how Exporting) protect(r *credential.Record) error {
	as := Importing{Hash: how.Hash, Plain: how.Plain}
	return errors.Join(as.protect(&r.Secret), as.protect(&r.Previous))
}

// record reads a credential's record.
func (v *Vault) record(ctx context.Context, accessToken string) (*credential.Record, error) {
	d, err := v.enabled(ctx, accessToken)
	if err != nil {
		return nil, err
	}
	r, err := v.parse(d.Record)
	if err != nil {
		return nil, v.about(accessToken, err)
	}
	return r, nil
}

func isFailure(err error) bool {
	return errors.As(err, new(*secretstore.Failure))
}
