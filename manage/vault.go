// Package manage creates, changes, imports, exports and revokes credentials in a store
// that can be written to. The operator's commands and the Admin API use it.
package manage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// Vault is a vault object whose credentials an operator manages. It is safe for
// concurrent use.
type Vault struct {
	Name        string
	Writer      secretstore.Writer
	Fingerprint func(accessToken string) string
	Now         func() time.Time
	MaxTTL      time.Duration // the object's max_ttl; 0: unknown
}

// Issued is a credential with its new secret token. Nothing else holds a new secret token,
// and only Reveal shows it.
type Issued struct {
	Entry
	secretToken string
}

// Reveal is the secret token.
func (i *Issued) Reveal() string { return i.secretToken }

// Format prints a placeholder for every verb and flag.
func (i *Issued) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "manage.Issued(redacted)") }

// MarshalJSON is that of the entry, without the secret token.
func (i *Issued) MarshalJSON() ([]byte, error) { return json.Marshal(i.Entry) }

// Delivery delivers a new secret token to where it is shown or kept. That happens before
// the store is written to, so that the secret can't be lost in between. undo, which may
// be nil, takes it back if the store has certainly not been written to.
type Delivery func(*Issued) (undo func(), err error)

// deliver delivers a secret token, and then calls write, which writes to the store.
func deliver(d Delivery, i *Issued, write func() error) error {
	undo, err := d(i)
	if err != nil {
		return fmt.Errorf("nothing was written to the store: %w", err)
	}
	err = write()
	var failure *secretstore.Failure
	switch {
	case err == nil:
	case errors.As(err, &failure) && !failure.Denied():
		// It may have been written all the same, so what was delivered stays.
	case undo != nil:
		undo()
	}
	return err
}

// secretOf is a secret token in the form that a record keeps.
func secretOf(secretToken string, plain bool) credential.Secret {
	if plain {
		return credential.PlainSecret(secretToken)
	}
	return credential.HashedSecret(secretToken)
}

func (v *Vault) parse(stored []byte) (*credential.Record, error) {
	if v.Writer.Base64() {
		return credential.ParseBase64(stored)
	}
	return credential.Parse(stored)
}

func (v *Vault) encode(r *credential.Record) ([]byte, error) {
	if v.Writer.Base64() {
		return credential.EncodeBase64(r)
	}
	return credential.Encode(r)
}

// about adds the credential's fingerprint to an error, as the plugin server's log has it. A
// name that the store doesn't have is often a fingerprint.
func (v *Vault) about(accessToken string, err error) error {
	if secretstore.IsAbsent(err, secretstore.ReasonNotFound) {
		return fmt.Errorf("credential %s: %w: the vault object %s has none with this access token (credential list shows access tokens and fingerprints)", v.Fingerprint(accessToken), err, v.Name)
	}
	return fmt.Errorf("credential %s: %w", v.Fingerprint(accessToken), err)
}

// Revoke deletes a credential, usable or not. If the store keeps deleted secrets, purge
// removes the secret for good.
func (v *Vault) Revoke(ctx context.Context, accessToken string, purge bool) error {
	if _, err := v.Writer.Get(ctx, accessToken); err != nil && !(purge && secretstore.IsAbsent(err, secretstore.ReasonDeleted)) {
		return v.about(accessToken, err)
	} else if err == nil {
		if err := v.Writer.Delete(ctx, accessToken); err != nil {
			return v.about(accessToken, err)
		}
	}
	if !purge {
		return nil
	}
	err := v.Writer.Purge(ctx, accessToken)
	if secretstore.IsAbsent(err, secretstore.ReasonNotFound) {
		return nil // the store keeps no deleted secrets
	}
	return err
}
