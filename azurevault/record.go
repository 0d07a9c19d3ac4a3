package azurevault

import (
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// notBase64 says that base64_decode is set for a secret that isn't base64.
var notBase64 = &secretstore.Absent{Reason: secretstore.ReasonUnusable, Err: &credential.UnusableError{
	Reason: "base64",
	Detail: "base64_decode is set, and the secret's value is not base64",
	Remedy: "write the value in base64, or leave base64_decode out",
}}

// parse reads the record in a secret that Key Vault has handed out.
func (r *read) parse(secret azsecrets.Secret, now time.Time) (*credential.Record, error) {
	value, err := r.value(secret, now)
	if err != nil {
		return nil, err
	}
	record, err := credential.Parse(value)
	if err != nil {
		return nil, &secretstore.Absent{Reason: secretstore.ReasonUnusable, Err: err}
	}
	record.ExpiresAt = earlier(record.ExpiresAt, secret.Attributes.Expires)
	return record, nil
}

// earlier is the earlier of two ends; a zero or nil one is none.
func earlier(t time.Time, other *time.Time) time.Time {
	if other != nil && (t.IsZero() || other.Before(t)) {
		return *other
	}
	return t
}
