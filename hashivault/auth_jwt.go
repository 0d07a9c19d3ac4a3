package hashivault

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// jwt logs in with a JWT in a file.
func (c *checker) jwt() method {
	role := c.required("jwt_role", c.cfg.JWTRole)
	file := c.required("jwt_token_file", c.cfg.JWTTokenFile)
	return &login{
		mount:  c.authMount("jwt_auth_path", c.cfg.JWTAuthPath, "jwt"),
		hint:   "check jwt_role, and that the token's issuer, audience and claims are those the role is bound to",
		secret: fileSecret("read jwt_token_file", file),
		body:   jwtBody(role),
	}
}

// usesOAuth2 reports whether an identity provider issues the JWT, as in Kong's own
// vault. Otherwise the JWT is in a file.
func (c *Config) usesOAuth2() bool {
	return c.OAuth2RoleName+c.OAuth2Endpoint+c.OAuth2ClientID+c.OAuth2Secret+c.OAuth2Audiences != ""
}

func (c *Config) oauth2Role() string { return cmp.Or(c.OAuth2RoleName, c.JWTRole) }

// oauth2 logs in with a JWT that an identity provider issues.
func (c *checker) oauth2() method {
	if c.cfg.JWTTokenFile != "" {
		c.p.Add("jwt_token_file", "it excludes the oauth2_ fields: the JWT comes from a file or from an identity provider")
	}
	role := c.required("oauth2_role_name", c.cfg.oauth2Role())
	clientID := c.required("oauth2_client_id", strings.TrimSpace(c.cfg.OAuth2ClientID))
	secret := c.required("oauth2_client_secret", strings.TrimSpace(c.cfg.OAuth2Secret))
	endpoint := c.required("oauth2_token_endpoint", c.cfg.OAuth2Endpoint)
	host := c.issuerURL("oauth2_token_endpoint", endpoint, "the client secret")
	if host != "" {
		c.p.Host("oauth2_token_endpoint", host)
	}
	provider := &identityProvider{
		issuer: issuer{
			op: "get a JWT from the identity provider", host: host,
			hint:   "check oauth2_client_id and oauth2_client_secret, and that the client may use the client credentials grant for oauth2_audiences",
			hidden: []string{secret, url.QueryEscape(secret)},
		},
		client: newIssuerClient(c.p.Reach),
		grant: clientcredentials.Config{
			ClientID: clientID, ClientSecret: secret, TokenURL: endpoint,
			EndpointParams: url.Values{"audience": splitList(c.cfg.OAuth2Audiences)},
		},
	}
	return &login{
		mount:  c.authMount("jwt_auth_path", c.cfg.JWTAuthPath, "jwt"),
		hint:   "check oauth2_role_name, and that the JWT's issuer, audience and claims are those the role is bound to; the access tokens of some identity providers are not JWTs",
		secret: provider.jwt,
		body:   jwtBody(role),
	}
}

// splitList splits a list with commas between its items.
func splitList(list string) (items []string) {
	for item := range strings.SplitSeq(list, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// identityProvider issues JWTs by OAuth2's client credentials grant.
type identityProvider struct {
	issuer
	client *http.Client
	grant  clientcredentials.Config
}

func (p *identityProvider) jwt(ctx context.Context, _ *conn) (string, error) {
	token, err := p.grant.Token(context.WithValue(ctx, oauth2.HTTPClient, p.client))
	switch {
	case err != nil:
		return "", p.failure(err)
	case token.AccessToken == "":
		return "", p.foreign()
	}
	return token.AccessToken, nil
}
