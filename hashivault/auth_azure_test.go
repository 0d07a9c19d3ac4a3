package hashivault

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"kong-vault-auth/secretstore"
)

const imdsHost = "169.254.169.254"

// virtualMachine is the instance metadata service of a machine with one identity.
func virtualMachine(t *testing.T) cloud {
	return cloud{imdsHost: func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case r.Header.Get("Metadata") != "true":
			t.Errorf("without the header Metadata: %s", r.URL)
		case r.URL.Path == "/metadata/instance/compute":
			canned(200, `{"subscriptionId":"sub-1","resourceGroupName":"gateways","name":"vm-1","vmScaleSetName":"","vmId":"x"}`)(w, r)
		case r.URL.Path == "/metadata/identity/oauth2/token" && q.Get("resource") == "https://management.azure.com/" && q.Get("client_id") == "":
			canned(200, fmt.Sprintf(`{"access_token":"vms-s3cret","expires_in":"3600","expires_on":"%d","resource":"https://management.azure.com/","token_type":"Bearer"}`,
				time.Now().Add(time.Hour).Unix()))(w, r)
		default:
			canned(400, `{"error":"invalid_request","error_description":"Identity not found"}`)(w, r)
		}
	}}
}

func azureConfig(edit func(*Config)) Config {
	return config(func(c *Config) {
		c.Token, c.AuthMethod, c.AzureAuthRole = "", "azure", "kong"
		if edit != nil {
			edit(c)
		}
	})
}

func TestAzureMachinesLogIn(t *testing.T) {
	hosts := virtualMachine(t)
	v, logins := vaultWithLogin("auth/azure/login", 3600)
	wantFound(t, openIn(t, azureConfig(nil), v, hosts))
	wantLogin(t, logins, fields{
		"role": "kong", "jwt": "vms-s3cret", "subscription_id": "sub-1", "resource_group_name": "gateways", "vm_name": "vm-1",
	})

	v.on("PUT auth/azure/login", canned(403, `{"errors":["vms-s3cret is of a service principal that isn't bound"]}`))
	wantRefused(t, openIn(t, azureConfig(nil), v, hosts), secretstore.Failure{Op: "log in at auth/azure", Reason: "login", LoginRefused: true}, "vms-s3cret")
	entra := secretstore.Failure{Op: "get a token of the node's Azure identity", Reason: "login", LoginRefused: true}
	wantRefused(t, openIn(t, azureConfig(func(c *Config) { c.Node.AzureClient = "not-assigned" }), v, hosts), entra)
	wantRefused(t, openIn(t, azureConfig(func(c *Config) { c.AzureResource = "https://unknown" }), v, hosts), entra)
	wantRefused(t, openIn(t, azureConfig(func(c *Config) { c.AzureResource = "https://other" }), v, cloud{}), secretstore.Failure{Op: entra.Op, Reason: "network"})
	hosts[imdsHost] = func(next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/metadata/instance/") {
				canned(500, "<html>")(w, r)
				return
			}
			next(w, r)
		}
	}(hosts[imdsHost])
	wantRefused(t, openIn(t, azureConfig(nil), v, hosts), secretstore.Failure{Op: "ask Azure which virtual machine this is", Reason: "server"}, "vms-s3cret")
}

// App Service and similar services have their own endpoint, and no virtual machine.
func TestAzureAppsLogIn(t *testing.T) {
	t.Setenv("IDENTITY_ENDPOINT", "http://app.test/msi/token")
	t.Setenv("IDENTITY_HEADER", "header-s3cret")
	hosts := cloud{"app.test": func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Identity-Header") != "header-s3cret" {
			t.Errorf("%v", r.Header)
		}
		canned(200, fmt.Sprintf(`{"access_token":"apps-s3cret","expires_on":"%d","resource":"r","token_type":"Bearer"}`, time.Now().Add(time.Hour).Unix()))(w, r)
	}}
	v, logins := vaultWithLogin("auth/azure/login", 3600)
	wantFound(t, openIn(t, azureConfig(func(c *Config) {
		c.Node.AzureEndpoint, c.AzureResource = "http://app.test/msi/token", "https://app" // azidentity's cache is the process's
	}), v, hosts))
	wantLogin(t, logins, fields{"role": "kong", "jwt": "apps-s3cret"})
}

// entraID is Microsoft Entra ID for one application.
func entraID(t *testing.T, proof string) cloud {
	const issuer = "https://login.microsoftonline.com/tenant-1"
	return cloud{"login.microsoftonline.com": func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		switch {
		case strings.HasSuffix(r.URL.Path, "/discovery/instance"):
			canned(200, `{"tenant_discovery_endpoint":"`+issuer+`/v2.0/.well-known/openid-configuration","metadata":[{"preferred_network":"login.microsoftonline.com","preferred_cache":"login.windows.net","aliases":["login.microsoftonline.com"]}]}`)(w, r)
		case strings.HasSuffix(r.URL.Path, "/openid-configuration"):
			canned(200, `{"token_endpoint":"`+issuer+`/oauth2/v2.0/token","authorization_endpoint":"`+issuer+`/oauth2/v2.0/authorize","issuer":"`+issuer+`/v2.0"}`)(w, r)
		case r.Form.Get("client_secret")+r.Form.Get("client_assertion") != proof:
			canned(401, `{"error":"invalid_client","error_description":"AADSTS7000215: `+r.Form.Get("client_secret")+` is wrong","error_codes":[7000215]}`)(w, r)
		case r.Form.Get("scope") != "https://management.azure.com//.default openid offline_access profile":
			t.Errorf("scope %q", r.Form.Get("scope"))
		default:
			canned(200, `{"access_token":"entras-s3cret","token_type":"Bearer","expires_in":3600}`)(w, r)
		}
	}}
}

func TestAzureApplicationsAndPodsLogIn(t *testing.T) {
	file := t.TempDir() + "/federated"
	replaceFile(t, file, "the-pods-t0ken")
	for about, edit := range map[string]func(*Config){
		"application": func(c *Config) { c.Node.AzureSecret = "the-apps-s3cret" },
		"pod":         func(c *Config) { c.Node.AzureTokenFile = file },
	} {
		t.Run(about, func(t *testing.T) {
			cfg := azureConfig(func(c *Config) { c.Node.AzureTenant, c.Node.AzureClient = "tenant-1", "client-1" })
			edit(&cfg)
			proof := map[string]string{"application": "the-apps-s3cret", "pod": "the-pods-t0ken"}[about]
			v, logins := vaultWithLogin("auth/azure/login", 3600)
			wantFound(t, openIn(t, cfg, v, entraID(t, proof)))
			wantLogin(t, logins, fields{"role": "kong", "jwt": "entras-s3cret"})
			wantRefused(t, openIn(t, cfg, v, entraID(t, "another")), secretstore.Failure{
				Op: "get a token of the node's Azure identity", Reason: "login", LoginRefused: true,
			}, proof)
		})
	}
}
