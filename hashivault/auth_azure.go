package hashivault

import (
	"context"
	"maps"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

func (c *checker) azure() method {
	role := c.required("azure_auth_role", c.cfg.AzureAuthRole)
	resource := c.required("azure_resource", c.cfg.AzureResource)
	mount := c.authMount("azure_login_path", loginMount(c.cfg.AzureLoginPath), "azure")
	c.nodeIdentity("Azure identity")
	identity := &azureIdentity{
		issuer: issuer{
			op: "get a token of the node's Azure identity", host: "Microsoft Entra ID or the managed identity endpoint",
			hint:   "check that this machine, app or pod has a managed or workload identity, that AZURE_CLIENT_ID names a user-assigned one, and that azure_resource is known to the tenant",
			hidden: []string{c.cfg.Node.AzureSecret},
		},
		scope: resource + "/.default", client: c.cloud, instance: azureInstanceURL,
	}
	c.p.AddError("auth_method", identity.choose(c.cfg.Node))
	return &login{
		mount:  mount,
		hint:   "check azure_auth_role, that azure_resource is the resource of auth/" + mount + "/config, and that the role is bound to this identity, and to the subscription and resource group of this machine",
		secret: identity.token,
		body: func(jwt string) map[string]any {
			body := jwtBody(role)(jwt)
			maps.Copy(body, identity.machine)
			return body
		},
	}
}

// azureInstanceURL is where a virtual machine asks which one it is.
const azureInstanceURL = "http://169.254.169.254/metadata/instance/compute?api-version=2021-02-01"

// azureIdentity gets tokens of one identity of the node.
type azureIdentity struct {
	issuer
	credential azcore.TokenCredential
	scope      string
	client     *http.Client
	onMachine  bool           // the identity is a virtual machine's
	instance   string         // the URL at which the machine asks which one it is
	machine    map[string]any // the fields of Vault's login that say which one; set with the last token
	last       lastAnswer
}

// lastAnswer remembers how the last request of azidentity ended, whose errors don't
// always say that.
type lastAnswer struct {
	status int // 0: no answer
	err    error
}

// Do implements policy.Policy.
func (l *lastAnswer) Do(req *policy.Request) (*http.Response, error) {
	resp, err := req.Next()
	*l = lastAnswer{err: err}
	if err == nil {
		l.status = resp.StatusCode
	}
	return resp, err
}

// choose sets the identity according to the node's environment: an application with a
// secret, a workload identity, or else a managed identity.
func (a *azureIdentity) choose(env nodeEnvironment) (err error) {
	// The session retries logins, with its own pauses.
	options := azcore.ClientOptions{Transport: a.client, Retry: policy.RetryOptions{MaxRetries: -1}, PerRetryPolicies: []policy.Policy{&a.last}}
	application := env.AzureTenant != "" && env.AzureClient != ""
	switch {
	case application && env.AzureSecret != "":
		a.credential, err = azidentity.NewClientSecretCredential(env.AzureTenant, env.AzureClient, env.AzureSecret,
			&azidentity.ClientSecretCredentialOptions{ClientOptions: options})
	case application && env.AzureTokenFile != "":
		a.credential, err = azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: options, TenantID: env.AzureTenant, ClientID: env.AzureClient, TokenFilePath: env.AzureTokenFile,
		})
	default:
		managed := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: options}
		if env.AzureClient != "" {
			managed.ID = azidentity.ClientID(env.AzureClient)
		}
		a.onMachine = env.AzureEndpoint == ""
		a.credential, err = azidentity.NewManagedIdentityCredential(managed)
	}
	return err
}

func (a *azureIdentity) token(ctx context.Context, _ *conn) (string, error) {
	a.last = lastAnswer{}
	token, err := a.credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{a.scope}})
	switch {
	case err == nil:
	case a.last.err != nil:
		return "", a.unreachable(a.last.err)
	default:
		f := a.failure(err)
		f.LoginRefused = f.LoginRefused || f.Reason == "login" && refused(a.last.status)
		return "", f
	}
	if !a.onMachine {
		return token.Token, nil
	}
	if a.machine, err = a.whichMachine(ctx); err != nil {
		return "", err
	}
	return token.Token, nil
}

// whichMachine identifies this virtual machine. Vault needs that for roles that are
// bound to subscriptions, resource groups or scale sets: it looks the machine up.
func (a *azureIdentity) whichMachine(ctx context.Context) (map[string]any, error) {
	asked := a.issuer
	asked.op, asked.host = "ask Azure which virtual machine this is", "the instance metadata service"
	asked.hint = "check that the instance metadata service at 169.254.169.254 can be reached, without a proxy in between (NO_PROXY)"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.instance, nil)
	if err != nil {
		return nil, asked.failure(err)
	}
	req.Header.Set("Metadata", "true")
	var compute struct {
		Subscription  string `json:"subscriptionId"`
		ResourceGroup string `json:"resourceGroupName"`
		Name          string `json:"name"`
		ScaleSet      string `json:"vmScaleSetName"`
	}
	if err := asked.send(a.client, req, &compute); err != nil {
		return nil, err
	}
	machine := map[string]any{
		"subscription_id": compute.Subscription, "resource_group_name": compute.ResourceGroup,
		"vm_name": compute.Name, "vmss_name": compute.ScaleSet,
	}
	maps.DeleteFunc(machine, func(_ string, v any) bool { return v == "" })
	return machine, nil
}
