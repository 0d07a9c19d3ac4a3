// Package issuers stands in for those who issue what a login to Vault presents: an issuer of
// JWTs, a Kubernetes cluster, an OAuth2 identity provider.
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
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// Key signs JWTs.
type Key struct {
	Public string // PEM

	t       *testing.T
	private *rsa.PrivateKey
}

// NewKey returns a new key.
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

// Sign makes a JWT that is valid for an hour, for the audience vault unless claims name another.
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

// ServiceAccount is a token of a service account in the namespace gateway.
func (k Key) ServiceAccount(name string) string {
	return k.Sign(map[string]any{
		"sub":           "system:serviceaccount:gateway:" + name,
		"kubernetes.io": map[string]any{"namespace": "gateway", "serviceaccount": map[string]any{"name": name, "uid": "1"}},
	})
}

// Cluster is the part of a Kubernetes cluster's API by which Vault verifies a token: it accepts
// one, as that of the service account kong in the namespace gateway.
func Cluster(t *testing.T, token string) *httptest.Server {
	t.Helper()
	cluster := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review struct{ Spec struct{ Token string } }
		err := json.NewDecoder(r.Body).Decode(&review)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": {
			"authenticated": %t, "audiences": ["vault"],
			"user": {"username": "system:serviceaccount:gateway:kong", "uid": "1", "groups": ["system:serviceaccounts"]}
		}}`, err == nil && review.Spec.Token == token)
	}))
	t.Cleanup(cluster.Close)
	return cluster
}

// TokenEndpoint is an identity provider's, for OAuth2's client credentials grant. It knows one
// client, and issues the JWTs that sign makes for the requested audiences.
func TokenEndpoint(t *testing.T, clientID, clientSecret string, sign func(audiences []string) (jwt string)) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		id, secret, _ := r.BasicAuth()
		w.Header().Set("Content-Type", "application/json")
		if id != clientID || secret != clientSecret || r.PostForm.Get("grant_type") != "client_credentials" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":"invalid_client"}`))
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"token_type": "Bearer", "expires_in": 60, "access_token": sign(r.PostForm["audience"])})
	}))
	t.Cleanup(server.Close)
	return server
}
