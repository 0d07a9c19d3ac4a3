package e2e

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/certificatetest"
)

// Other identities that can log in.
const (
	certified = "cccccccc-cccc-4ccc-8ccc-cccccccccccc" // an application with a certificate
	workload  = "dddddddd-dddd-4ddd-8ddd-dddddddddddd" // one with a federated credential
	machine   = "eeeeeeee-eeee-4eee-8eee-eeeeeeeeeeee" // the machine's own identity
	assigned  = "ffffffff-ffff-4fff-8fff-ffffffffffff" // one that is assigned to it
	podToken  = "eyJ-the-token-of-a-pod"
)

// Where access tokens come from: paths of Entra ID and of managed identity.
const (
	fromEntra      = "/" + akvsim.Tenant + "/oauth2/v2.0/token"
	fromIMDS       = "/metadata/identity/oauth2/token"
	fromAppService = "/msi/token"
)

func TestAzureIsReadAsEachIdentity(t *testing.T) {
	a := newAzure(t)
	cert := certificatetest.SelfSignedRSA()
	certPEM := cert.PEM() + cert.KeyPEM()
	for _, app := range []akvsim.App{
		{ClientID: certified, Certificate: cert.Certificate},
		{ClientID: workload, Federated: podToken},
		{ClientID: machine, SystemAssigned: true},
		{ClientID: assigned, UserAssigned: true},
	} {
		app.May = akvsim.Get
		a.sim.AddApp(app)
	}
	p := a.credential(nil)
	certFile, tokenFile := a.file("certificate.pem", certPEM), a.file("token", podToken)
	appService := []string{"IDENTITY_ENDPOINT=" + a.server.IdentityEndpoint(), "IDENTITY_HEADER=" + akvsim.IdentityHeader}

	tests := []struct {
		name     string
		by       definedBy
		settings object
		env      []string
		want     string // client id of the reader
		from     string
	}{
		{"client secret", thePlugin, byClientSecret(nil), nil, azureClientID, fromEntra},
		{
			"client secret by reference", thePlugin, byClientSecret(object{"client_secret": "{vault://env/e2e-client-secret}"}),
			[]string{"E2E_CLIENT_SECRET=" + azureSecret}, azureClientID, fromEntra,
		},
		{
			"client secret as Kong documents it", theNode, object{"tenant_id": akvsim.Tenant, "client_id": azureClientID, "location": "westeurope", "type": "secrets"},
			[]string{"AZURE_CLIENT_SECRET=" + azureSecret}, azureClientID, fromEntra,
		},
		{
			"client secret under another prefix", theNode, object{"credentials_prefix": "ORDERS"},
			[]string{"ORDERS_TENANT_ID=" + akvsim.Tenant, "ORDERS_CLIENT_ID=" + azureClientID, "ORDERS_CLIENT_SECRET=" + azureSecret}, azureClientID, fromEntra,
		},
		{"certificate", thePlugin, object{"auth_method": "client_certificate", "tenant_id": akvsim.Tenant, "client_id": certified, "client_certificate": certPEM}, nil, certified, fromEntra},
		{"certificate in a file", theNode, object{"auth_method": "client_certificate", "tenant_id": akvsim.Tenant, "client_id": certified, "client_certificate": certFile}, nil, certified, fromEntra},
		{"virtual machine", thePlugin, object{"auth_method": "managed_identity"}, nil, machine, fromIMDS},
		{"virtual machine, user-assigned", thePlugin, object{"auth_method": "managed_identity", "client_id": assigned}, nil, assigned, fromIMDS},
		{"App Service", thePlugin, object{"auth_method": "managed_identity"}, appService, machine, fromAppService},
		{"App Service, user-assigned", thePlugin, object{"auth_method": "managed_identity", "client_id": assigned}, appService, assigned, fromAppService},
		{
			"workload identity", theNode, object{"auth_method": "workload_identity"},
			[]string{"AZURE_TENANT_ID=" + akvsim.Tenant, "AZURE_CLIENT_ID=" + workload, "AZURE_FEDERATED_TOKEN_FILE=" + tokenFile}, workload, fromEntra,
		},
		{
			"workload identity, file by name", theNode,
			object{"auth_method": "workload_identity", "tenant_id": akvsim.Tenant, "client_id": workload, "federated_token_file": tokenFile}, nil, workload, fromEntra,
		},
		{
			"default in a pod", theNode, nil,
			[]string{"AZURE_TENANT_ID=" + akvsim.Tenant, "AZURE_CLIENT_ID=" + workload, "AZURE_FEDERATED_TOKEN_FILE=" + tokenFile}, workload, fromEntra,
		},
		{"default with a client id", theNode, object{"client_id": assigned}, nil, assigned, fromIMDS},
		{"default of the machine", theNode, nil, nil, machine, fromIMDS},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := a.in(t)
			before := len(a.logins())
			g := a.guard(tt.by, tt.settings, tt.env...)
			answer := a.ask(g, p)
			if diff := cmp.Diff(alice, told(answer.Upstream)); diff != "" {
				t.Fatalf("%d %s, identity (-want +got):\n%s\n%s", answer.Status, answer.Body, diff, g.Log())
			}
			type login struct{ Who, From string }
			var got []login
			for _, r := range a.logins()[before:] {
				got = append(got, login{r.ClientID, r.Path})
			}
			reads := a.sim.Requests(akvsim.Request.SecretRead)
			got = append(got, login{Who: reads[len(reads)-1].ClientID})
			if diff := cmp.Diff([]login{{tt.want, tt.from}, {Who: tt.want}}, got); diff != "" {
				t.Errorf("login, and who read (-want +got):\n%s", diff)
			}
		})
	}
}
