package hashivault

import (
	"net"
	"strings"

	"kong-vault-auth/secretstore"
)

// Check implements secretstore.Config.
func (c *Config) Check(p *secretstore.Problems) {
	p.NodeFile("token_file", c.TokenFile)
	p.NodeFile("approle_secret_id_file", c.AppRoleSecretFile)
	p.NodeFile("token_sink_file", c.TokenSinkFile)
	p.NodeFile("kube_api_token_file", c.KubeAPITokenFile)
	p.NodeFile("jwt_token_file", c.JWTTokenFile)
	p.NodeFile("unix_socket", c.UnixSocket)
	p.PEM("ca_cert", c.CACert)
	p.PEM("cert_auth_cert", c.CertAuthCert)
	p.PEM("cert_auth_cert_key", c.CertAuthCertKey)
	checkVaultPath(p, "mount", c.Mount)
	checkVaultPath(p, "path", c.Path)
	checkVaultPath(p, "base_path", c.BasePath)
	if base := strings.TrimRight(c.BasePath, "/"); base == "v1" || strings.HasSuffix(base, "/v1") {
		p.Add("base_path", "it ends in v1, which is added by itself; give what comes before that")
	}
	c.checkVaultAddress(p)
	c.checkVaultLogin(p)
}

// checkVaultPath refuses what a server would resolve to another path.
func checkVaultPath(p *secretstore.Problems, field, value string) {
	value = strings.Trim(value, "/")
	if value == "" {
		return
	}
	for segment := range strings.SplitSeq(value, "/") {
		if segment == "" || segment == "." || segment == ".." {
			p.Add(field, "it has an empty segment, or one that is . or ..")
			return
		}
	}
}

func (c *Config) checkVaultAddress(p *secretstore.Problems) {
	if c.UnixSocket != "" {
		if !strings.HasPrefix(c.UnixSocket, "/") {
			p.Add("unix_socket", "it must be an absolute path")
		}
		return
	}
	scheme, rest, isURL := strings.Cut(c.Host, "://")
	if !isURL {
		rest = c.Host
	}
	name, path, _ := strings.Cut(strings.TrimRight(rest, "/"), "/")
	host, port, errPort := net.SplitHostPort(c.Host)
	switch {
	case strings.Contains(c.Host, "@"): // what stands before it may be a password
		p.Add("host", "it must be a host name or an address, and nothing else")
	case isURL && path != "":
		p.Add("host", "it is a URL. Did you mean host %s, protocol %s and base_path /%s?", name, scheme, path)
	case isURL:
		p.Add("host", "it is a URL. Did you mean host %s and protocol %s?", name, scheme)
	case errPort == nil:
		p.Add("host", "it holds a port. Did you mean host %s and port %s?", host, port)
	case path != "":
		p.Add("host", "it holds a path. Did you mean host %s and base_path /%s?", name, path)
	case strings.ContainsAny(c.Host, "/?# "):
		p.Add("host", "it must be a host name or an address, and nothing else")
	}
	p.Host("host", c.Host)
	switch {
	case c.Protocol == "http" && !isLoopback(c.Host):
		p.Warn("protocol", "without TLS, whoever listens on the way learns the Vault token and every secret token; use https")
	case c.Protocol == "https" && !c.SSLVerify:
		p.Warn("ssl_verify", "it is off, so whoever can redirect connections to Vault can let anybody in; give ca_cert instead")
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

func (c *Config) checkVaultLogin(p *secretstore.Problems) {
	switch c.AuthMethod {
	case "token":
		switch {
		case c.Token != "" && c.TokenFile != "":
			p.Add("token", "token and token_file exclude each other")
		case c.TokenFile == "" && c.UnixSocket == "": // a Vault Agent may add a token of its own
			p.Required("token", c.Token, "token")
		}
	case "approle":
		c.checkAppRole(p)
	case "kubernetes":
		if !p.Node {
			p.Add("auth_method", "kubernetes logs in as the node's service account, and %s", secretstore.InsteadOfFile)
		}
		p.Required("kube_role", c.KubeRole, "kubernetes")
	case "cert":
		p.Required("cert_auth_cert", c.CertAuthCert, "cert")
		p.Required("cert_auth_cert_key", c.CertAuthCertKey, "cert")
		if c.Protocol != "https" {
			p.Add("protocol", "auth_method cert needs https, because the certificate is shown in the TLS handshake")
		}
	case "jwt":
		p.Required("jwt_role", c.JWTRole, "jwt")
		p.Required("jwt_token_file", c.JWTTokenFile, "jwt")
	}
}

func (c *Config) checkAppRole(p *secretstore.Problems) {
	p.Required("approle_role_id", c.AppRoleRoleID, "approle")
	switch _, unresolved := p.Refs["approle_secret_id"]; {
	case c.AppRoleSecretID != "" && c.AppRoleSecretFile != "":
		p.Add("approle_secret_id", "approle_secret_id and approle_secret_id_file exclude each other")
	case c.AppRoleSecretID == "" && c.AppRoleSecretFile == "" && c.AppRoleWrapped && !unresolved:
		p.Add("approle_response_wrapping", "it needs approle_secret_id or approle_secret_id_file")
	}
	if c.AppRoleWrapped && c.TokenSinkFile == "" {
		p.Add("approle_response_wrapping", "a wrapped secret id can be unwrapped once, and Kong starts a new plugin server at every reload. "+
			"Set token_sink_file, which keeps the Vault token between them, on a vault object that the node defines")
	}
}
