package hashivault

import (
	"cmp"
	"context"
	"strings"

	"github.com/hashicorp/vault/api"

	"kong-vault-auth/secretstore"
	"kong-vault-auth/securefile"
)

// method is one way to come by a Vault token. Only the goroutine of sessions
// calls obtain.
type method interface {
	// obtain returns a token. An error is a *secretstore.Failure. With afresh, one of
	// the files has changed, so a token kept from before doesn't do.
	obtain(ctx context.Context, c *conn, afresh bool) (grant, error)
	// another reports whether obtain may return another token than used, which
	// Vault has refused. It is safe for concurrent use and does no network I/O.
	another(used string) bool
	// files are those whose change calls for another obtain.
	files() []string
	// remedy says what to do about a token that Vault refuses.
	remedy() string
}

// grant is a Vault token and what is known of it.
type grant struct {
	token  string
	auth   *api.SecretAuth // nil: Vault has yet to be asked for its life
	revoke bool            // it is ours alone: revoke it when it is done with
	caveat error           // what went wrong beside, for the log
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
		m = c.jwt()
	default: // the field's tag has it refused
		return nil
	}
	if c.cfg.TokenSinkFile != "" {
		m = &sunk{inner: m, file: c.cfg.TokenSinkFile}
	}
	return m
}

// required is a field that the auth method needs.
func (c *checker) required(field, value string) string {
	c.p.Required(field, value, c.cfg.AuthMethod)
	return value
}

// secret is a token or id as it stands in the configuration.
func (c *checker) secret(field, value string) string {
	value = strings.TrimSpace(value)
	if !isPrintable(value) {
		c.p.Add(field, "it holds white space or unprintable characters")
	}
	return value
}

// login is a method that sends something to an auth method's login endpoint.
type login struct {
	mount  string                                       // below auth/
	hint   string                                       // what to check when Vault refuses it
	watch  []string                                     // see method.files
	secret func(context.Context, *conn) (string, error) // what proves who we are; nil: the connection does
	with   func(secret string) (api.AuthMethod, error)
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
	m, err := l.with(secret)
	if err != nil {
		return grant{}, &secretstore.Failure{Op: op, Reason: "login", Remedy: l.hint, Err: err}
	}
	// Not client.Auth().Login, which would leave the token in the client.
	reply, err := m.Login(ctx, c.api)
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

// loginPath is the mount of an auth method, without the auth/ that some
// configurations put before it.
func (c *checker) loginPath(field, value, otherwise string) string {
	return c.cleanPath(field, cmp.Or(strings.TrimPrefix(strings.Trim(value, "/"), "auth/"), otherwise))
}

// fileSecret reads what somebody else renews, a service account's token say,
// anew at each login.
func fileSecret(op, file string) func(context.Context, *conn) (string, error) {
	return func(context.Context, *conn) (string, error) {
		s, err := readSecret(file, securefile.Anybody)
		if err != nil {
			return "", fileFailure(op, err)
		}
		return s, nil
	}
}

// loginBody is an api.AuthMethod for the methods that vault/api has no module of.
type loginBody struct {
	mount string
	body  map[string]any
}

func (l loginBody) Login(ctx context.Context, client *api.Client) (*api.Secret, error) {
	return client.Logical().WriteWithContext(ctx, "auth/"+l.mount+"/login", l.body)
}
