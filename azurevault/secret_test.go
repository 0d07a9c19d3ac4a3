package azurevault

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/secretstore"
)

// secretOutcome is what a read of a secret came to, in a few words.
func secretOutcome(s secretstore.Secret, err error) string {
	if err == nil {
		return s.Value
	}
	return outcome(nil, err)
}

func TestSecretsOfReferences(t *testing.T) {
	a := newAzure(t, akvsim.Options{})
	old := a.Put("rotated", "old", &azsecrets.SecretAttributes{Created: new(time.Now().Add(-time.Minute))})
	a.Put("rotated", "new", nil)
	a.Put("once", `{"foo": "bar"}`, nil)
	a.Put("empty", "", nil)
	a.Put("disabled", "x", &azsecrets.SecretAttributes{Enabled: new(false)})
	a.Put("over", "x", &azsecrets.SecretAttributes{Expires: new(time.Now().Add(-time.Hour))})
	a.Put("not-yet", "x", &azsecrets.SecretAttributes{NotBefore: new(time.Now().Add(time.Hour))})
	a.Put("encoded", "YmFy", nil)
	a.Put("gone", "x", nil)
	a.Delete("gone")
	plain, decoding := a.open(t, nil), a.open(t, func(c *Config) { c.Base64Decode = true })
	previous := secretstore.Version{Previous: true}
	for _, tt := range []struct {
		s       *store
		name    string
		version secretstore.Version
		want    string
	}{
		{plain, "rotated", secretstore.Version{}, "new"},
		{plain, "ROTATED", secretstore.Version{}, "new"},
		{plain, "rotated", previous, "old"},
		{plain, "rotated", secretstore.Version{ID: old}, "old"},
		{plain, "rotated", secretstore.Version{ID: "1"}, "absent: not_found: the name of a version in Key Vault has 32 hexadecimal digits"},
		{plain, "rotated", secretstore.Version{ID: strings.Repeat("0", 32)}, "absent: not_found"},
		{plain, "once", secretstore.Version{}, `{"foo": "bar"}`},
		{plain, "once", previous, "absent: not_found: there is no version before the current one, or it is disabled"},
		{plain, "empty", secretstore.Version{}, "absent: unusable: it is empty"},
		{plain, "disabled", secretstore.Version{}, "absent: disabled"},
		{plain, "over", secretstore.Version{}, "absent: outside"},
		{plain, "not-yet", secretstore.Version{}, "absent: outside"},
		{plain, "gone", secretstore.Version{}, "absent: not_found"},
		{plain, "none", secretstore.Version{}, "absent: not_found"},
		{plain, "encoded", secretstore.Version{}, "YmFy"},
		{decoding, "encoded", secretstore.Version{}, "bar"},
		{decoding, "once", secretstore.Version{}, "absent: unusable: base64: base64_decode is set, and the secret's value is not base64 (write the value in base64, or leave base64_decode out)"},
	} {
		got, err := tt.s.Secret(t.Context(), tt.name, tt.version)
		if diff := cmp.Diff(tt.want, secretOutcome(got, err)); diff != "" {
			t.Errorf("%s %v:\n%s", tt.name, tt.version, diff)
		}
	}
}

func TestSecretHasItsExpiry(t *testing.T) {
	a := newAzure(t, akvsim.Options{})
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	a.Put("ends", "x", &azsecrets.SecretAttributes{Expires: new(end)})
	got, err := a.open(t, nil).Secret(t.Context(), "ends", secretstore.Version{})
	if err != nil || !got.Expires.Equal(end) {
		t.Errorf("%v, %v; want the end %v", got, err, end)
	}
}

func TestSecretsThatCannotBeReadSayWhy(t *testing.T) {
	a := newAzure(t, akvsim.Options{})
	a.Put("pg", "x", nil)
	s := a.open(t, nil)
	a.AddApp(akvsim.App{ClientID: clientID, ObjectID: objectID, Secret: clientSecret, May: akvsim.Get, Deny: []string{"pg"}})
	_, err := s.Secret(t.Context(), "pg", secretstore.Version{})
	var f *secretstore.Failure
	if !errors.As(err, &f) || f.Reason != secretstore.Denied || f.Op != "read secret pg" || !strings.Contains(f.Remedy, "Key Vault Secrets User") {
		t.Errorf("denied: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Secret(context.Background(), "pg", secretstore.Version{}); secretOutcome(secretstore.Secret{}, err) != "failure: closed" {
		t.Errorf("after Close: %v", err)
	}
}

func TestNamesOfSecrets(t *testing.T) {
	s := &store{}
	for name, ok := range map[string]bool{
		"secret-name": true, strings.Repeat("x", 127): true,
		"": false, strings.Repeat("x", 128): false, "a/b": false, "a_b": false, "ü": false,
	} {
		if err := s.CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestWhereCredentialsAreKept(t *testing.T) {
	object := &Config{VaultURI: "https://Contoso.vault.azure.net/", NamePrefix: "Kong-Auth-"}
	for name, want := range map[string]bool{"kong-auth-x": true, "KONG-AUTH-": true, "kong-aut": false, "pg": false} {
		if got := object.HoldsCredential(&Config{VaultURI: "https://contoso.vault.azure.net"}, name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if object.HoldsCredential(&Config{VaultURI: "https://other.vault.azure.net"}, "kong-auth-x") {
		t.Error("another vault's")
	}
	if !(&Config{VaultURI: "https://contoso.vault.azure.net"}).HoldsCredential(object, "anything") {
		t.Error("without a prefix, every name can be a credential's")
	}
}
