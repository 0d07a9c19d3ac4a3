package azurevault

import (
	"encoding/base64"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// parse reads the record in a secret that Key Vault has handed out.
func (r *read) parse(secret azsecrets.Secret, now time.Time) (*credential.Record, error) {
	a := secret.Attributes
	switch {
	case a.Enabled != nil && !*a.Enabled:
		return nil, &secretstore.Absent{Reason: secretstore.ReasonDisabled}
	case a.NotBefore != nil && now.Before(*a.NotBefore), a.Expires != nil && !now.Before(*a.Expires):
		return nil, &secretstore.Absent{Reason: secretstore.ReasonOutside}
	}
	value := []byte(*secret.Value)
	if r.cfg.Base64Decode {
		var err error
		if value, err = base64.StdEncoding.DecodeString(strings.TrimSpace(*secret.Value)); err != nil {
			return nil, &secretstore.Absent{Reason: secretstore.ReasonUnusable, Err: &credential.UnusableError{
				Reason: "base64",
				Detail: "base64_decode is set, and the secret's value is not base64",
				Remedy: "write the record in base64, or leave base64_decode out",
			}}
		}
	}
	record, err := credential.Parse(value)
	if err != nil {
		return nil, &secretstore.Absent{Reason: secretstore.ReasonUnusable, Err: err}
	}
	record.ExpiresAt = earlier(record.ExpiresAt, a.Expires)
	return record, nil
}

// earlier is the earlier of two ends; a zero or nil one is none.
func earlier(t time.Time, other *time.Time) time.Time {
	if other != nil && (t.IsZero() || other.Before(t)) {
		return *other
	}
	return t
}
