package vault

import (
	"net"
	"strings"

	"kong-vault-auth/secretstore"
)

func (p *problems) checkHCV(c *HCV) {
	p.nodeFile("token_file", c.TokenFile)
	p.nodeFile("approle_secret_id_file", c.AppRoleSecretFile)
	p.nodeFile("token_sink_file", c.TokenSinkFile)
	p.nodeFile("kube_api_token_file", c.KubeAPITokenFile)
	p.nodeFile("jwt_token_file", c.JWTTokenFile)
	p.nodeFile("unix_socket", c.UnixSocket)
	p.pem("ca_cert", c.CACert)
	p.pem("cert_auth_cert", c.CertAuthCert)
	p.pem("cert_auth_cert_key", c.CertAuthCertKey)
	p.checkVaultPath("mount", c.Mount)
	p.checkVaultPath("path", c.Path)
	p.checkVaultPath("base_path", c.BasePath)
	if base := strings.TrimRight(c.BasePath, "/"); base == "v1" || strings.HasSuffix(base, "/v1") {
		p.add("base_path", "it ends in v1, which is added by itself; give what comes before that")
	}
	p.checkVaultAddress(c)
	p.checkVaultLogin(c)
}

// checkVaultPath refuses what a server would resolve to another path.
func (p *problems) checkVaultPath(field, value string) {
	value = strings.Trim(value, "/")
	if value == "" {
		return
	}
	for segment := range strings.SplitSeq(value, "/") {
		if segment == "" || segment == "." || segment == ".." {
			p.add(field, "it has an empty segment, or one that is . or ..")
			return
		}
	}
}

func (p *problems) checkVaultAddress(c *HCV) {
	if c.UnixSocket != "" {
		if !strings.HasPrefix(c.UnixSocket, "/") {
			p.add("unix_socket", "it must be an absolute path")
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
		p.add("host", "it must be a host name or an address, and nothing else")
	case isURL && path != "":
		p.add("host", "it is a URL. Did you mean host %s, protocol %s and base_path /%s?", name, scheme, path)
	case isURL:
		p.add("host", "it is a URL. Did you mean host %s and protocol %s?", name, scheme)
	case errPort == nil:
		p.add("host", "it holds a port. Did you mean host %s and port %s?", host, port)
	case path != "":
		p.add("host", "it holds a path. Did you mean host %s and base_path /%s?", name, path)
	case strings.ContainsAny(c.Host, "/?# "):
		p.add("host", "it must be a host name or an address, and nothing else")
	}
	if err := (secretstore.Reach{}).Host(c.Host); err != nil {
		p.add("host", "%v", err)
	}
	switch {
	case c.Protocol == "http" && !isLoopback(c.Host):
		p.warn("protocol", "without TLS, whoever listens on the way learns the Vault token and every secret token; use https")
	case c.Protocol == "https" && !c.SSLVerify:
		p.warn("ssl_verify", "it is off, so whoever can redirect connections to Vault can let anybody in; give ca_cert instead")
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

func (p *problems) checkVaultLogin(c *HCV) {
	switch c.AuthMethod {
	case "token":
		switch {
		case c.Token != "" && c.TokenFile != "":
			p.add("token", "token and token_file exclude each other")
		case c.TokenFile == "" && c.UnixSocket == "": // a Vault Agent may add a token of its own
			p.required("token", c.Token, "token")
		}
	case "approle":
		p.checkAppRole(c)
	case "kubernetes":
		if !p.Node {
			p.add("auth_method", "kubernetes logs in as the node's service account, and %s", insteadOfFile)
		}
		p.required("kube_role", c.KubeRole, "kubernetes")
	case "cert":
		p.required("cert_auth_cert", c.CertAuthCert, "cert")
		p.required("cert_auth_cert_key", c.CertAuthCertKey, "cert")
		if c.Protocol != "https" {
			p.add("protocol", "auth_method cert needs https, because the certificate is shown in the TLS handshake")
		}
	case "jwt":
		p.required("jwt_role", c.JWTRole, "jwt")
		p.required("jwt_token_file", c.JWTTokenFile, "jwt")
	}
}

func (p *problems) checkAppRole(c *HCV) {
	p.required("approle_role_id", c.AppRoleRoleID, "approle")
	switch _, unresolved := p.Refs["approle_secret_id"]; {
	case c.AppRoleSecretID != "" && c.AppRoleSecretFile != "":
		p.add("approle_secret_id", "approle_secret_id and approle_secret_id_file exclude each other")
	case c.AppRoleSecretID == "" && c.AppRoleSecretFile == "" && c.AppRoleWrapped && !unresolved:
		p.add("approle_response_wrapping", "it needs approle_secret_id or approle_secret_id_file")
	}
	if c.AppRoleWrapped && c.TokenSinkFile == "" {
		p.add("approle_response_wrapping", "a wrapped secret id can be unwrapped once, and Kong starts a new plugin server at every reload. "+
			"Set token_sink_file, which keeps the Vault token between them, on a vault object that the node defines")
	}
}
