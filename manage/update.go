package manage

import (
	"context"

	"kong-vault-auth/credential"
)

// Update changes a credential's record, all but its tokens. What change leaves as it is
// stays as it was written, also what this program doesn't know.
func (v *Vault) Update(ctx context.Context, accessToken string, change func(*credential.Record)) (*Entry, error) {
	document, err := v.Writer.Get(ctx, accessToken)
	switch {
	case err != nil:
		return nil, v.about(accessToken, err)
	case document.Disabled:
		return nil, v.about(accessToken, ErrDisabled)
	}
	var e Entry
	record, err := v.change(document.Record, func(r *credential.Record) error {
		before := *r
		change(r)
		r.AccessToken, r.Secret, r.Previous, r.PreviousExpiresAt = before.AccessToken, before.Secret, before.Previous, before.PreviousExpiresAt
		r.UpdatedAt = v.Now()
		e = v.shown(r)
		return nil
	})
	if err != nil {
		return nil, v.about(accessToken, err)
	}
	if err := v.Writer.Replace(ctx, accessToken, record, document.Version); err != nil {
		return nil, err
	}
	return &e, nil
}
