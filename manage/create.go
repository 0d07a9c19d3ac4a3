package manage

import (
	"context"
	"net/netip"
	"time"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// New is a credential to be created.
type New struct {
	AccessToken string // empty: one is generated
	Prefix      string // of generated tokens, see credential.Generate
	Plain       bool   // store the secret token in clear, which Kong Enterprise needs
	Consumer    credential.Consumer
	TTL         time.Duration
	Groups      []string
	AllowedIPs  []netip.Prefix
	NotBefore   time.Time
	ExpiresAt   time.Time
	Description string
	CreatedBy   string
	Deleted     Deleted
}

// Deleted says what to do if a deleted secret holds the name of a new one.
type Deleted int

// The values of Deleted.
const (
	KeepDeleted    Deleted = iota // create nothing
	RecoverDeleted                // recover it; the credential becomes its newest version
	PurgeDeleted                  // remove it for good
)

// Create creates a credential with a generated secret token.
func (v *Vault) Create(ctx context.Context, n New, d Delivery) (*Issued, error) {
	accessToken, secretToken, err := credential.Generate(n.Prefix)
	if err != nil {
		return nil, err
	}
	if n.AccessToken != "" {
		accessToken = n.AccessToken
	}
	now := v.Now()
	r := &credential.Record{
		AccessToken: accessToken, Secret: secretOf(secretToken, n.Plain), Consumer: n.Consumer, TTL: n.TTL,
		Groups: n.Groups, AllowedIPs: n.AllowedIPs, NotBefore: n.NotBefore, ExpiresAt: n.ExpiresAt,
		Description: n.Description, CreatedBy: n.CreatedBy, CreatedAt: now, UpdatedAt: now,
	}
	record, err := v.encode(r)
	if err != nil {
		return nil, err
	}
	issued := &Issued{v.shown(r), secretToken}
	err = deliver(d, issued, func() error { return v.write(ctx, accessToken, record, n.Deleted) })
	if err != nil {
		return nil, err
	}
	return issued, nil
}

func (v *Vault) write(ctx context.Context, accessToken string, record []byte, deleted Deleted) error {
	err := v.Writer.Create(ctx, accessToken, record)
	if !secretstore.IsConflict(err, secretstore.ConflictDeleted) {
		return err
	}
	switch deleted {
	case PurgeDeleted:
		if err := v.Writer.Purge(ctx, accessToken); err != nil {
			return err
		}
		return v.Writer.Create(ctx, accessToken, record)
	case RecoverDeleted:
		version, err := v.Writer.Recover(ctx, accessToken)
		if err != nil {
			return err
		}
		return v.Writer.Replace(ctx, accessToken, record, version)
	}
	return err
}
