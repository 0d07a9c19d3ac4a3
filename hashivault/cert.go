package hashivault

import (
	"github.com/hashicorp/vault/api"
)

func (c *checker) cert(d dialing) method {
	if d.clientCert.empty() {
		c.refuse("cert_auth_cert", "the auth method cert needs it, and cert_auth_cert_key")
	}
	if d.base.Scheme != "https" {
		c.refuse("protocol", "the auth method cert needs https: the certificate is shown in the TLS handshake")
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
