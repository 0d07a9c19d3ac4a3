package e2e

import (
	"crypto/rand"
	"maps"
	"os"
	"strings"
	"time"

	"kong-vault-auth/certificatetest"
	"kong-vault-auth/e2e/issuers"
)

// role is a role whose logins get the plugin's policy.
func (a *authEnv) role(more object) object {
	fields := object{"token_policies": a.policy, "token_ttl": "1h"}
	maps.Copy(fields, more)
	return fields
}

// enable enables an auth method at a mount of this test's own.
func (a *authEnv) enable(kind string) (mount string) {
	a.Helper()
	mount = "teams/" + kind + "-" + strings.ToLower(rand.Text())
	a.must(a.vault.EnableAuth(a.Context(), mount, kind))
	return mount
}

// appRole prepares a login with AppRole. Its settings lack the secret id.
func (a *authEnv) appRole(role object) (mount string, settings object) {
	a.Helper()
	mount = a.enable("approle")
	a.write("auth/"+mount+"/role/kong", a.role(role))
	secret, err := a.vault.Read(a.Context(), "auth/"+mount+"/role/kong/role-id")
	a.must(err)
	return mount, object{"auth_method": "approle", "approle_auth_path": mount, "approle_role_id": secret.Data["role_id"]}
}

func (a *authEnv) secretID(mount string) string {
	a.Helper()
	secret, err := a.vault.Write(a.Context(), "auth/"+mount+"/role/kong/secret-id", nil)
	a.must(err)
	id := secret.Data["secret_id"].(string)
	a.hidden = append(a.hidden, id)
	return id
}

func (a *authEnv) wrappedSecretID(mount string) (wrappingToken string) {
	a.Helper()
	wrappingToken, err := a.vault.WriteWrapped(a.Context(), "auth/"+mount+"/role/kong/secret-id", nil, time.Minute)
	a.must(err)
	a.hidden = append(a.hidden, wrappingToken)
	return wrappingToken
}

// withSecretID prepares a login with AppRole, for tests that aren't about AppRole.
func (a *authEnv) withSecretID(role object) (mount string, settings object) {
	a.Helper()
	mount, settings = a.appRole(role)
	settings["approle_secret_id"] = a.secretID(mount)
	return mount, settings
}

// kubernetes prepares a login as the service account kong in gateway. A stand-in for the
// cluster's API tells Vault whether a token is genuine.
func (a *authEnv) kubernetes() (mount string, settings object) {
	a.Helper()
	key := issuers.NewKey(a.T)
	pods := key.ServiceAccount("kong")
	cluster := issuers.Cluster(a.T, pods)
	mount = a.enable("kubernetes")
	a.write("auth/"+mount+"/config", object{
		"kubernetes_host": cluster.URL, "kubernetes_ca_cert": string(a.vault.CA),
		"token_reviewer_jwt": key.ServiceAccount("vault"), "disable_local_ca_jwt": true,
	})
	a.write("auth/"+mount+"/role/kong", a.role(object{
		"bound_service_account_names": "kong", "bound_service_account_namespaces": "gateway", "audience": "vault",
	}))
	file := a.file("service-account-token", pods)
	a.must(os.Chmod(file, 0o644)) // as the kubelet writes it
	return mount, object{"auth_method": "kubernetes", "kube_auth_path": mount, "kube_role": "kong", "kube_api_token_file": file}
}

// jwt prepares a login with a JWT that the company's issuer has signed.
func (a *authEnv) jwt() (mount string, settings object) {
	a.Helper()
	key := issuers.NewKey(a.T)
	mount = a.enable("jwt")
	a.write("auth/"+mount+"/config", object{"jwt_validation_pubkeys": key.Public})
	a.write("auth/"+mount+"/role/kong", a.role(object{
		"role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault", "bound_subject": "gateway",
	}))
	return mount, object{
		"auth_method": "jwt", "jwt_auth_path": mount, "jwt_role": "kong",
		"jwt_token_file": a.file("jwt", key.Sign(object{"sub": "gateway"})+"\n"),
	}
}

// cert prepares a login with a client certificate by ca.
func (a *authEnv) cert(ca certificatetest.Pair) (mount string, settings object) {
	a.Helper()
	mount = a.enable("cert")
	a.trust(mount, ca)
	client := ca.Issue("kong")
	return mount, a.overTLS(object{
		"auth_method": "cert", "cert_auth_path": mount, "cert_auth_role_name": "kong",
		"cert_auth_cert": a.file("client.pem", client.PEM()), "cert_auth_cert_key": a.file("client.key", client.KeyPEM()),
	})
}

// trust has the cert method accept certificates of these CAs, and no others.
func (a *authEnv) trust(mount string, cas ...certificatetest.Pair) {
	a.Helper()
	var all string
	for _, ca := range cas {
		all += ca.PEM()
	}
	a.write("auth/"+mount+"/certs/kong", a.role(object{"certificate": all, "allowed_common_names": "kong"}))
}
