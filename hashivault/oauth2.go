package hashivault

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/hashicorp/vault/api"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// usesOAuth2 tells Kong's form of the method jwt, in which an identity provider
// issues the JWT, from that with a file.
func (c *Config) usesOAuth2() bool {
	return c.OAuth2RoleName+c.OAuth2Endpoint+c.OAuth2ClientID+c.OAuth2Secret+c.OAuth2Audiences != ""
}

func (c *Config) oauth2Role() string { return cmp.Or(c.OAuth2RoleName, c.JWTRole) }

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
	mount := c.loginPath("jwt_auth_path", c.cfg.JWTAuthPath, "jwt")
	provider := &identityProvider{
		issuer: issuer{
			op: "get a JWT from the identity provider", host: host,
			hint:   "check oauth2_client_id and oauth2_client_secret, and that the client may use the client credentials grant for oauth2_audiences",
			hidden: []string{secret, url.QueryEscape(secret)},
		},
		client: newIssuerClient(c.p.Reach),
		grant: clientcredentials.Config{
			ClientID: clientID, ClientSecret: secret, TokenURL: endpoint,
			EndpointParams: url.Values{"audience": listed(c.cfg.OAuth2Audiences)},
		},
	}
	return &login{
		mount:  mount,
		hint:   "check oauth2_role_name, and that the JWT's issuer, audience and claims are those the role is bound to; an identity provider may also issue access tokens that are no JWTs",
		secret: provider.jwt,
		with: func(jwt string) (api.AuthMethod, error) {
			return loginBody{mount, map[string]any{"role": role, "jwt": jwt}}, nil
		},
	}
}

// listed is a list that is written with commas in between.
func listed(list string) (items []string) {
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
		return "", p.odd()
	}
	return token.AccessToken, nil
}
