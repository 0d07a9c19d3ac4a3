package hashivault

import (
	"cmp"
	"context"
	"strings"

	"github.com/hashicorp/vault/api"

	"kong-vault-auth/secretstore"
	"kong-vault-auth/securefile"
)

// method is one way to get a Vault token. Only the goroutine of sessions calls
// obtain.
type method interface {
	// obtain returns a token. An error is a *secretstore.Failure. filesChanged says
	// that one of the files has changed, so a token from before must not be reused.
	obtain(ctx context.Context, c *conn, filesChanged bool) (grant, error)
	// another reports whether obtain may return another token than used, which
	// Vault has refused. It is safe for concurrent use and does no network I/O.
	another(used string) bool
	// files are the files to watch: when one changes, obtain is called again.
	files() []string
	// remedy says what to do when Vault refuses a token.
	remedy() string
}

// grant is a Vault token and what is known about it.
type grant struct {
	token   string
	auth    *api.SecretAuth // nil: its ttl is not known yet
	revoke  bool            // nobody else uses it: revoke it when it is no longer needed
	warning error           // a problem that doesn't prevent its use, for the log
}

// method checks the fields of the chosen auth method.
func (c *checker) method(d dialing) method {
	c.p.NodeFile("token_file", c.cfg.TokenFile)
	c.p.NodeFile("approle_secret_id_file", c.cfg.AppRoleSecretFile)
	c.p.NodeFile("token_sink_file", c.cfg.TokenSinkFile)
	c.p.NodeFile("kube_api_token_file", c.cfg.KubeAPITokenFile)
	c.p.NodeFile("jwt_token_file", c.cfg.JWTTokenFile)
	if c.cfg.TokenSinkFile != "" && c.cfg.AuthMethod == "token" {
		c.p.Add("token_sink_file", "it keeps the token of a login, and the auth method token has none")
	}
	var m method
	switch c.cfg.AuthMethod {
	case "token":
		return c.token(d)
	case "approle":
		m = c.appRole()
	case "kubernetes":
		m = c.kubernetes()
	case "cert":
		m = c.cert(d)
	case "jwt":
		if c.cfg.usesOAuth2() {
			m = c.oauth2()
		} else {
			m = c.jwt()
		}
	case "azure":
		m = c.azure()
	case "gcp_iam":
		m = c.gcpIAM()
	case "gcp_gce":
		m = c.gcpGCE()
	case "aws_iam":
		m = c.awsIAM()
	case "aws_ec2":
		m = c.awsEC2()
	default: // the check of the field's tag refuses it
		return nil
	}
	if c.cfg.TokenSinkFile != "" {
		m = &tokenSink{inner: m, file: c.cfg.TokenSinkFile}
	}
	return m
}

// login is a method that posts something to an auth method's login endpoint.
type login struct {
	mount  string                                       // below auth/
	hint   string                                       // what to check when Vault refuses the login
	watch  []string                                     // see method.files
	secret func(context.Context, *conn) (string, error) // what to log in with; nil: the body needs no secret
	body   func(secret string) map[string]any
}

func (l *login) another(string) bool { return true }

func (l *login) files() []string { return l.watch }

func (l *login) remedy() string { return l.hint }

func (l *login) obtain(ctx context.Context, c *conn, _ bool) (grant, error) {
	op := "log in at auth/" + l.mount
	var secret string
	if l.secret != nil {
		var err error
		if secret, err = l.secret(ctx, c); err != nil {
			return grant{}, err
		}
	}
	reply, err := c.api.Logical().WriteWithContext(ctx, "auth/"+l.mount+"/login", l.body(secret))
	if err != nil {
		return grant{}, loginFailure(op, l, err, secret)
	}
	switch {
	case reply != nil && reply.Auth != nil && reply.Auth.MFARequirement != nil:
		return grant{}, &secretstore.Failure{Op: op, Reason: "login", Err: errMFA, Remedy: "take the auth method out of the MFA enforcement", LoginRefused: true}
	case reply == nil || reply.Auth == nil || reply.Auth.ClientToken == "":
		return grant{}, &secretstore.Failure{Op: op, Reason: "unexpected", Err: errNotVault, Remedy: remedyNotVault}
	}
	return grant{token: reply.Auth.ClientToken, auth: reply.Auth, revoke: true}, nil
}

// jwtBody is the body of logins with a role and a JWT.
func jwtBody(role string) func(jwt string) map[string]any {
	return func(jwt string) map[string]any { return map[string]any{"role": role, "jwt": jwt} }
}

// fileSecret reads a file again at each login, since another program renews it: a
// service account's token, for example.
func fileSecret(op, file string) func(context.Context, *conn) (string, error) {
	return func(context.Context, *conn) (string, error) {
		s, err := readSecret(file, securefile.Anybody)
		if err != nil {
			return "", fileFailure(op, err)
		}
		return s, nil
	}
}

// authMount checks the setting that names the mount of an auth method. It accepts the
// prefix auth/, which some configurations have.
func (c *checker) authMount(field, value, otherwise string) string {
	return c.cleanPath(field, cmp.Or(strings.TrimPrefix(strings.Trim(value, "/"), "auth/"), otherwise))
}

// loginMount is the mount in the path of an auth method's login, as Kong writes it:
// /v1/auth/aws/login. The mount alone is accepted too.
func loginMount(path string) string {
	mount := strings.TrimPrefix(strings.TrimPrefix(strings.Trim(path, "/"), "v1/"), "auth/")
	return strings.TrimSuffix(mount, "/login")
}

// required checks a field that the auth method needs.
func (c *checker) required(field, value string) string {
	c.p.Required(field, value, c.cfg.AuthMethod)
	return value
}

// secret is a token or id in the configuration.
func (c *checker) secret(field, value string) string {
	value = strings.TrimSpace(value)
	if !isPrintable(value) {
		c.p.Add(field, "it holds white space or unprintable characters")
	}
	return value
}

// nodeIdentity checks that the object may log in with the identity that the platform
// gives this node. The login is sent to the host that the object names, so only
// objects that the node defines may do that.
func (c *checker) nodeIdentity(identity string) {
	switch {
	case !c.p.Origin.Node:
		c.p.Add("auth_method", "%s logs in as the node's %s, and %s", c.cfg.AuthMethod, identity, secretstore.InsteadOfFile)
	case c.p.KeepIdentities:
		c.p.Add("auth_method", "%s logs in as the node's %s, and VAULT_AUTH_INLINE_IDENTITIES=off "+
			"keeps those to objects that the node defines: name one of them in config.vault", c.cfg.AuthMethod, identity)
	}
}

// nodeEnvironment is what the environment of the node says about its identities, where
// the libraries don't read it themselves.
type nodeEnvironment struct {
	AzureTenant, AzureClient    string
	AzureSecret, AzureTokenFile string
	AzureEndpoint               string // of managed identities, if it isn't that of virtual machines
	GoogleServiceAccount        string // a key, as Kong's own gcp vault takes it
}

func readNodeEnvironment(getenv func(string) string) nodeEnvironment {
	return nodeEnvironment{
		AzureTenant: getenv("AZURE_TENANT_ID"), AzureClient: getenv("AZURE_CLIENT_ID"),
		AzureSecret: getenv("AZURE_CLIENT_SECRET"), AzureTokenFile: getenv("AZURE_FEDERATED_TOKEN_FILE"),
		AzureEndpoint:        getenv("IDENTITY_ENDPOINT") + getenv("MSI_ENDPOINT"),
		GoogleServiceAccount: getenv("GCP_SERVICE_ACCOUNT"),
	}
}
