package hashivault

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"kong-vault-auth/certificatetest"

	"github.com/google/go-cmp/cmp"
)

// appRole sets up a role, and returns a configuration that logs in with it.
func (v *realVault) appRole(role fields) (cfg Config) {
	v.t.Helper()
	v.put("alice")
	v.do("POST", "sys/auth/approle", fields{"type": "approle"})
	role["token_policies"] = v.policy("secret/data/kong-auth/*")
	v.do("POST", "auth/approle/role/kong", role)
	roleID := v.do("GET", "auth/approle/role/kong/role-id", nil)["data"].(fields)["role_id"].(string)
	return v.config(func(c *Config) {
		appRoleConfig(c)
		c.AppRoleRoleID, c.AppRoleSecretID = roleID, v.secretID()
	})
}

func (v *realVault) secretID() string {
	v.t.Helper()
	return v.do("PUT", "auth/approle/role/kong/secret-id", nil)["data"].(fields)["secret_id"].(string)
}

func (v *realVault) wrappedSecretID() string {
	v.t.Helper()
	return v.wrapped("auth/approle/role/kong/secret-id", nil)
}

// wrapped is the token that wraps the answer of a path.
func (v *realVault) wrapped(path string, body any) string {
	v.t.Helper()
	return v.do("PUT", path, body, "X-Vault-Wrap-TTL", "60s")["wrap_info"].(fields)["token"].(string)
}

func (v *realVault) logins() int { return len(v.audited("update", "auth/approle/login")) }

func TestTokensOutliveTheirTTLUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as some tokens live")
	}
	t.Parallel()
	v := startVault(t)
	s := openAt(t, v.appRole(fields{"token_ttl": "3s", "token_max_ttl": "6s"}), nil)

	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				if got, err := readWithin(t, s, 2*time.Second, "alice"); got != (verdict{Found: "alice"}) && ctx.Err() == nil {
					t.Errorf("%v: %v", got, err)
				}
			}
		})
	}
	eventually(t, "renewals and a second login", func() bool {
		return v.logins() >= 2 && len(v.audited("update", "auth/token/renew-self")) >= 3
	})
	stop()
	load.Wait()
}

func TestOneLoginAfterARevocation(t *testing.T) {
	v := startVault(t)
	s := openAt(t, v.appRole(fields{"token_ttl": "1h"}), nil)
	wantFound(t, s)
	v.revokeLogins()
	var reads sync.WaitGroup
	for range 200 {
		reads.Go(func() {
			if got, err := readWithin(t, s, 10*time.Second, "alice"); got != (verdict{Found: "alice"}) {
				t.Errorf("%v: %v", got, err)
			}
		})
	}
	reads.Wait()
	if got := v.logins(); got != 2 {
		t.Errorf("%d logins, want 2: the first and one after the revocation", got)
	}
}

// revokeLogins revokes all tokens that AppRole has granted.
func (v *realVault) revokeLogins() { v.revokeLoginsAt("approle") }

// revokeLoginsAt revokes all tokens that an auth method has granted.
func (v *realVault) revokeLoginsAt(mount string) {
	v.t.Helper()
	for _, accessor := range v.do("LIST", "auth/token/accessors", nil)["data"].(fields)["keys"].([]any) {
		info := v.do("POST", "auth/token/lookup-accessor", fields{"accessor": accessor})["data"].(fields)
		if info["path"] == "auth/"+mount+"/login" {
			v.do("POST", "auth/token/revoke-accessor", fields{"accessor": accessor})
		}
	}
}

// Without the policy default a token can't look itself up, be renewed or revoke
// itself.
func TestRolesWithoutThePolicyDefault(t *testing.T) {
	v := startVault(t)
	s := openAt(t, v.appRole(fields{"token_ttl": "1h", "token_no_default_policy": true}), nil)
	wantFound(t, s)
	v.revokeLogins()
	wantFound(t, s)
	if got := v.logins(); got != 2 {
		t.Errorf("%d logins, want 2", got)
	}
	if err := s.Close(); err == nil || !strings.Contains(err.Error(), "remains valid") {
		t.Errorf("a token that can't be revoked: %v", err)
	}
}

// A batch token can be neither renewed nor revoked.
func TestBatchTokensAreReplacedInTime(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as some tokens live")
	}
	t.Parallel()
	v := startVault(t)
	s := openAt(t, v.appRole(fields{"token_ttl": "3s", "token_type": "batch"}), nil)
	eventually(t, "a second login", func() bool {
		wantFound(t, s)
		return v.logins() >= 2
	})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestOwnTokenIsRevokedAtClose(t *testing.T) {
	v := startVault(t)
	s := openAt(t, v.appRole(fields{"token_ttl": "1h"}), nil)
	wantFound(t, s)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if got := len(v.audited("update", "auth/token/revoke-self")); got != 1 {
		t.Errorf("revoked %d times, want once", got)
	}
	if got, _ := readWithin(t, s, time.Second, "alice"); got != (verdict{Failure: "closed"}) {
		t.Errorf("a read after Close: %v", got)
	}
}

func TestWrappedSecretIDServesManyProcesses(t *testing.T) {
	v := startVault(t)
	cfg := v.appRole(fields{"token_ttl": "1h", "secret_id_num_uses": 1})
	cfg.AppRoleSecretID, cfg.AppRoleWrapped = v.wrappedSecretID(), true
	cfg.TokenSinkFile = filepath.Join(t.TempDir(), "token")
	for range 3 {
		s := openAt(t, cfg, nil)
		wantFound(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := v.logins(); got != 1 {
		t.Errorf("%d logins, want 1", got)
	}
	info, err := os.Stat(cfg.TokenSinkFile)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("token_sink_file has mode %04o", got)
	}

	if err := os.Remove(cfg.TokenSinkFile); err != nil {
		t.Fatal(err)
	}
	_, err = readWithin(t, openAt(t, cfg, nil), 5*time.Second, "alice")
	if err == nil || !strings.Contains(err.Error(), "the wrapping token has been used already or has expired") {
		t.Errorf("without the file, a used wrapping token: %v", err)
	}
}

func TestWrappingTokenOfOtherOriginIsRefused(t *testing.T) {
	v := startVault(t)
	cfg := v.appRole(fields{})
	cfg.AppRoleWrapped = true
	for i, path := range []string{"sys/wrapping/wrap", "auth/approle/role/kong/secret-id/lookup"} {
		cfg.AppRoleSecretID = v.wrapped(path, fields{"secret_id": v.secretID()})
		cfg.TokenSinkFile = filepath.Join(t.TempDir(), fmt.Sprint("token", i))
		_, err := readWithin(t, openAt(t, cfg, nil), 5*time.Second, "alice")
		if err == nil || !strings.Contains(err.Error(), "somebody may have replaced it") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if v.logins() != 0 {
		t.Error("it was used to log in")
	}
}

// An operator may choose the secret id. It comes from an endpoint of AppRole too, so
// nobody has replaced it.
func TestWrappedCustomSecretIDIsAppRolesOwn(t *testing.T) {
	v := startVault(t)
	cfg := v.appRole(fields{"token_ttl": "1h"})
	cfg.AppRoleSecretID, cfg.AppRoleWrapped = v.wrapped("auth/approle/role/kong/custom-secret-id", fields{"secret_id": "chosen-by-somebody"}), true
	cfg.TokenSinkFile = filepath.Join(t.TempDir(), "token")
	wantFound(t, openAt(t, cfg, nil))
}

func TestRoleWithoutSecretID(t *testing.T) {
	v := startVault(t)
	cfg := v.appRole(fields{})
	cfg.AppRoleSecretID = ""
	v.do("POST", "auth/approle/role/kong", fields{"bind_secret_id": false, "token_bound_cidrs": "127.0.0.1/32"})
	wantFound(t, openAt(t, cfg, nil))

	v.do("POST", "auth/approle/role/kong", fields{"bind_secret_id": true})
	_, err := readWithin(t, openAt(t, cfg, nil), 5*time.Second, "alice")
	if err == nil || !strings.Contains(err.Error(), "set approle_secret_id or approle_secret_id_file") {
		t.Errorf("a role that asks for a secret id: %v", err)
	}
}

func TestNewSecretIDIsUsedWhenItsFileChanges(t *testing.T) {
	v := startVault(t)
	cfg := v.appRole(fields{"token_ttl": "1h"})
	cfg.AppRoleSecretID, cfg.AppRoleSecretFile = "", filepath.Join(t.TempDir(), "secret-id")
	replaceFile(t, cfg.AppRoleSecretFile, "wrong")
	s := openAt(t, cfg, nil)
	if got, err := readWithin(t, s, 5*time.Second, "alice"); got != (verdict{Failure: "login"}) {
		t.Fatalf("%v: %v", got, err)
	}
	replaceFile(t, cfg.AppRoleSecretFile, v.secretID())
	eventually(t, "a login with the new secret id", func() bool {
		got, _ := readWithin(t, s, time.Second, "alice")
		return got == verdict{Found: "alice"}
	})
}

func TestTokenFileIsFollowed(t *testing.T) {
	v := startVault(t)
	v.put("alice")
	file := filepath.Join(t.TempDir(), "token")
	s := openAt(t, v.config(func(c *Config) { c.Token, c.TokenFile = "", file }), nil)
	got, err := readWithin(t, s, 5*time.Second, "alice")
	if got != (verdict{Failure: "file"}) {
		t.Fatalf("before there is a file: %v, %v", got, err)
	}
	token := v.token(nil)
	replaceFile(t, file, token+"\n")
	eventually(t, "the file is noticed", func() bool {
		got, _ := readWithin(t, s, time.Second, "alice")
		return got == verdict{Found: "alice"}
	})
	replaceFile(t, file, v.token(nil))
	v.do("POST", "auth/token/revoke", fields{"token": token})
	wantFound(t, s)
	if got := len(v.audited("update", "auth/token/revoke-self")); got != 0 {
		t.Error("a token that the store didn't obtain was revoked")
	}
}

func TestGivenTokenIsRenewed(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as some tokens live")
	}
	t.Parallel()
	v := startVault(t)
	v.put("alice")
	token := v.token(fields{"ttl": "3s"})
	s := openAt(t, v.config(func(c *Config) { c.Token = token }), nil)
	eventually(t, "renewals past its first ttl", func() bool { return len(v.audited("update", "auth/token/renew-self")) >= 3 })
	wantFound(t, s)
}

func TestKubernetesLogin(t *testing.T) {
	v := startVault(t)
	v.put("alice")
	var reviewed []string
	kubernetes := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review struct {
			Spec struct {
				Token string `json:"token"`
			} `json:"spec"`
		}
		json.NewDecoder(r.Body).Decode(&review)
		reviewed = append(reviewed, review.Spec.Token)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","status":{"authenticated":true,"audiences":["vault"],
			"user":{"username":"system:serviceaccount:gateway:kong","uid":"1","groups":["system:serviceaccounts"]}}}`)
	}))
	defer kubernetes.Close()
	v.do("POST", "sys/auth/clusters/one", fields{"type": "kubernetes"})
	v.do("POST", "auth/clusters/one/config", fields{
		"kubernetes_host": kubernetes.URL, "token_reviewer_jwt": serviceAccountJWT("vault"), "disable_local_ca_jwt": true, "kubernetes_ca_cert": certificatetest.NewCA().PEM(),
	})
	v.do("POST", "auth/clusters/one/role/kong", fields{
		"bound_service_account_names": "kong", "bound_service_account_namespaces": "gateway", "audience": "vault",
		"token_policies": v.policy("secret/data/kong-auth/*"), "token_ttl": "1h",
	})
	file := filepath.Join(t.TempDir(), "token")
	token := serviceAccountJWT("kong")
	replaceFile(t, file, token)
	os.Chmod(file, 0o644) // as the kubelet writes it
	wantFound(t, openAt(t, v.config(func(c *Config) {
		c.Token, c.AuthMethod, c.KubeRole, c.KubeAuthPath, c.KubeAPITokenFile = "", "kubernetes", "kong", "auth/clusters/one", file
	}), nil))
	if diff := cmp.Diff([]string{token}, reviewed); diff != "" {
		t.Error(diff)
	}
}

func TestJWTLogin(t *testing.T) {
	v := startVault(t)
	sign := v.jwtRole("ci")
	file := filepath.Join(t.TempDir(), "jwt")
	cfg := v.config(func(c *Config) {
		c.Token, c.AuthMethod, c.JWTRole, c.JWTAuthPath, c.JWTTokenFile = "", "jwt", "kong", "ci", file
	})
	replaceFile(t, file, jwt("ES256", fields{"sub": "gateway"}, sign)+"\n")
	wantFound(t, openAt(t, cfg, nil))
	replaceFile(t, file, jwt("ES256", fields{"sub": "somebody else"}, sign))
	if got, err := readWithin(t, openAt(t, cfg, nil), 5*time.Second, "alice"); got != (verdict{Failure: "login"}) {
		t.Errorf("a token for somebody else: %v, %v", got, err)
	}
}

// jwtRole sets up the role kong of the JWT method, for the subject gateway, and
// returns what signs JWTs for it.
func (v *realVault) jwtRole(mount string) (sign func(digest []byte) []byte) {
	v.t.Helper()
	v.put("alice")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		v.t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		v.t.Fatal(err)
	}
	v.do("POST", "sys/auth/"+mount, fields{"type": "jwt"})
	v.do("POST", "auth/"+mount+"/config", fields{"jwt_validation_pubkeys": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))})
	v.do("POST", "auth/"+mount+"/role/kong", fields{
		"role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault", "bound_subject": "gateway",
		"token_policies": v.policy("secret/data/kong-auth/*"), "token_ttl": "1h",
	})
	return func(digest []byte) []byte {
		r, s, err := ecdsa.Sign(rand.Reader, key, digest)
		if err != nil {
			v.t.Error(err)
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
}

// serviceAccountJWT is a token as Kubernetes makes them, except for the signature,
// which only Kubernetes checks.
func serviceAccountJWT(name string) string {
	return jwt("RS256", fields{
		"iss": "https://kubernetes.default.svc", "sub": "system:serviceaccount:gateway:" + name,
		"kubernetes.io": fields{"namespace": "gateway", "serviceaccount": fields{"name": name, "uid": "1"}},
	}, func([]byte) []byte { return []byte("signature") })
}

// jwt makes a token for Vault that is valid for an hour.
func jwt(algorithm string, claims fields, sign func(digest []byte) []byte) string {
	now := time.Now().Unix()
	claims["aud"], claims["iat"], claims["nbf"], claims["exp"] = []string{"vault"}, now, now, now+3600
	header, _ := json.Marshal(fields{"alg": algorithm, "typ": "JWT"})
	body, _ := json.Marshal(claims)
	part := base64.RawURLEncoding.EncodeToString
	signed := part(header) + "." + part(body)
	digest := sha256.Sum256([]byte(signed))
	return signed + "." + part(sign(digest[:]))
}
