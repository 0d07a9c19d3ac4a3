package e2e

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
	"os"
	"strings"
	"time"
)

// role are the fields of a role whose logins get the plugin's policy.
func (a *authEnv) role(more object) object {
	fields := object{"token_policies": a.policy, "token_ttl": "1h"}
	maps.Copy(fields, more)
	return fields
}

// enable enables an auth method at a mount of this test's own.
func (a *authEnv) enable(kind string) (mount string) {
	a.Helper()
	mount = "teams/" + kind + "-" + strings.ToLower(rand.Text())
	a.must(a.vault.EnableAuth(a.Context(), mount, kind))
	return mount
}

// appRole is a way to log in with AppRole, but for the secret id.
func (a *authEnv) appRole(role object) (mount string, settings object) {
	a.Helper()
	mount = a.enable("approle")
	a.write("auth/"+mount+"/role/kong", a.role(role))
	secret, err := a.vault.Read(a.Context(), "auth/"+mount+"/role/kong/role-id")
	a.must(err)
	return mount, object{"auth_method": "approle", "approle_auth_path": mount, "approle_role_id": secret.Data["role_id"]}
}

func (a *authEnv) secretID(mount string) string {
	a.Helper()
	secret, err := a.vault.Write(a.Context(), "auth/"+mount+"/role/kong/secret-id", nil)
	a.must(err)
	id := secret.Data["secret_id"].(string)
	a.hidden = append(a.hidden, id)
	return id
}

func (a *authEnv) wrappedSecretID(mount string) (wrappingToken string) {
	a.Helper()
	wrappingToken, err := a.vault.WriteWrapped(a.Context(), "auth/"+mount+"/role/kong/secret-id", nil, time.Minute)
	a.must(err)
	a.hidden = append(a.hidden, wrappingToken)
	return wrappingToken
}

// withSecretID is AppRole as the tests use it that aren't about AppRole.
func (a *authEnv) withSecretID(role object) (mount string, settings object) {
	a.Helper()
	mount, settings = a.appRole(role)
	settings["approle_secret_id"] = a.secretID(mount)
	return mount, settings
}

// kubernetes is a way to log in as the service account kong in gateway. Vault
// asks a cluster's API, which is played here, whether a token is genuine.
func (a *authEnv) kubernetes() (mount string, settings object) {
	a.Helper()
	key := newJWTKey(a)
	account := func(name string) string {
		return key.sign(object{
			"sub":           "system:serviceaccount:gateway:" + name,
			"kubernetes.io": object{"namespace": "gateway", "serviceaccount": object{"name": name, "uid": "1"}},
		})
	}
	pods := account("kong")
	cluster := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review struct{ Spec struct{ Token string } }
		err := json.NewDecoder(r.Body).Decode(&review)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": {
			"authenticated": %t, "audiences": ["vault"],
			"user": {"username": "system:serviceaccount:gateway:kong", "uid": "1", "groups": ["system:serviceaccounts"]}
		}}`, err == nil && review.Spec.Token == pods)
	}))
	a.Cleanup(cluster.Close)
	mount = a.enable("kubernetes")
	a.write("auth/"+mount+"/config", object{
		"kubernetes_host": cluster.URL, "kubernetes_ca_cert": string(a.vault.CA),
		"token_reviewer_jwt": account("vault"), "disable_local_ca_jwt": true,
	})
	a.write("auth/"+mount+"/role/kong", a.role(object{
		"bound_service_account_names": "kong", "bound_service_account_namespaces": "gateway", "audience": "vault",
	}))
	file := a.file("service-account-token", pods)
	a.must(os.Chmod(file, 0o644)) // as the kubelet writes it
	return mount, object{"auth_method": "kubernetes", "kube_auth_path": mount, "kube_role": "kong", "kube_api_token_file": file}
}

// jwt is a way to log in with a JWT that an issuer of the company's has signed.
func (a *authEnv) jwt() (mount string, settings object) {
	a.Helper()
	key := newJWTKey(a)
	mount = a.enable("jwt")
	a.write("auth/"+mount+"/config", object{"jwt_validation_pubkeys": key.public})
	a.write("auth/"+mount+"/role/kong", a.role(object{
		"role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault", "bound_subject": "gateway",
	}))
	return mount, object{
		"auth_method": "jwt", "jwt_auth_path": mount, "jwt_role": "kong",
		"jwt_token_file": a.file("jwt", key.sign(object{"sub": "gateway"})+"\n"),
	}
}

// cert is a way to log in with a client certificate of the CA's.
func (a *authEnv) cert(ca *authority) (mount string, settings object) {
	a.Helper()
	mount = a.enable("cert")
	a.trust(mount, ca)
	certificate, key := ca.issue("kong")
	return mount, a.overTLS(object{
		"auth_method": "cert", "cert_auth_path": mount, "cert_auth_role_name": "kong",
		"cert_auth_cert": a.file("client.pem", certificate), "cert_auth_cert_key": a.file("client.key", key),
	})
}

// trust has the cert method accept certificates of these CAs, and no others.
func (a *authEnv) trust(mount string, cas ...*authority) {
	a.Helper()
	var all string
	for _, ca := range cas {
		all += ca.pem
	}
	a.write("auth/"+mount+"/certs/kong", a.role(object{"certificate": all, "allowed_common_names": "kong"}))
}

// jwtKey signs JWTs.
type jwtKey struct {
	a       *authEnv
	private *rsa.PrivateKey
	public  string // PEM
}

func newJWTKey(a *authEnv) jwtKey {
	a.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	a.must(err)
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	a.must(err)
	return jwtKey{a, private, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}
}

// sign makes a JWT for Vault that is valid for an hour.
func (k jwtKey) sign(claims object) string {
	k.a.Helper()
	now := time.Now().Unix()
	claims = maps.Clone(claims)
	claims["aud"], claims["iat"], claims["nbf"], claims["exp"] = []string{"vault"}, now, now, now+3600
	part := func(v any) string {
		b, err := json.Marshal(v)
		k.a.must(err)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	signed := part(object{"alg": "RS256", "typ": "JWT"}) + "." + part(claims)
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, k.private, crypto.SHA256, digest[:])
	k.a.must(err)
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}
