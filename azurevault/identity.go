package azurevault

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"regexp"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"kong-vault-auth/secretstore"
	"kong-vault-auth/securefile"
)

// aksTokenFile is where AKS' workload identity webhook mounts a pod's token.
const aksTokenFile = "/var/run/secrets/azure/tokens/azure-identity-token"

// maxCertificate limits how much of a certificate file is read.
const maxCertificate = 1 << 20

// credentialSource is one of azidentity's credentials, with details for messages.
type credentialSource struct {
	azcore.TokenCredential
	method   string // auth_method
	clientID string // empty: unknown, or the system-assigned identity
	secret   string // must not be in a message; may be empty
}

// credential is the identity that logs in, by auth_method. It sends no request and
// reads no file until a token is needed. It is usable if p has no problems.
//
// azidentity is given everything that decides who logs in, and where, so that it doesn't
// look for that in the environment. Unless the method is default, it takes only two
// things from the environment: the platform's managed identity endpoint, and a
// preferred region of Entra ID (AZURE_REGIONAL_AUTHORITY_NAME).
func (c *Config) credential(p *secretstore.Problems, options azcore.ClientOptions) credentialSource {
	if os.Getenv("IDENTITY_SERVER_THUMBPRINT") != "" {
		// Service Fabric: azidentity pins the endpoint's certificate, which it can do
		// only in a plain http.Transport.
		options.Transport = newHTTPClient(newTransport(p.Reach))
	}
	checkEntraID(p, "tenant_id", c.TenantID)
	checkEntraID(p, "client_id", c.ClientID)
	p.NodeFile("federated_token_file", c.FederatedTokenFile)
	p.PEM("client_certificate", c.ClientCertificate)
	source := credentialSource{method: c.AuthMethod, clientID: c.ClientID, secret: c.ClientSecret}
	switch c.AuthMethod {
	case "client_secret":
		source.TokenCredential = c.clientSecret(p, options)
	case "client_certificate":
		source.TokenCredential = c.clientCertificate(p, options)
	case "managed_identity":
		source.TokenCredential = c.managedIdentity(p, options)
	case "workload_identity":
		file := cmp.Or(c.FederatedTokenFile, c.NodeTokenFile, aksTokenFile)
		source.TokenCredential = c.workloadIdentity(p, file, options)
	case "default":
		source.TokenCredential = c.byDefault(p, options)
	} // the check of the field's tag refuses others
	return source
}

func checkEntraID(p *secretstore.Problems, field, value string) {
	if value != "" && !entraID.MatchString(value) {
		p.Add(field, "it must be an id as Microsoft Entra shows it, such as 72f988bf-86f1-41af-91ab-2d7cd011db47")
	}
}

var entraID = regexp.MustCompile(`^[0-9A-Za-z.-]+$`)

// requireApplication checks that the ids of an application are set.
func (c *Config) requireApplication(p *secretstore.Problems) {
	p.Required("tenant_id", c.TenantID, c.AuthMethod)
	p.Required("client_id", c.ClientID, c.AuthMethod)
}

func (c *Config) clientSecret(p *secretstore.Problems, options azcore.ClientOptions) azcore.TokenCredential {
	p.Required("client_secret", c.ClientSecret, c.AuthMethod)
	c.requireApplication(p)
	cred, err := azidentity.NewClientSecretCredential(c.TenantID, c.ClientID, c.ClientSecret, &azidentity.ClientSecretCredentialOptions{ClientOptions: options})
	p.AddError("client_secret", err)
	return cred
}

func (c *Config) clientCertificate(p *secretstore.Problems, options azcore.ClientOptions) azcore.TokenCredential {
	p.Required("client_certificate", c.ClientCertificate, c.AuthMethod)
	c.requireApplication(p)
	build := func(pem []byte) (azcore.TokenCredential, error) {
		certs, key, err := azidentity.ParseCertificates(pem, nil)
		if err != nil {
			return nil, fmt.Errorf("it must hold a certificate and its RSA key, as PEM or PKCS #12 without a password: %w", err)
		}
		return azidentity.NewClientCertificateCredential(c.TenantID, c.ClientID, certs, key, &azidentity.ClientCertificateCredentialOptions{ClientOptions: options})
	}
	pem, isPEM := secretstore.PEM(c.ClientCertificate)
	if !isPEM {
		return &certificateFile{path: c.ClientCertificate, build: build}
	}
	cred, err := build([]byte(pem))
	p.AddError("client_certificate", err)
	return cred
}

func (c *Config) managedIdentity(p *secretstore.Problems, options azcore.ClientOptions) azcore.TokenCredential {
	o := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: options}
	if c.ClientID != "" {
		o.ID = azidentity.ClientID(c.ClientID)
	}
	cred, err := azidentity.NewManagedIdentityCredential(o)
	p.AddError("client_id", err) // on platforms without user-assigned identities
	return cred
}

func (c *Config) workloadIdentity(p *secretstore.Problems, file string, options azcore.ClientOptions) azcore.TokenCredential {
	c.requireApplication(p)
	cred, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
		ClientOptions: options, TenantID: c.TenantID, ClientID: c.ClientID, TokenFilePath: file,
	})
	p.AddError("auth_method", err)
	return federated{cred, file}
}

// byDefault chooses the most specific identity that is configured: a client secret,
// as in Kong's documentation; a workload identity; a user-assigned identity, if only a
// client id is set; and otherwise what azidentity finds by itself, with the login of the
// Azure CLI, for development, as its last choice.
func (c *Config) byDefault(p *secretstore.Problems, options azcore.ClientOptions) azcore.TokenCredential {
	switch {
	case !p.Node:
		p.Add("auth_method", "default looks for an identity in the node's environment, which a plugin's configuration may not use: set it to client_secret, client_certificate, managed_identity or workload_identity, or have the node define the object")
		return nil
	case c.ClientSecret != "":
		return c.clientSecret(p, options)
	case c.NodeTokenFile != "" && c.TenantID != "" && c.ClientID != "":
		return c.workloadIdentity(p, c.NodeTokenFile, options)
	case c.ClientID != "":
		return c.managedIdentity(p, options)
	}
	cred, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: options, TenantID: c.TenantID})
	p.AddError("auth_method", err)
	return cred
}

// federated is a workload identity that checks before each login whether its token
// file exists: azidentity would report only the system's error.
type federated struct {
	azcore.TokenCredential
	file string
}

func (f federated) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := os.Open(f.file)
	if err != nil {
		return azcore.AccessToken{}, &securefile.Error{Err: err, Remedy: "check that the pod has the label azure.workload.identity/use: \"true\" and a service account with a federated credential, and that AZURE_FEDERATED_TOKEN_FILE reaches the plugin server or federated_token_file is set"}
	}
	_ = token.Close()
	return f.TokenCredential.GetToken(ctx, o)
}

// certificateFile is a client certificate in a file. The file is read again before
// each login, so that the certificate can be renewed.
type certificateFile struct {
	path  string
	build func(pem []byte) (azcore.TokenCredential, error)

	mu   sync.Mutex
	pem  []byte
	cred azcore.TokenCredential // built from pem
}

func (c *certificateFile) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	cred, err := c.current()
	if err != nil {
		return azcore.AccessToken{}, err
	}
	return cred.GetToken(ctx, o)
}

func (c *certificateFile) current() (azcore.TokenCredential, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pem, err := securefile.Read(c.path, securefile.Group, maxCertificate)
	if err != nil {
		return nil, err
	}
	if c.cred != nil && bytes.Equal(pem, c.pem) {
		return c.cred, nil
	}
	cred, err := c.build(pem)
	if err != nil {
		return nil, &securefile.Error{Err: fmt.Errorf("client_certificate: %s: %w", c.path, err), Remedy: "put the certificate and its key into the file"}
	}
	c.pem, c.cred = pem, cred
	return cred, nil
}
