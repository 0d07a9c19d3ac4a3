package manage

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"kong-vault-auth/credential"
)

// Rotation says how a credential gets another secret token.
type Rotation struct {
	Grace  time.Duration // how long the old one still works; at most credential.MaxGrace
	Stored string        // StoredHash or StoredPlain; empty: as the record has it
}

// Check reports what is wrong with the rotation itself.
func (r Rotation) Check() error {
	if r.Grace < 0 || r.Grace > credential.MaxGrace {
		return fmt.Errorf("the grace must be between 0 and %d days: the plugin ignores a previous secret that ends later", credential.MaxGrace/(24*time.Hour))
	}
	return nil
}

// Rotate gives a credential another secret token. Everything else in its record stays
// as it was written, including fields that this program doesn't know.
func (v *Vault) Rotate(ctx context.Context, accessToken string, how Rotation, d Delivery) (*Issued, error) {
	if err := how.Check(); err != nil {
		return nil, err
	}
	_, secretToken, err := credential.Generate(prefixOf(accessToken))
	if err != nil {
		return nil, err
	}
	issued := &Issued{secretToken: secretToken}
	record, version, err := v.changed(ctx, accessToken, func(r *credential.Record) {
		now := v.Now()
		plain := how.Stored == StoredPlain || how.Stored == "" && r.Secret.Token != ""
		r.Rotate(secretOf(secretToken, plain), now.Add(how.Grace).Truncate(time.Second), now)
		issued.Entry = v.shown(r)
	})
	if err != nil {
		return nil, err
	}
	err = deliver(d, issued, func() error { return v.Writer.Replace(ctx, accessToken, record, version) })
	if err != nil {
		return nil, err
	}
	return issued, nil
}

// generated matches tokens that credential.Generate made with a prefix.
var generated = regexp.MustCompile(`^([0-9A-Za-z]{1,32})_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}$`)

// prefixOf is the prefix of a generated access token, which its secret tokens share.
func prefixOf(accessToken string) string {
	if m := generated.FindStringSubmatch(accessToken); m != nil {
		return m[1]
	}
	return ""
}

// Due reports whether a credential's secret token is so old that it should be rotated. If
// it is old but can't be rotated, why says so.
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
