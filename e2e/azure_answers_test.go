package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/certificatetest"
	"kong-vault-auth/e2e/program"
)

// TestWhyAzureCannotBeReadIsInTheLog: the client gets a 503 whatever the cause. Kong's error
// log has the cause and the remedy in one line.
func TestWhyAzureCannotBeReadIsInTheLog(t *testing.T) {
	asWorkload := object{"auth_method": "workload_identity", "tenant_id": akvsim.Tenant, "client_id": workload}
	asCertified := object{"auth_method": "client_certificate", "tenant_id": akvsim.Tenant, "client_id": certified}
	asMachine := object{"auth_method": "managed_identity"}
	fails := func(s akvsim.Service, f akvsim.Fault) func(*azure) object {
		return func(a *azure) object {
			a.sim.Fail(s, f)
			return nil
		}
	}
	tests := []struct {
		name     string
		by       definedBy
		settings object
		prepare  func(*azure) object // what is wrong; returns further settings
		want     []string
	}{
		{
			"no role", thePlugin, byClientSecret(nil),
			func(a *azure) object { a.app(func(app *akvsim.App) { app.May = 0 }); return nil },
			[]string{
				"reason=denied", "403 Forbidden ForbiddenByRbac", azureObjectID, "vault contoso",
				"Key Vault Secrets User", "--secret-permissions get", "ten minutes",
			},
		},
		{
			"no access policy", thePlugin, byClientSecret(nil),
			fails(akvsim.KeyVault, akvsim.VaultError(403, "Forbidden", "ForbiddenByPolicy", "The user, group or application 'appid="+azureClientID+";oid="+azureObjectID+"' does not have secrets get permission on key vault 'contoso'")),
			[]string{"reason=denied", "ForbiddenByPolicy", azureObjectID, "--secret-permissions get"},
		},
		{
			"firewall", thePlugin, byClientSecret(nil), fails(akvsim.KeyVault, akvsim.Firewall("203.0.113.7")),
			[]string{"reason=firewall", "ForbiddenByFirewall", "203.0.113.7", "az keyvault network-rule add --name contoso"},
		},
		{
			"closed to the public network", thePlugin, byClientSecret(nil), fails(akvsim.KeyVault, akvsim.PrivateLinkOnly()),
			[]string{"reason=firewall", "ForbiddenByConnection", "private endpoint"},
		},
		{
			"another tenant's vault", thePlugin, byClientSecret(nil),
			fails(akvsim.KeyVault, akvsim.VaultError(401, "Unauthorized", "", "AKV10032: Invalid issuer. Expected one of https://sts.windows.net/"+machine+"/, found https://sts.windows.net/"+akvsim.Tenant+"/.")),
			[]string{"reason=login", "AKV10032", "the vault is in tenant " + machine, "tenant_id"},
		},
		{
			"no such tenant", thePlugin, byClientSecret(object{"tenant_id": machine}), nil,
			[]string{"reason=login", "AADSTS90002", "check tenant_id"},
		},
		{
			"no such application", thePlugin, byClientSecret(object{"client_id": machine}), nil,
			[]string{"reason=login", "AADSTS700016", "check client_id"},
		},
		{
			"wrong client secret", thePlugin, byClientSecret(object{"client_secret": "wr0ng~s3cret"}), nil,
			[]string{"reason=login", "AADSTS7000215", "the secret's value, not its id"},
		},
		{
			"client secret at its end", thePlugin, byClientSecret(nil),
			func(a *azure) object { a.app(func(app *akvsim.App) { app.SecretExpired = true }); return nil },
			[]string{"reason=login", "AADSTS7000222", "make a new one"},
		},
		{
			"blocked by conditional access", thePlugin, byClientSecret(nil),
			fails(akvsim.Entra, akvsim.EntraError(400, "access_denied", 53003, "Access has been blocked by Conditional Access policies.")),
			[]string{"reason=login", "AADSTS53003", "conditional access policy"},
		},
		{
			"too many logins", thePlugin, byClientSecret(nil), fails(akvsim.Entra, akvsim.Throttled("30")),
			[]string{"reason=rate_limited", "login.microsoftonline.com answered 429"},
		},
		{
			"another's certificate", thePlugin, asCertified,
			func(a *azure) object {
				presented := certificatetest.SelfSignedRSA()
				a.sim.AddApp(akvsim.App{ClientID: certified, Certificate: certificatetest.SelfSignedRSA().Certificate})
				return object{"client_certificate": presented.PEM() + presented.KeyPEM()}
			},
			[]string{"reason=login", "AADSTS700027", "client_certificate"},
		},
		{
			"certificate that others may read", theNode, asCertified,
			func(a *azure) object {
				presented := certificatetest.SelfSignedRSA()
				path := a.file("open.pem", presented.PEM()+presented.KeyPEM())
				a.must(os.Chmod(path, 0o644))
				return object{"client_certificate": path}
			},
			[]string{"reason=file", "open.pem", "chmod"},
		},
		{
			"no federated credential for the pod", theNode, asWorkload,
			func(a *azure) object {
				a.sim.AddApp(akvsim.App{ClientID: workload, Federated: "eyJ-another-pod"})
				return object{"federated_token_file": a.file("token", podToken)}
			},
			[]string{"reason=login", "AADSTS700213", "system:serviceaccount:NAMESPACE:NAME"},
		},
		{
			"no federated token", theNode, asWorkload,
			func(a *azure) object { return object{"federated_token_file": filepath.Join(a.dir, "none")} },
			[]string{"reason=file", "no such file", "azure.workload.identity/use", "AZURE_FEDERATED_TOKEN_FILE"},
		},
		{
			"machine without identity", thePlugin, asMachine, nil,
			[]string{"reason=login", "Identity not found", "az vm identity assign"},
		},
		{
			"identity that isn't the machine's", thePlugin, object{"auth_method": "managed_identity", "client_id": assigned}, nil,
			[]string{"reason=login", "Identity not found", "the identity with client id " + assigned},
		},
		{
			"no managed identity endpoint", thePlugin, asMachine, fails(akvsim.ManagedIdentity, akvsim.Fault{Drop: true}),
			[]string{"reason=network", "169.254.169.254", "NO_PROXY", "IDENTITY_ENDPOINT"},
		},
		{
			"vault that isn't there", thePlugin, byClientSecret(object{"vault_uri": "https://fabrikam.vault.azure.net"}), nil,
			[]string{"reason=network", "fabrikam.vault.azure.net"},
		},
		{
			"something else that answers", thePlugin, byClientSecret(nil), fails(akvsim.KeyVault, akvsim.Fault{Status: 404, Body: "<html>"}),
			[]string{"reason=unexpected", "not one of Key Vault's", "vault_uri"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAzure(t)
			a.hidden = append(a.hidden, "wr0ng~s3cret")
			settings := maps.Clone(tt.settings)
			if tt.prepare != nil {
				maps.Copy(settings, tt.prepare(a))
			}
			g := a.guard(tt.by, settings)
			if diff := cmp.Diff(unavailable, refused(a.ask(g, a.credential(nil)))); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			a.logs(g, append(tt.want, "[error]", `vault=`)...)
		})
	}
}

func TestAzureConfigurationsThatAreWrong(t *testing.T) {
	w := newEnv(t)
	p := w.credential(nil)
	tests := []struct {
		name     string
		settings object
		says     []string
	}{
		{"http", object{"vault_uri": "http://contoso.vault.azure.net"}, []string{"vault_uri", "Did you mean https://contoso.vault.azure.net?"}},
		{"the domain in Kong's documentation", object{"vault_uri": "https://contoso.vault.azure.com"}, []string{"vault_uri", "Did you mean https://contoso.vault.azure.net?"}},
		{"name alone", object{"vault_uri": "contoso"}, []string{"vault_uri", "Did you mean https://contoso.vault.azure.net?"}},
		{"another domain", object{"vault_uri": "https://contoso.example.com"}, []string{"vault_uri", "Did you mean https://contoso.vault.azure.net?"}},
		{"keys", object{"type": "keys"}, []string{"type", "expected one of: secrets"}},
		{"no client secret", object{"client_secret": nil}, []string{"client_secret"}},
		{"file of the node", object{"auth_method": "client_certificate", "client_certificate": "/etc/passwd"}, []string{"client_certificate"}},
		{"identity of the node's environment", object{"auth_method": "default", "client_secret": nil}, []string{"auth_method", "client_secret, client_certificate, managed_identity or workload_identity"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := w.in(t)
			azure := byClientSecret(object{"vault_uri": akvsim.VaultURI})
			maps.Copy(azure, tt.settings)
			maps.DeleteFunc(azure, func(_ string, v any) bool { return v == nil })
			w.says(tt.says, w.refusalOf(object{"name": "vault-auth", "config": object{"azure": azure}}, p))
		})
	}
}

// TestSecretsThatAreNoCredentialsAreAnswered401: they are not a failure of the store, and raise
// no alarm.
func TestSecretsThatAreNoCredentialsAreAnswered401(t *testing.T) {
	a := newAzure(t)
	g := a.guard(thePlugin, byClientSecret(nil))
	good := a.credential(nil)
	if answer := a.ask(g, good); answer.Status != 200 {
		t.Fatalf("the good pair is answered %d %s\n%s", answer.Status, answer.Body, g.Log())
	}
	no, past, future := false, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	deleted, forbidden, elsewhere := a.credential(nil), a.credential(nil), newPair()
	a.sim.Delete(secretName(deleted.access))
	a.app(func(app *akvsim.App) { app.Deny = []string{strings.ToLower(secretName(forbidden.access))} })
	a.sim.Put(elsewhere.access, fmt.Sprintf(`{"access_token":%q,"secret_token":%q,"consumer":"alice"}`, elsewhere.access, elsewhere.secret), nil)

	tests := []struct {
		name string
		pair
		reason string // in the plugin's own output
	}{
		{"unknown", newPair(), "not_found"},
		{"wrong secret token", pair{good.access, newPair().secret}, "wrong_secret"},
		{"disabled", a.credential(&azsecrets.SecretAttributes{Enabled: &no}), "disabled"},
		{"expired", a.credential(&azsecrets.SecretAttributes{Expires: &past}), "outside"},
		{"not yet valid", a.credential(&azsecrets.SecretAttributes{NotBefore: &future}), "outside"},
		{"deleted", deleted, "not_found"},
		{"denied, unlike others", forbidden, "denied"},
		{"outside of name_prefix", elsewhere, "not_found"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(unauthorized("Unauthorized"), refused(a.ask(g, tt.pair))); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if genuineKong == "" && !strings.Contains(allLevels(g), "request refused reason="+tt.reason) {
				t.Errorf("not for the reason %s:\n%s", tt.reason, allLevels(g))
			}
		})
	}
	for line := range strings.Lines(g.Log()) {
		// Kong logs this for each plugin server that it doesn't start.
		if !strings.Contains(line, "assuming external process management") && (strings.Contains(line, "[error]") || strings.Contains(line, "[warn]")) {
			t.Errorf("the log: %s", line)
		}
	}

	unusable := newPair()
	a.sim.Put(secretName(unusable.access), unusable.secret, nil)
	if diff := cmp.Diff(unauthorized("Unauthorized"), refused(a.ask(g, unusable))); diff != "" {
		t.Errorf("secret without a record (-want +got):\n%s", diff)
	}
	program.Eventually(t, "it is reported", func() bool {
		a.ask(g, good)
		return strings.Contains(g.Log(), "a credential's record can't be used")
	})
}

func TestAnyAccessTokenHasASecretsName(t *testing.T) {
	a := newAzure(t)
	g := a.guard(thePlugin, byClientSecret(nil))
	for _, token := range []string{
		"a", "-", "UPPER-and-lower", "with_underscore", "with.dot", "~",
		strings.Repeat("x", 117), strings.Repeat("x", 118), strings.Repeat("x", 255), strings.Repeat("._~-", 63),
	} {
		p := pair{token, newPair().secret}
		a.put(p, nil)
		if got := a.get(g, "/", p.header()); got.Status != 200 {
			t.Errorf("access token %s: %d %s", token, got.Status, got.Body)
		}
	}
}

// TestAzuresNamesIgnoreCaseAccessTokensDont: other spellings of an access token
// name the same secret, prove nothing, and cost no more reads.
func TestAzuresNamesIgnoreCaseAccessTokensDont(t *testing.T) {
	a := newAzure(t)
	g := a.guard(thePlugin, byClientSecret(nil))
	p := a.credential(nil)
	misspelled := pair{strings.ToLower(p.access), p.secret}
	for i, tt := range []struct {
		pair
		want int
	}{{misspelled, 401}, {p, 200}, {misspelled, 401}, {p, 200}} {
		if got := a.ask(g, tt.pair); got.Status != tt.want {
			t.Errorf("request %d is answered %d %s, want %d", i, got.Status, got.Body, tt.want)
		}
	}
	if n := a.reads(p); n > 2 { // the second is for a secret that may have been rotated
		t.Errorf("the secret was read %d times", n)
	}
}

// TestPrecedingVersionIsFoundOnAnyPage: Key Vault lists versions in pages of 25, in the order
// of their ids.
func TestPrecedingVersionIsFoundOnAnyPage(t *testing.T) {
	a := newAzure(t)
	a.app(func(app *akvsim.App) { app.May |= akvsim.List })
	g := a.guard(thePlugin, byClientSecret(object{"accept_previous_version": 3600}))
	p := newPair()
	const versions = 60
	for i := range versions {
		made := time.Now().Add(time.Duration(i-versions+1) * time.Minute)
		a.put(pair{p.access, fmt.Sprintf("secret-%d", i)}, &azsecrets.SecretAttributes{Created: &made})
	}
	for secret, want := range map[int]int{versions - 1: 200, versions - 2: 200, versions - 3: 401} {
		if got := a.ask(g, pair{p.access, fmt.Sprintf("secret-%d", secret)}); got.Status != want {
			t.Errorf("the secret of version %d is answered %d %s, want %d", secret, got.Status, got.Body, want)
		}
	}
}
