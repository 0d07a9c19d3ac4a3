package hashivault

import (
	"cmp"
	"context"
	"strings"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/kubernetes"

	"kong-vault-auth/secretstore"
	"kong-vault-auth/securefile"
)

// login is a method that sends something to an auth method's login endpoint.
type login struct {
	mount  string                                       // below auth/
	hint   string                                       // what to check when Vault refuses the login
	watch  []string                                     // see method.files
	secret func(context.Context, *conn) (string, error) // what to log in with; nil: the TLS certificate
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

// loginPath is the mount of an auth method, without the prefix auth/ that some
// configurations have.
func (c *checker) loginPath(field, value, otherwise string) string {
	return c.cleanPath(field, cmp.Or(strings.TrimPrefix(strings.Trim(value, "/"), "auth/"), otherwise))
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

// loginBody is an api.AuthMethod for methods that have no module in vault/api.
type loginBody struct {
	mount string
	body  map[string]any
}

func (l loginBody) Login(ctx context.Context, client *api.Client) (*api.Secret, error) {
	return client.Logical().WriteWithContext(ctx, "auth/"+l.mount+"/login", l.body)
}

// serviceAccountToken is where Kubernetes mounts a pod's own token.
const serviceAccountToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"

func (c *checker) kubernetes() method {
	role := c.required("kube_role", c.cfg.KubeRole)
	mount := c.loginPath("kube_auth_path", c.cfg.KubeAuthPath, "kubernetes")
	c.nodeIdentity("service account")
	file := cmp.Or(c.cfg.KubeAPITokenFile, serviceAccountToken)
	return &login{
		mount:  mount,
		hint:   "check kube_role, and that the role is bound to this pod's service account and namespace",
		secret: fileSecret("read kube_api_token_file", file),
		with: func(jwt string) (api.AuthMethod, error) {
			return kubernetes.NewKubernetesAuth(role, kubernetes.WithMountPath(mount), kubernetes.WithServiceAccountToken(jwt))
		},
	}
}

func (c *checker) jwt() method {
	role := c.required("jwt_role", c.cfg.JWTRole)
	file := c.required("jwt_token_file", c.cfg.JWTTokenFile)
	mount := c.loginPath("jwt_auth_path", c.cfg.JWTAuthPath, "jwt")
	return &login{
		mount:  mount,
		hint:   "check jwt_role, and that the token's issuer, audience and claims are those the role is bound to",
		secret: fileSecret("read jwt_token_file", file),
		with: func(jwt string) (api.AuthMethod, error) {
			return loginBody{mount, map[string]any{"role": role, "jwt": jwt}}, nil
		},
	}
}

func (c *checker) cert(d dialing) method {
	c.required("cert_auth_cert", c.cfg.CertAuthCert)
	c.required("cert_auth_cert_key", c.cfg.CertAuthCertKey)
	if d.base.Scheme != "https" {
		c.p.Add("protocol", "auth_method cert needs https, because the certificate is shown in the TLS handshake")
	}
	mount, role := c.loginPath("cert_auth_path", c.cfg.CertAuthPath, "cert"), c.cfg.CertAuthRoleName
	return &login{
		mount: mount,
		hint:  "check cert_auth_role_name, and that the client certificate is valid and meets the role's constraints",
		watch: d.clientFiles(),
		with: func(string) (api.AuthMethod, error) {
			body := map[string]any{}
			if role != "" {
				body["name"] = role
			}
			return loginBody{mount, body}, nil
		},
	}
}
