package akvsim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// App is an application of the tenant, or a managed identity in it.
type App struct {
	ClientID      string
	ObjectID      string            // of its service principal, which the vault's 403s name
	Secret        string            // its client secret; empty: none
	SecretExpired bool              // Secret has expired
	Certificate   *x509.Certificate // its key (RSA) may sign assertions; nil: none
	Federated     string            // the federated token that is accepted for it; empty: none

	SystemAssigned bool // IMDS and App Service issue its tokens if a request names no identity
	UserAssigned   bool // IMDS and App Service issue its tokens if a request has its client id

	May  Permission // what it may do in the vault
	Deny []string   // lower-case names of secrets for which May doesn't apply
}

// Permission says what an application may do in the vault.
type Permission int

// The permissions.
const (
	Get  Permission = 1 << iota // read secrets
	List                        // list secrets and their versions
	Set                         // everything else
)

// AddApp adds an application, or replaces the one with that client id.
func (s *Sim) AddApp(a App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apps[a.ClientID] = a
}

// RevokeTokens makes the vault refuse all tokens issued so far. With
// claimsChallenge its answers demand, as continuous access evaluation does, tokens
// that satisfy certain claims; otherwise they only say that the token is invalid.
func (s *Sim) RevokeTokens(claimsChallenge bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
	s.claims = claimsChallenge
}

type token struct {
	clientID string
	audience string
	expires  time.Time
}

// serveEntra answers for https://login.microsoftonline.com and the hosts like it in
// other clouds.
func (s *Sim) serveEntra(w http.ResponseWriter, r *http.Request, c simulatedCloud, logged *Request) {
	if s.fault(Entra, true, w, r) {
		return
	}
	tenant, endpoint, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	base := "https://" + c.login + "/" + tenant
	switch {
	case r.URL.Path == "/common/discovery/instance":
		writeJSON(w, http.StatusOK, map[string]any{
			"tenant_discovery_endpoint": "https://" + c.login + "/" + Tenant + "/v2.0/.well-known/openid-configuration",
			"metadata":                  []any{map[string]any{"preferred_network": c.login, "preferred_cache": c.login, "aliases": []string{c.login}}},
		})
	case tenant != Tenant:
		writeJSON(w, http.StatusBadRequest, entraError("invalid_tenant", 90002, fmt.Sprintf(
			"Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant.", tenant)))
	case endpoint == "v2.0/.well-known/openid-configuration":
		writeJSON(w, http.StatusOK, map[string]any{
			"issuer":                 base + "/v2.0",
			"authorization_endpoint": base + "/oauth2/v2.0/authorize",
			"token_endpoint":         base + "/oauth2/v2.0/token",
			"jwks_uri":               base + "/discovery/v2.0/keys",
		})
	case endpoint == "oauth2/v2.0/token":
		s.serveToken(w, r, logged)
	default:
		http.NotFound(w, r)
	}
}

// serveToken is OAuth's client credentials grant.
func (s *Sim) serveToken(w http.ResponseWriter, r *http.Request, logged *Request) {
	id, assertion := r.PostFormValue("client_id"), r.PostFormValue("client_assertion")
	s.identify(logged, id)
	s.mu.Lock()
	app, known := s.apps[id]
	s.mu.Unlock()
	refuse := func(status int, code string, number int, message string) {
		writeJSON(w, status, entraError(code, number, message))
	}
	switch {
	case r.PostFormValue("grant_type") != "client_credentials":
		refuse(http.StatusBadRequest, "unsupported_grant_type", 70003, "The app requested an unsupported grant type.")
	case !known:
		refuse(http.StatusBadRequest, "unauthorized_client", 700016, "Application with identifier '"+id+"' was not found in the directory 'Contoso'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant.")
	case assertion != "" && assertion == app.Federated:
		s.grant(w, id, r.PostFormValue("scope"))
	case assertion != "" && app.Certificate != nil:
		if err := verifyAssertion(assertion, id, app.Certificate); err != nil {
			refuse(http.StatusUnauthorized, "invalid_client", 700027, "The certificate with identifier used to sign the client assertion is not registered on application. "+err.Error()+".")
			return
		}
		s.grant(w, id, r.PostFormValue("scope"))
	case assertion != "":
		refuse(http.StatusUnauthorized, "invalid_client", 700213, "No matching federated identity record found for presented assertion subject 'system:serviceaccount:kong:kong'. Check your federated identity credential Subject, Audience and Issuer against the presented assertion.")
	case app.Secret == "" || r.PostFormValue("client_secret") != app.Secret:
		refuse(http.StatusUnauthorized, "invalid_client", 7000215, "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '"+id+"'.")
	case app.SecretExpired:
		refuse(http.StatusUnauthorized, "invalid_client", 7000222, "The provided client secret keys for app '"+id+"' are expired. Visit the Azure portal to create new keys for your app.")
	default:
		s.grant(w, id, r.PostFormValue("scope"))
	}
}

func (s *Sim) grant(w http.ResponseWriter, clientID, scope string) {
	audience, _, _ := strings.Cut(scope, "/.default")
	seconds := int(s.options.TokenLifetime / time.Second)
	writeJSON(w, http.StatusOK, map[string]any{
		"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds,
		"access_token": s.issue(clientID, audience),
	})
}

// issue makes an access token, a JWT of PublicKey's. (The vault knows the tokens that
// were issued, and Microsoft signs with RS256.)
func (s *Sim) issue(clientID, audience string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	expires := now.Add(s.options.TokenLifetime)
	claims := mustJSON(map[string]any{
		"aud": audience, "iss": "https://sts.windows.net/" + Tenant + "/", "tid": Tenant,
		"appid": clientID, "oid": s.apps[clientID].ObjectID, "iat": now.Unix(), "nbf": now.Unix(), "exp": expires.Unix(),
	})
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64([]byte(`{"typ":"JWT","alg":"ES256"}`)) + "." + b64([]byte(claims))
	digest := sha256.Sum256([]byte(text))
	x, y, err := ecdsa.Sign(rand.Reader, s.signing, digest[:])
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	text += "." + b64(append(x.FillBytes(make([]byte, 32)), y.FillBytes(make([]byte, 32))...))
	s.tokens[text] = token{clientID, audience, expires}
	return text
}

// PublicKey is the key by which others than the vault know that Entra ID has issued an
// access token, as PEM.
func (s *Sim) PublicKey() string {
	der, err := x509.MarshalPKIXPublicKey(s.signing.Public())
	if err != nil {
		panic(err) // of a key just made
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func entraError(code string, number int, message string) any {
	now := time.Now().UTC().Format("2006-01-02 15:04:05Z")
	const trace = "33333333-3333-3333-3333-333333333333"
	return map[string]any{
		"error": code, "error_codes": []int{number}, "timestamp": now, "trace_id": trace, "correlation_id": trace,
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s", number, message, trace, trace, now),
	}
}

// verifyAssertion checks a JWT by which an application proves that it has the
// key of its certificate.
func verifyAssertion(assertion, clientID string, cert *x509.Certificate) error {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return fmt.Errorf("it is no JWT")
	}
	var header struct{ Alg string }
	var claims struct {
		Iss, Sub string
		Aud      audiences
		Exp      int64
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return err
	}
	for i, v := range []any{&header, &claims} {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, v); err != nil {
			return err
		}
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	key, _ := cert.PublicKey.(*rsa.PublicKey)
	switch {
	case key == nil:
		return fmt.Errorf("the certificate's key is not RSA")
	case claims.Iss != clientID || claims.Sub != clientID:
		return fmt.Errorf("its issuer or subject is another application")
	case !slices.ContainsFunc(claims.Aud, func(a string) bool { return strings.Contains(a, Tenant) }):
		return fmt.Errorf("its audience is not this tenant")
	case time.Unix(claims.Exp, 0).Before(time.Now()):
		return fmt.Errorf("it has expired")
	case header.Alg == "PS256":
		return rsa.VerifyPSS(key, crypto.SHA256, digest[:], signature, nil)
	case header.Alg == "RS256":
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature)
	}
	return fmt.Errorf("its algorithm is %q", header.Alg)
}

// audiences is a JWT's aud: a string or a list of them.
type audiences []string

func (a *audiences) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audiences{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}
