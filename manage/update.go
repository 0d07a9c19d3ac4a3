package manage

import (
	"context"
	"errors"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// Update changes a credential's record, except its tokens. Everything that change leaves
// alone stays as it was written, including fields that this program doesn't know.
func (v *Vault) Update(ctx context.Context, accessToken string, change func(*credential.Record)) (*Entry, error) {
	var e Entry
	record, version, err := v.changed(ctx, accessToken, func(r *credential.Record) {
		before := *r
		change(r)
		r.AccessToken, r.Secret, r.Previous, r.PreviousExpiresAt = before.AccessToken, before.Secret, before.Previous, before.PreviousExpiresAt
		r.UpdatedAt = v.Now()
		e = v.shown(r)
	})
	if err != nil {
		return nil, err
	}
	if err := v.Writer.Replace(ctx, accessToken, record, version); err != nil {
		return nil, err
	}
	return &e, nil
}

// changed reads a record and changes it. It returns the changed record, and the version
// that it may replace.
func (v *Vault) changed(ctx context.Context, accessToken string, change func(*credential.Record)) (record []byte, version string, err error) {
	d, err := v.enabled(ctx, accessToken)
	if err != nil {
		return nil, "", err
	}
	rewrite := credential.Change
	if v.Writer.Base64() {
		rewrite = credential.ChangeBase64
	}
	record, err = rewrite(d.Record, func(r *credential.Record) error {
		change(r)
		return nil
	})
	if err != nil {
		return nil, "", v.about(accessToken, err)
	}
	return record, d.Version, nil
}

// ErrDisabled is matched by errors about a secret that the store has disabled and so
// can't be read.
var ErrDisabled = errors.New("it is disabled in the store, and can't be read: enable it there first")

// enabled reads a document that the store has not disabled.
func (v *Vault) enabled(ctx context.Context, accessToken string) (*secretstore.Document, error) {
	d, err := v.Writer.Get(ctx, accessToken)
	if err == nil && d.Disabled {
		err = ErrDisabled
	}
	if err != nil {
		return nil, v.about(accessToken, err)
	}
	return d, nil
}
