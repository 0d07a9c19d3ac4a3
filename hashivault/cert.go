package hashivault

import (
	"github.com/hashicorp/vault/api"
)

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
