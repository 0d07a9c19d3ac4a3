package azurevault

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"kong-vault-auth/secretstore"
)

// CheckName implements secretstore.Secrets.
func (s *store) CheckName(name string) error {
	if name == "" || len(name) > maxName || !isName(name) {
		return fmt.Errorf("the name of a secret in Key Vault has 1 to %d letters, digits and -", maxName)
	}
	return nil
}

// HoldsCredential implements secretstore.Config. Names ignore case.
func (c *Config) HoldsCredential(other secretstore.Config, name string) bool {
	o, same := other.(*Config)
	return same && c.address() == o.address() && strings.HasPrefix(strings.ToLower(name), strings.ToLower(c.NamePrefix))
}

// versionID matches Key Vault's names of versions.
var versionID = regexp.MustCompile(`^[0-9a-fA-F]{32}$`)

// Secret implements secretstore.Secrets.
func (s *store) Secret(ctx context.Context, name string, v secretstore.Version) (secretstore.Secret, error) {
	ctx, r := s.begin(ctx, read{op: "read secret " + name, name: name, needs: "get"})
	switch {
	case s.closed.Load():
		return secretstore.Secret{}, r.closedFailure()
	case v.ID != "" && !versionID.MatchString(v.ID):
		return secretstore.Secret{}, absentVersion("the name of a version in Key Vault has 32 hexadecimal digits")
	}
	secret, err := r.version(ctx, v)
	s.redial.After(err)
	if err != nil {
		return secretstore.Secret{}, err
	}
	return r.secretValue(secret, time.Now())
}

func absentVersion(why string) error {
	return &secretstore.Absent{Reason: secretstore.ReasonNotFound, Err: errors.New(why)}
}

func (r *read) version(ctx context.Context, v secretstore.Version) (azsecrets.Secret, error) {
	secret, err := r.get(ctx, v.ID)
	if err != nil || !v.Previous {
		return secret, err
	}
	r.needs = "get list"
	before, err := r.versionBefore(ctx, secret)
	switch {
	case err != nil:
		return secret, err
	case before == "":
		return secret, absentVersion("there is no version before the current one, or it is disabled")
	}
	return r.get(ctx, before)
}

// secretValue is the value of a secret that may be used now.
func (r *read) secretValue(secret azsecrets.Secret, now time.Time) (secretstore.Secret, error) {
	value, err := r.value(secret, now)
	if err != nil {
		return secretstore.Secret{}, err
	}
	if len(value) == 0 {
		return secretstore.Secret{}, &secretstore.Absent{Reason: secretstore.ReasonUnusable, Err: errors.New("it is empty")}
	}
	return secretstore.Secret{Value: string(value), Expires: earlier(time.Time{}, secret.Attributes.Expires)}, nil
}

// value is a secret's value, decoded if base64_decode is set. It is an error if Key Vault's
// attributes say that the secret must not be used now.
func (r *read) value(secret azsecrets.Secret, now time.Time) ([]byte, error) {
	a := secret.Attributes
	switch {
	case a.Enabled != nil && !*a.Enabled:
		return nil, &secretstore.Absent{Reason: secretstore.ReasonDisabled}
	case a.NotBefore != nil && now.Before(*a.NotBefore), a.Expires != nil && !now.Before(*a.Expires):
		return nil, &secretstore.Absent{Reason: secretstore.ReasonOutside}
	case !r.cfg.Base64Decode:
		return []byte(*secret.Value), nil
	}
	value, err := base64.StdEncoding.DecodeString(strings.TrimSpace(*secret.Value))
	if err != nil {
		return nil, notBase64
	}
	return value, nil
}
