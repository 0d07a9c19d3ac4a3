package hashivault

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"kong-vault-auth/certificatetest"
	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// Opening can't refuse what a definition accepts: everything that is wrong with a
// vaults file or a plugin's configuration is reported before any of it is used.
func TestDefinitionsRefuseWhatOpeningRefuses(t *testing.T) {
	ca := certificatetest.NewCA()
	kong := ca.Issue("kong")
	cert, key, otherCert := kong.PEM(), kong.KeyPEM(), ca.Issue("kong").PEM()
	for _, test := range []struct {
		about string
		edit  func(*Config)
		want  string // the beginning of what is said
	}{
		{"no token", func(c *Config) { c.Token = "" }, "token: it is empty, and auth_method token needs it"},
		{"a token of two lines", func(c *Config) { c.Token = "hvs.a\nhvs.b" }, "token: it holds line breaks"},
		{"a token of two words", func(c *Config) { c.Token = "hvs.a hvs.b" }, "token: it holds white space"},
		{"a blank token", func(c *Config) { c.Token = " " }, "token: it is empty"},
		{"two tokens", func(c *Config) { c.TokenFile = "/f" }, "token: token and token_file"},
		{"a method that Vault has and we don't", func(c *Config) { c.AuthMethod = "ldap" }, "auth_method: "},
		{"no role id", func(c *Config) { appRoleConfig(c); c.AppRoleRoleID = "" }, "approle_role_id: "},
		{"no secret id to unwrap", func(c *Config) {
			appRoleConfig(c)
			c.AppRoleSecretID, c.AppRoleWrapped, c.TokenSinkFile = "", true, "/f"
		}, "approle_secret_id: "},
		{"two secret ids", func(c *Config) { appRoleConfig(c); c.AppRoleSecretFile = "/f" }, "approle_secret_id: "},
		{"a wrapped secret id and nowhere to keep the token", func(c *Config) { appRoleConfig(c); c.AppRoleWrapped = true },
			"approle_response_wrapping: a wrapped secret id can be unwrapped once"},
		{"a sink without a login", func(c *Config) { c.TokenSinkFile = "/f" }, "token_sink_file: "},
		{"no Kubernetes role", func(c *Config) { c.AuthMethod = "kubernetes" }, "kube_role: "},
		{"no JWT role", func(c *Config) { c.AuthMethod, c.JWTTokenFile = "jwt", "/f" }, "jwt_role: "},
		{"no JWT", func(c *Config) { c.AuthMethod, c.JWTRole = "jwt", "kong" }, "jwt_token_file: "},
		{"no client certificate", func(c *Config) { c.AuthMethod, c.Protocol = "cert", "https" }, "cert_auth_cert: "},
		{"a client certificate over plain http", func(c *Config) { c.AuthMethod, c.CertAuthCert, c.CertAuthCertKey = "cert", cert, key }, "protocol: "},
		{"a client certificate without key", func(c *Config) { c.CertAuthCert = cert }, "cert_auth_cert_key: "},
		{"a client key without certificate", func(c *Config) { c.CertAuthCertKey = key }, "cert_auth_cert: "},
		{"a client certificate with another's key", func(c *Config) { c.CertAuthCert, c.CertAuthCertKey = otherCert, key }, "cert_auth_cert: "},
		{"a CA that is not PEM", func(c *Config) { c.CACert = "-----BEGIN CERTIFICATE-----" }, "ca_cert: "},
		{"a mount that climbs", func(c *Config) { c.Mount = "secret/../sys" }, "mount: "},
		{"no mount", func(c *Config) { c.Mount = "/" }, "mount: "},
		{"a path that climbs", func(c *Config) { c.Path = ".." }, "path: "},
		{"a base path that climbs", func(c *Config) { c.BasePath = "vault/../x" }, "base_path: "},
		{"a path with a gap", func(c *Config) { c.Path = "a//b" }, "path: "},
		{"a path with a line end", func(c *Config) { c.Path = "a\nb" }, "path: "},
		{"an auth path that climbs", func(c *Config) { appRoleConfig(c); c.AppRoleAuthPath = "../sys" }, "approle_auth_path: "},
		{"a namespace with a line end", func(c *Config) { c.Namespace = "a\r\nX-Evil: 1" }, "namespace: "},
		{"a namespace of the login with a line end", func(c *Config) { c.AuthNamespace = "a\r\nX-Evil: 1" }, "auth_namespace: "},
		{"a KV version to come", func(c *Config) { c.KV = "v3" }, "kv: "},
		{"a Kubernetes auth path that climbs", func(c *Config) { c.AuthMethod, c.KubeRole, c.KubeAuthPath = "kubernetes", "kong", "a/../b" }, "kube_auth_path: "},
		{"a JWT auth path with a gap", func(c *Config) { c.AuthMethod, c.JWTRole, c.JWTTokenFile, c.JWTAuthPath = "jwt", "kong", "/f", "a//b" }, "jwt_auth_path: "},
		{"a role id of two words", func(c *Config) { appRoleConfig(c); c.AppRoleRoleID = "a b" }, "approle_role_id: "},
		{"a secret id of two words", func(c *Config) { appRoleConfig(c); c.AppRoleSecretID = "a b" }, "approle_secret_id: "},
		{"an API version in the base path", func(c *Config) { c.BasePath = "/vault/v1" }, "base_path: "},
		{"a socket without a folder", func(c *Config) { c.UnixSocket = "agent.sock" }, "unix_socket: "},
		{"a host that is escaped", func(c *Config) { c.Host = "vault%20example" }, "host: "},
		{"a host of a share", func(c *Config) { c.Host = `vault\share` }, "host: "},
		{"half an IPv6 address", func(c *Config) { c.Host = "[::1" + ":::" }, "host: "},
		{"the metadata service", func(c *Config) { c.Host = "169.254.169.254" }, "host: "},
		{"no protocol", func(c *Config) { c.Protocol = "" }, "protocol: "},
		{"no auth method", func(c *Config) { c.AuthMethod = "" }, "auth_method: "},
		{"a URL for a host", func(c *Config) { c.Host = "https://vault.example.com" }, "host: "},
		{"a host with a port", func(c *Config) { c.Host = "vault.example.com:8200" }, "host: "},
		{"a host with a line end", func(c *Config) { c.Host = "vault\n" }, "host: "},
		{"a port out of range", func(c *Config) { c.Port = 70000 }, "port: "},
		{"a protocol that isn't", func(c *Config) { c.Protocol = "ftp" }, "protocol: "},
	} {
		t.Run(test.about, func(t *testing.T) {
			cfg, o := config(test.edit), options(nil)
			_, checked := secretstore.Check(o.Name, &cfg, secretstore.Origin{Node: true})
			_, err := Open(cfg, o)
			if fmt.Sprint(checked) != fmt.Sprint(err) {
				t.Errorf("the definition: %v", checked)
			}
			if !errors.Is(err, secretstore.ErrConfig) || !strings.Contains(err.Error(), ": "+test.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAllProblemsAreReportedAtOnce(t *testing.T) {
	_, err := Open(config(func(c *Config) { c.Token, c.KV, c.Path = "", "v3", "." }), options(nil))
	for _, field := range []string{"token: ", "kv: ", "path: "} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("nothing of %s in %v", field, err)
		}
	}
}

func TestInlineObjectsGetNothingOfTheNode(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	replaceFile(t, file, "contents")
	for field, edit := range map[string]func(*Config){
		"token_file":             func(c *Config) { c.Token, c.TokenFile = "", file },
		"approle_secret_id_file": func(c *Config) { appRoleConfig(c); c.AppRoleSecretID, c.AppRoleSecretFile = "", file },
		"token_sink_file":        func(c *Config) { appRoleConfig(c); c.TokenSinkFile = file },
		"kube_api_token_file":    func(c *Config) { c.AuthMethod, c.KubeRole, c.KubeAPITokenFile = "kubernetes", "kong", file },
		"auth_method":            func(c *Config) { c.AuthMethod, c.KubeRole = "kubernetes", "kong" },
		"jwt_token_file":         func(c *Config) { c.AuthMethod, c.JWTRole, c.JWTTokenFile = "jwt", "kong", file },
		"cert_auth_cert":         func(c *Config) { c.CertAuthCert, c.CertAuthCertKey = file, file },
		"cert_auth_cert_key":     func(c *Config) { c.CertAuthCert, c.CertAuthCertKey = file, file },
		"ca_cert":                func(c *Config) { c.CACert = file },
		"unix_socket":            func(c *Config) { c.UnixSocket = file },
	} {
		o := options(nil)
		o.TrustNode = false
		if _, err := Open(config(edit), o); !errors.Is(err, secretstore.ErrConfig) || !strings.Contains(err.Error(), field+": ") {
			t.Errorf("%s: %v", field, err)
		}
		o.TrustNode = true
		if _, err := checkedSettings(config(edit), o); err != nil {
			t.Errorf("%s on an object of the node's: %v", field, err)
		}
	}
}

// Kong's vaults have no token_sink_file, and Kong documents wrapped secret ids for them.
func TestKongsVaultsUnwrapWithoutASink(t *testing.T) {
	wrapped := config(func(c *Config) { appRoleConfig(c); c.AppRoleWrapped = true })
	for kongs, want := range map[bool]bool{false: false, true: true} {
		o := options(nil)
		o.Kong = kongs
		if _, err := checkedSettings(wrapped, o); (err == nil) != want {
			t.Errorf("of Kong's: %t: %v", kongs, err)
		}
	}
}

// Whatever mount, path and access token are accepted, the URL that is asked for
// is one that no server resolves to another.
func FuzzPathsStayWhereTheyAre(f *testing.F) {
	for _, s := range []string{"secret", "/team/kv/", "a/../b", "..", "%2e%2e", "a b", "a//b", "ä", "a?b#c", ".hidden", "a\x00"} {
		f.Add(s, s, s)
	}
	f.Fuzz(func(t *testing.T, mount, in, name string) {
		s, err := checkedSettings(config(func(c *Config) { c.Mount, c.Path = mount, in }), options(nil))
		if err != nil || credential.CheckAccessToken(name) != nil {
			return
		}
		st := &store{settings: s}
		u := url.URL{Scheme: "http", Host: "vault.test", Path: "/v1/" + st.name(name, kv2).path}
		parsed, err := url.Parse(u.String())
		if err != nil {
			t.Fatal(err)
		}
		if parsed.Path != u.Path || path.Clean(parsed.Path) != u.Path || !strings.HasSuffix(parsed.EscapedPath(), "/"+name) {
			t.Errorf("%q is asked for as %q", u.Path, parsed.EscapedPath())
		}
	})
}
