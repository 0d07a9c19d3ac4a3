package manage

import (
	"context"
	"errors"
	"slices"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// Exporting says how secret tokens leave the store: as hashes, if they look generated,
// unless Hash or Plain says otherwise.
type Exporting struct {
	Hash  bool // as a hash, whatever it looks like
	Plain bool // as they are stored
}

// Export yields the record of every credential of the store. failed is told of those that
// can't be exported. An error of yield's ends it and is returned.
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

// one yields a record that was read, or says why it can't be exported.
func (how Exporting) one(r *credential.Record, err error, yield func(*credential.Record) error, failed func(error)) error {
	if err == nil {
		err = how.protect(r)
	}
	var absent *secretstore.Absent
	switch {
	case errors.As(err, &absent): // deleted meanwhile
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
	d, err := v.Writer.Get(ctx, accessToken)
	switch {
	case err != nil:
		return nil, v.about(accessToken, err)
	case d.Disabled:
		return nil, v.about(accessToken, ErrDisabled)
	}
	r, err := v.parse(d.Record)
	if err != nil {
		return nil, v.about(accessToken, err)
	}
	return r, nil
}

func isFailure(err error) bool {
	var failure *secretstore.Failure
	return errors.As(err, &failure)
}
