package genuine

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/certificatetest"
	"kong-vault-auth/e2e/issuers"
	"kong-vault-auth/e2e/vaultserver"
	"kong-vault-auth/hashivault/clouds"
)

// howTo is the KV v1 engine of Kong's how-tos about logins. Their secret is
// kong/headers/request.
var howTo = vaultserver.KV{Mount: "kong", Version: 1}

const howToValue = "x-kong:test"

// logins sets up Vault's auth methods at their default mounts, as Kong's how-tos do, and the
// services that the methods ask.
type logins struct {
	*testing.T
	dir    string
	policy string
	azure  *akvsim.Sim
	google map[string]http.HandlerFunc // for the proxy of the simulated Azure
	env    []string                    // of the plugin server
}

func newLogins(t *testing.T) *logins {
	t.Helper()
	requireKong(t)
	l := &logins{T: t, dir: t.TempDir()}
	l.must(store.MountKV(t.Context(), howTo))
	l.must(store.Put(t.Context(), howTo, "headers/request", map[string]any{"header": howToValue}))
	var err error
	l.policy, err = store.ReadPolicy(t.Context(), howTo)
	l.must(err)
	return l
}

func (l *logins) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l *logins) write(path string, fields map[string]any) map[string]any {
	l.Helper()
	secret, err := store.Write(l.Context(), path, fields)
	l.must(err)
	if secret == nil {
		return nil
	}
	return secret.Data
}

// enable enables an auth method with a configuration and a role kong, whose logins may
// read the how-tos' secret.
func (l *logins) enable(mount, kind string, config, role map[string]any) {
	l.Helper()
	l.must(store.EnableAuth(l.Context(), mount, kind))
	if config != nil {
		l.write("auth/"+mount+"/config", config)
	}
	l.role(mount, "role/kong", role)
}

func (l *logins) role(mount, path string, role map[string]any) {
	l.Helper()
	all := map[string]any{"token_policies": l.policy, "token_ttl": "1h"}
	maps.Copy(all, role)
	l.write("auth/"+mount+"/"+path, all)
}

func (l *logins) file(name, contents string, mode os.FileMode) string {
	l.Helper()
	path := filepath.Join(l.dir, name)
	l.must(os.WriteFile(path, []byte(contents), mode))
	return path
}

// at is a configuration of the how-tos for the real Vault, with a login.
func (l *logins) at(login map[string]any) map[string]any {
	l.Helper()
	config := hcvAddress(l.T, store.Addr)
	config["kv"], config["mount"] = "v1", howTo.Mount
	maps.Copy(config, login)
	return config
}

func (l *logins) appRole() (roleID string, secretID func() string) {
	l.enable("approle", "approle", nil, nil)
	role, err := store.Read(l.Context(), "auth/approle/role/kong/role-id")
	l.must(err)
	return role.Data["role_id"].(string), func() string {
		return l.write("auth/approle/role/kong/secret-id", nil)["secret_id"].(string)
	}
}

func (l *logins) wrapped() string {
	token, err := store.WriteWrapped(l.Context(), "auth/approle/role/kong/secret-id", nil, time.Minute*10)
	l.must(err)
	return token
}

func (l *logins) kubernetes() (tokenFile string) {
	key := issuers.NewKey(l.T)
	pods := key.ServiceAccount("kong")
	l.enable("kubernetes", "kubernetes", map[string]any{
		"kubernetes_host": issuers.Cluster(l.T, pods).URL, "kubernetes_ca_cert": string(store.CA),
		"token_reviewer_jwt": key.ServiceAccount("vault"), "disable_local_ca_jwt": true,
	}, map[string]any{"bound_service_account_names": "kong", "bound_service_account_namespaces": "gateway", "audience": "vault"})
	return l.file("service-account-token", pods, 0o644) // as the kubelet writes it
}

func (l *logins) cert() (certificate, key string) {
	ca := certificatetest.NewCA()
	l.must(store.EnableAuth(l.Context(), "cert", "cert"))
	l.role("cert", "certs/kong", map[string]any{"certificate": ca.PEM(), "allowed_common_names": "kong"})
	client := ca.Issue("kong")
	return client.PEM(), client.KeyPEM()
}

// oauth2 starts an identity provider that grants the client kong what Vault's role demands.
func (l *logins) oauth2() (endpoint string) {
	key := issuers.NewKey(l.T)
	l.enable("jwt", "jwt", map[string]any{"jwt_validation_pubkeys": key.Public}, map[string]any{
		"role_type": "jwt", "user_claim": "sub", "bound_audiences": "https://idp.example/api/v2/", "bound_subject": "kong@clients",
	})
	return issuers.TokenEndpoint(l.T, "kong", "idp-s3cret", func(audiences []string) string {
		return key.Sign(map[string]any{"sub": "kong@clients", "aud": audiences})
	}).URL
}

// machine prepares the login of a virtual machine in Azure. Vault's own azure method would ask
// Azure more; its jwt method, mounted in its place, verifies the same tokens and ignores what
// the login says about the machine.
func (l *logins) machine() {
	const identity = "eeeeeeee-eeee-4eee-8eee-eeeeeeeeeeee"
	l.azure.AddApp(akvsim.App{ClientID: identity, ObjectID: "machines-oid", SystemAssigned: true})
	l.enable("azure", "jwt", map[string]any{"jwt_validation_pubkeys": l.azure.PublicKey()}, map[string]any{
		"role_type": "jwt", "user_claim": "oid", "bound_audiences": "https://management.azure.com/", "bound_claims": map[string]any{"oid": "machines-oid"},
	})
}

// gcp prepares both methods of Google Cloud, also with Vault's jwt method in the place of its
// own: the JWTs have the audience that Vault's role demands, and Google's signature.
func (l *logins) gcp() {
	key := issuers.NewKey(l.T)
	var account string
	l.google, account = clouds.Google(l.T, func(claims map[string]any) string { return key.Sign(claims) })
	instance := clouds.GoogleInstance(l.T, func(audience string) string {
		return key.Sign(map[string]any{"sub": "1234567890", "aud": audience})
	})
	l.enable("gcp", "jwt", map[string]any{"jwt_validation_pubkeys": key.Public}, map[string]any{
		"role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault/kong", "bound_subject": clouds.GoogleAccount,
	})
	l.role("gcp", "role/kong-gce", map[string]any{
		"role_type": "jwt", "user_claim": "sub", "bound_audiences": "http://vault/kong-gce", "bound_subject": "1234567890",
	})
	l.env = append(l.env, "GCE_METADATA_HOST="+strings.TrimPrefix(instance.URL, "http://"), "GCP_SERVICE_ACCOUNT="+account)
}

func (l *logins) aws() (sts string) {
	sts = clouds.STS(l.T).URL
	instance := clouds.NewInstance(l.T)
	l.enable("aws", "aws", nil, map[string]any{"auth_type": "iam", "bound_iam_principal_arn": clouds.KongUser.ARN, "resolve_aws_unique_ids": false})
	l.role("aws", "role/kong-role", map[string]any{"auth_type": "iam", "bound_iam_principal_arn": clouds.KongRoleARN, "resolve_aws_unique_ids": false})
	l.role("aws", "role/kong-ec2", map[string]any{"auth_type": "ec2", "bound_ami_id": "ami-1"})
	l.write("auth/aws/config/client", map[string]any{
		"access_key": clouds.VaultUser.ID, "secret_key": clouds.VaultUser.Secret, "sts_endpoint": sts, "sts_region": clouds.Region, "endpoint": instance.EC2.URL,
	})
	l.write("auth/aws/config/certificate/tests", map[string]any{
		"type": "identity", "aws_public_cert": base64.StdEncoding.EncodeToString(instance.Certificate),
	})
	l.env = append(l.env, "AWS_EC2_METADATA_SERVICE_ENDPOINT="+instance.Metadata.URL, "AWS_REGION="+clouds.Region)
	return sts
}

// TestEntitiesAndTheEnvironmentLogInByEachMethod of Kong's page about HashiCorp Vault, to a real
// Vault: a secret is read, and a role that doesn't exist is an error that names the login.
func TestEntitiesAndTheEnvironmentLogInByEachMethod(t *testing.T) {
	l := newLogins(t)
	l.azure = akvsim.New(akvsim.Options{Others: map[string]http.HandlerFunc{
		"oauth2.googleapis.com":         func(w http.ResponseWriter, r *http.Request) { l.google[r.Host](w, r) },
		"iamcredentials.googleapis.com": func(w http.ResponseWriter, r *http.Request) { l.google[r.Host](w, r) },
	}})
	l.machine()
	l.gcp()
	sts := l.aws()
	roleID, secretID := l.appRole()
	tokenFile := l.kubernetes()
	certificate, key := l.cert()
	endpoint := l.oauth2()
	tls := hcvAddress(t, store.TLSAddr)
	token, err := store.ReadToken(t.Context(), howTo, time.Hour)
	l.must(err)

	tests := map[string]struct {
		login map[string]any
		role  string // the field that names the role, if there is one
	}{
		"token":    {map[string]any{"token": token}, ""},
		"approle":  {map[string]any{"auth_method": "approle", "approle_role_id": roleID, "approle_secret_id": secretID()}, "approle_role_id"},
		"a-file":   {map[string]any{"auth_method": "approle", "approle_role_id": roleID, "approle_secret_id_file": l.file("secret-id", secretID(), 0o600), "approle_auth_path": "/approle/"}, "approle_role_id"},
		"wrapped":  {map[string]any{"auth_method": "approle", "approle_role_id": roleID, "approle_secret_id": l.wrapped(), "approle_response_wrapping": true}, ""},
		"k8s":      {map[string]any{"auth_method": "kubernetes", "kube_role": "kong", "kube_api_token_file": tokenFile}, "kube_role"},
		"cert":     {map[string]any{"auth_method": "cert", "cert_auth_cert": certificate, "cert_auth_cert_key": key, "cert_auth_role_name": "kong", "protocol": "https", "port": tls["port"], "ca_cert": string(store.CA)}, "cert_auth_role_name"},
		"oauth2":   {map[string]any{"auth_method": "jwt", "oauth2_role_name": "kong", "oauth2_token_endpoint": endpoint, "oauth2_client_id": "kong", "oauth2_client_secret": "idp-s3cret", "oauth2_audiences": "https://idp.example/api/v2/"}, "oauth2_role_name"},
		"azure":    {map[string]any{"auth_method": "azure", "azure_auth_role": "kong"}, "azure_auth_role"},
		"gcp-iam":  {map[string]any{"auth_method": "gcp_iam", "gcp_auth_role": "kong", "gcp_service_account": clouds.GoogleAccount, "gcp_jwt_exp": 900}, "gcp_auth_role"},
		"gcp-gce":  {map[string]any{"auth_method": "gcp_gce", "gcp_auth_role": "kong-gce"}, "gcp_auth_role"},
		"aws-iam":  {map[string]any{"auth_method": "aws_iam", "aws_auth_role": "kong", "aws_auth_region": clouds.Region, "aws_sts_endpoint_url": sts, "aws_access_key_id": clouds.KongUser.ID, "aws_secret_access_key": clouds.KongUser.Secret}, "aws_auth_role"},
		"aws-role": {map[string]any{"auth_method": "aws_iam", "aws_auth_role": "kong-role", "aws_auth_region": clouds.Region, "aws_sts_endpoint_url": sts, "aws_access_key_id": clouds.KongUser.ID, "aws_secret_access_key": clouds.KongUser.Secret, "aws_assume_role_arn": clouds.KongRoleARN}, "aws_auth_role"},
		"aws-ec2":  {map[string]any{"auth_method": "aws_ec2", "aws_auth_role": "kong-ec2", "aws_auth_nonce": "the-n0nce"}, "aws_auth_role"},
	}
	var vaults []map[string]any
	for name, tt := range tests {
		vaults = append(vaults, map[string]any{"name": "hcv", "prefix": "by-" + name, "config": l.at(tt.login)})
		if tt.role != "" {
			wrong := l.at(tt.login)
			wrong[tt.role] = "nobodys-role"
			vaults = append(vaults, map[string]any{"name": "hcv", "prefix": "wrong-" + name, "config": wrong})
		}
	}
	n := startVaults(t, vaultsOptions{plugin: l.env, azure: l.azure})
	n.declare("{vault://by-token/headers/request/header}", vaults...)
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		t.Run(name, func(t *testing.T) {
			tt := tests[name]
			if got := n.ask("{vault://by-" + name + "/headers/request/header}"); got.Value != howToValue {
				t.Errorf("by an entity: %+v", got)
			}
			var env []string
			for field, value := range l.at(tt.login) {
				env = append(env, fmt.Sprintf("KONG_VAULT_HCV_%s=%v", strings.ToUpper(field), value))
			}
			// The wrapped secret id can be unwrapped once only: the login that has done so serves both.
			got, err := n.kong.With(env...).Output("vault", "get", "{vault://hcv/headers/request/header}")
			if err != nil || strings.TrimSpace(got) != howToValue {
				t.Errorf("by the environment: %q, %v", got, err)
			}
			if tt.role == "" {
				return
			}
			wrong := n.ask("{vault://wrong-" + name + "/headers/request/header}")
			if wrong.Value != "" || !strings.Contains(wrong.Err, "log in at auth/") {
				t.Errorf("with another role: %+v", wrong)
			}
			for _, secret := range []string{"s3cret", "n0nce", token, "eyJ"} {
				if strings.Contains(wrong.Err, secret) {
					t.Errorf("the error holds a secret: %s", wrong.Err)
				}
			}
		})
	}
}
