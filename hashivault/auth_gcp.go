package hashivault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"cloud.google.com/go/compute/metadata"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

// gcpLogin is the login of both methods, with a JWT from Google.
func (c *checker) gcpLogin(jwt func(context.Context, *conn) (string, error)) *login {
	role := c.required("gcp_auth_role", c.cfg.GCPAuthRole)
	c.nodeIdentity("Google Cloud identity")
	return &login{
		mount:  c.authMount("gcp_login_path", loginMount(c.cfg.GCPLoginPath), "gcp"),
		hint:   "check gcp_auth_role, that its type is that of auth_method (iam or gce), and that it is bound to this service account",
		secret: jwt,
		body:   jwtBody(role),
	}
}

// gcpGCE logs in with the identity token that the metadata service issues.
func (c *checker) gcpGCE() method {
	return c.gcpLogin((&googleInstance{
		issuer: issuer{
			op: "get an identity token of this instance", host: "Google's metadata service",
			hint: "check that this is a Compute Engine instance with a service account (auth_method gcp_iam works elsewhere)",
		},
		audience: "http://vault/" + c.cfg.GCPAuthRole,
		metadata: metadata.NewClient(nil),
	}).jwt)
}

type googleInstance struct {
	issuer
	audience string
	metadata *metadata.Client
}

func (g *googleInstance) jwt(ctx context.Context, _ *conn) (string, error) {
	query := url.Values{"audience": {g.audience}, "format": {"full"}}
	token, err := g.metadata.GetWithContext(ctx, "instance/service-accounts/default/identity?"+query.Encode())
	switch {
	case err != nil:
		return "", g.failure(err)
	case strings.Count(token, ".") != 2:
		return "", g.foreign()
	}
	return strings.TrimSpace(token), nil
}

// gcpIAM logs in with a JWT that Google signs for the service account.
func (c *checker) gcpIAM() method {
	account := c.required("gcp_service_account", c.cfg.GCPServiceAccount)
	if account != "" && !serviceAccount.MatchString(account) {
		c.p.Add("gcp_service_account", "it must be an email address such as kong@project.iam.gserviceaccount.com, or a number")
	}
	if c.cfg.GCPJWTExp == 0 {
		c.p.Add("gcp_jwt_exp", "it is 0 or left out, so the JWT would never be valid: set it to a number of seconds from 1 to 900")
	}
	return c.gcpLogin((&googleSigner{
		issuer: issuer{
			op: "have Google sign a JWT for " + account, host: "iamcredentials.googleapis.com",
			hint:   "give the node's own identity roles/iam.serviceAccountTokenCreator on " + account + ", and enable the API iamcredentials.googleapis.com",
			hidden: []string{c.cfg.Node.GoogleServiceAccount},
		},
		key: c.cfg.Node.GoogleServiceAccount, account: account,
		role: c.cfg.GCPAuthRole, life: time.Duration(c.cfg.GCPJWTExp) * time.Second,
		client: c.cloud, now: time.Now,
	}).jwt)
}

var serviceAccount = regexp.MustCompile(`^[0-9A-Za-z_.:-]+(@[0-9A-Za-z.-]+)?$`)

// googleSigner has Google sign JWTs for a service account. The node's own credentials
// authorize that.
type googleSigner struct {
	issuer
	key     string // of a service account, as JSON; empty: the node's default credentials
	account string // the service account
	role    string // in Vault
	life    time.Duration
	client  *http.Client
	now     func() time.Time
}

const googleScope = "https://www.googleapis.com/auth/cloud-platform"

func (g *googleSigner) jwt(ctx context.Context, _ *conn) (string, error) {
	authority, err := g.authority(context.WithValue(ctx, oauth2.HTTPClient, g.client))
	if err != nil {
		return "", err
	}
	claims, _ := json.Marshal(map[string]any{"sub": g.account, "aud": "vault/" + g.role, "exp": g.now().Add(g.life).Unix()})
	body, _ := json.Marshal(map[string]string{"payload": string(claims)})
	endpoint := "https://" + g.host + "/v1/projects/-/serviceAccounts/" + url.PathEscape(g.account) + ":signJwt"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		return "", g.failure(err)
	}
	req.Header.Set("Content-Type", "application/json")
	authority.SetAuthHeader(req)
	var signed struct {
		JWT string `json:"signedJwt"`
	}
	if err := g.send(g.client, req, &signed); err != nil {
		return "", err
	}
	if signed.JWT == "" {
		return "", g.foreign()
	}
	return signed.JWT, nil
}

// authority is a token of the node's own credentials. They are read at each login, so
// that they can be replaced.
func (g *googleSigner) authority(ctx context.Context) (*oauth2.Token, error) {
	asked := g.issuer
	asked.op, asked.host = "log in to Google Cloud", "Google's token service"
	asked.hint = "give the plugin server's environment GOOGLE_APPLICATION_CREDENTIALS, the name of a key file, or GCP_SERVICE_ACCOUNT, the key itself; or run on Google Cloud with a service account"
	credentials, err := g.credentials(ctx)
	if err != nil {
		return nil, asked.failure(err)
	}
	token, err := credentials.TokenSource.Token()
	if err != nil {
		return nil, asked.failure(err)
	}
	return token, nil
}

func (g *googleSigner) credentials(ctx context.Context) (*google.Credentials, error) {
	if g.key == "" {
		return google.FindDefaultCredentials(ctx, googleScope)
	}
	credentials, err := google.CredentialsFromJSONWithType(ctx, []byte(g.key), google.ServiceAccount, googleScope)
	if err != nil {
		return nil, errors.New("GCP_SERVICE_ACCOUNT holds no key of a service account") // err may quote it
	}
	return credentials, nil
}
