package hashivault

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/secretstore"
)

// idp is an identity provider's token endpoint. It accepts one client.
type idp struct {
	t      *testing.T
	jwt    func() string // what it issues
	grants chan map[string][]string
}

func (i *idp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.ParseForm()
	id, secret, _ := r.BasicAuth()
	if id == "" { // the other way that RFC 6749 has
		id, secret = r.Form.Get("client_id"), r.Form.Get("client_secret")
	}
	if r.Method != http.MethodPost || id != "gateway" || secret != "idp s3cret" {
		canned(401, `{"error":"invalid_client","error_description":"`+id+` may not use `+secret+`"}`)(w, r)
		return
	}
	i.grants <- map[string][]string{"grant_type": r.PostForm["grant_type"], "audience": r.PostForm["audience"]}
	canned(200, `{"token_type":"Bearer","expires_in":60,"access_token":"`+i.jwt()+`"}`)(w, r)
}

func TestOAuth2Login(t *testing.T) {
	v := startVault(t)
	sign := v.jwtRole("ci")
	subject := "gateway"
	provider := &idp{t, func() string { return jwt("ES256", fields{"sub": subject}, sign) }, make(chan map[string][]string, 10)}
	server := httptest.NewServer(provider)
	defer server.Close()
	cfg := v.config(func(c *Config) {
		c.Token, c.AuthMethod, c.JWTAuthPath = "", "jwt", "ci"
		c.OAuth2RoleName, c.OAuth2Endpoint, c.OAuth2ClientID, c.OAuth2Secret = "kong", server.URL, "gateway", "idp s3cret"
		c.OAuth2Audiences = "vault, other"
	})
	s := openAt(t, cfg, nil)
	wantFound(t, s)
	grant := map[string][]string{"grant_type": {"client_credentials"}, "audience": {"vault", "other"}}
	if diff := cmp.Diff(grant, <-provider.grants); diff != "" {
		t.Error(diff)
	}
	v.revokeLoginsAt("ci")
	wantFound(t, s) // with another JWT
	if len(provider.grants) != 1 {
		t.Errorf("%d more grants, want 1", len(provider.grants))
	}

	subject = "somebody else"
	wantRefused(t, openAt(t, cfg, nil), secretstore.Failure{Op: "log in at auth/ci", Reason: "login", LoginRefused: true}, "eyJ")
	cfg.OAuth2Secret = "not the s3cret"
	wantRefused(t, openAt(t, cfg, nil), secretstore.Failure{Op: "get a JWT from the identity provider", Reason: "login", LoginRefused: true},
		"not the s3cret", "not+the+s3cret")
}

// Kong's interface names the role jwt_role, its documentation oauth2_role_name.
func TestOAuth2RoleMayBeNamedJWTRole(t *testing.T) {
	v, logins := vaultWithLogin("auth/jwt/login", 3600)
	server := httptest.NewServer(&idp{t, func() string { return "a.b.c" }, make(chan map[string][]string, 10)})
	defer server.Close()
	wantFound(t, openOn(t, config(func(c *Config) {
		c.Token, c.AuthMethod, c.JWTRole = "", "jwt", "kong"
		c.OAuth2Endpoint, c.OAuth2ClientID, c.OAuth2Secret = server.URL, "gateway", "idp s3cret"
	}), nil, v))
	wantLogin(t, logins, fields{"role": "kong", "jwt": "a.b.c"})
}

// A redirect of the token endpoint would take the client secret to another host.
func TestClientSecretIsNotRedirected(t *testing.T) {
	v, _ := vaultWithLogin("auth/jwt/login", 3600)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	wantRefused(t, openOn(t, config(func(c *Config) {
		c.Token, c.AuthMethod = "", "jwt"
		c.OAuth2RoleName, c.OAuth2Endpoint, c.OAuth2ClientID, c.OAuth2Secret = "kong", server.URL, "gateway", "idp s3cret"
	}), nil, v), secretstore.Failure{Op: "get a JWT from the identity provider", Reason: "unexpected"})
}
