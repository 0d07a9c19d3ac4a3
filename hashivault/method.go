package hashivault

import (
	"context"
	"strings"

	"github.com/hashicorp/vault/api"
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
