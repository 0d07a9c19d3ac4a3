package azurevault

import (
	"crypto/sha256"
	"encoding/hex"
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

const (
	maxName      = 127 // characters of a secret's name
	hashedPrefix = "sha256-"
	// maxNamePrefix leaves room for the hash of a token.
	maxNamePrefix = maxName - len(hashedPrefix) - 2*sha256.Size
)

// secretName is the name of the secret that holds an access token's record.
func secretName(prefix, accessToken string) string {
	if name := prefix + accessToken; len(name) <= maxName && isName(name) {
		return name
	}
	digest := sha256.Sum256([]byte(accessToken))
	return prefix + hashedPrefix + hex.EncodeToString(digest[:])
}

// isName reports whether all characters of s are allowed in a secret's name.
func isName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

// parse parses the record in a secret.
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

// earlier is the earlier of two times. A zero or nil time doesn't count.
func earlier(t time.Time, other *time.Time) time.Time {
	if other != nil && (t.IsZero() || other.Before(t)) {
		return *other
	}
	return t
}
