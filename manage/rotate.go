package manage

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"kong-vault-auth/credential"
)

// Rotation says how a credential gets another secret token.
type Rotation struct {
	Grace  time.Duration // how long the one before still works; at most credential.MaxGrace
	Stored string        // StoredHash or StoredPlain; empty: as the record has it
}

// ErrDisabled is matched by errors about a secret that can't be read, since the store has
// it disabled.
var ErrDisabled = errors.New("it is disabled in the store, and can't be read: enable it there first")

// Check reports what is wrong with the rotation itself.
func (r Rotation) Check() error {
	if r.Grace < 0 || r.Grace > credential.MaxGrace {
		return fmt.Errorf("the grace must be between 0 and %d days: a previous secret with a later end is refused", credential.MaxGrace/(24*time.Hour))
	}
	return nil
}

// Rotate gives a credential another secret token. Everything else in its record stays
// as it was written, also what this program doesn't know.
func (v *Vault) Rotate(ctx context.Context, accessToken string, how Rotation, d Delivery) (*Issued, error) {
	if err := how.Check(); err != nil {
		return nil, err
	}
	document, err := v.Writer.Get(ctx, accessToken)
	switch {
	case err != nil:
		return nil, v.about(accessToken, err)
	case document.Disabled:
		return nil, v.about(accessToken, ErrDisabled)
	}
	_, secretToken, err := credential.Generate(prefixOf(accessToken))
	if err != nil {
		return nil, err
	}
	issued := &Issued{secretToken: secretToken}
	record, err := v.change(document.Record, func(r *credential.Record) error {
		now := v.Now()
		plain := how.Stored == StoredPlain || how.Stored == "" && r.Secret.Token != ""
		r.Rotate(secretOf(secretToken, plain), now.Add(how.Grace).Truncate(time.Second), now)
		issued.Entry = v.shown(r)
		return nil
	})
	if err != nil {
		return nil, v.about(accessToken, err)
	}
	err = deliver(d, issued, func() error {
		return v.Writer.Replace(ctx, accessToken, record, document.Version)
	})
	if err != nil {
		return nil, err
	}
	return issued, nil
}

// generated is a token that credential.Generate made with a prefix.
var generated = regexp.MustCompile(`^([0-9A-Za-z]{1,32})_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}$`)

// prefixOf is the prefix of a generated access token, which its secret tokens share.
func prefixOf(accessToken string) string {
	if m := generated.FindStringSubmatch(accessToken); m != nil {
		return m[1]
	}
	return ""
}

// Due reports whether the secret token of a credential is so old that it should be
// rotated, and else why it isn't.
func Due(e Entry, olderThan time.Duration, now time.Time) (due bool, why string) {
	made := e.UpdatedAt
	if made == nil {
		made = e.CreatedAt
	}
	switch {
	case e.Problem != "" && e.Stored == "":
		return false, "unusable: " + e.Problem
	case !e.Enabled:
		return false, "disabled"
	case e.Expired(now):
		return false, "expired"
	case made == nil:
		return false, "its age is not known: neither its record nor the store has a date"
	case now.Sub(*made) < olderThan:
		return false, ""
	}
	return true, ""
}
