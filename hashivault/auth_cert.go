package hashivault

// cert logs in with the client certificate of the connection, which the TLS handshake
// shows.
func (c *checker) cert(d dialing) method {
	c.required("cert_auth_cert", c.cfg.CertAuthCert)
	c.required("cert_auth_cert_key", c.cfg.CertAuthCertKey)
	if d.base.Scheme != "https" {
		c.p.Add("protocol", "auth_method cert needs https, because the certificate is shown in the TLS handshake")
	}
	return &login{
		mount: c.authMount("cert_auth_path", c.cfg.CertAuthPath, "cert"),
		hint:  "check cert_auth_role_name, and that the client certificate is valid and meets the role's constraints",
		watch: d.clientFiles(),
		body: func(string) map[string]any {
			body := map[string]any{}
			if role := c.cfg.CertAuthRoleName; role != "" {
				body["name"] = role
			}
			return body
		},
	}
}
