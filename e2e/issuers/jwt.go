// Package issuers plays, for tests, those who issue what a login to Vault shows: a company's
// issuer of JWTs, a Kubernetes cluster, a CA.
package issuers

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"testing"
	"time"
)

// Key signs JWTs.
type Key struct {
	Public string // PEM

	t       *testing.T
	private *rsa.PrivateKey
}

// NewKey returns a key of its own.
func NewKey(t *testing.T) Key {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return Key{string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), t, private}
}

// Sign makes a JWT that is valid for an hour, and for the audience vault unless claims
// say otherwise.
func (k Key) Sign(claims map[string]any) string {
	now := time.Now().Unix()
	all := map[string]any{"aud": []string{"vault"}, "iat": now, "nbf": now, "exp": now + 3600}
	maps.Copy(all, claims)
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			k.t.Error(err) // not Fatal: servers sign too
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	signed := part(map[string]any{"alg": "RS256", "typ": "JWT"}) + "." + part(all)
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, k.private, crypto.SHA256, digest[:])
	if err != nil {
		k.t.Error(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}
