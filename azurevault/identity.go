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

// maxCertificate bounds what is read of a file with a certificate.
const maxCertificate = 1 << 20

// credentialSource is one of azidentity's credentials, and what messages need to
// know of it.
type credentialSource struct {
	azcore.TokenCredential
	method   string // auth_method
	clientID string // empty: not known, or the system-assigned identity
	secret   string // what must not be in a message; empty: nothing we hold
}

// principal is what vault configuration says about who logs in.
type principal struct {
	tenantID, clientID, secret string
	// env is the environment as the object may see it.
	env func(name string) string
}

// newCredential returns the credential for an object's auth_method. Nothing is
// asked and no file read before a token is wanted.
//
// What decides who logs in, and where, is given to azidentity in full, so that it
// does not look for it in the environment: whatever the method but default, the
// environment only tells it where the platform has put its managed identity
// endpoint, and of a region of Entra ID to prefer (AZURE_REGIONAL_AUTHORITY_NAME).
func newCredential(cfg Config, o secretstore.OpenOptions, options azcore.ClientOptions) (credentialSource, error) {
	p := principal{env: func(name string) string {
		if !o.TrustNode || o.Getenv == nil {
			return ""
		}
		return o.Getenv(name)
	}}
	prefix := cmp.Or(cfg.CredentialsPrefix, "AZURE")
	p.tenantID = cmp.Or(cfg.TenantID, p.env(prefix+"_TENANT_ID"))
	p.clientID = cmp.Or(cfg.ClientID, p.env(prefix+"_CLIENT_ID"))
	p.secret = cmp.Or(cfg.ClientSecret, p.env(prefix+"_CLIENT_SECRET"))

	if os.Getenv("IDENTITY_SERVER_THUMBPRINT") != "" {
		// Service Fabric: azidentity pins the endpoint's certificate, in a plain
		// http.Transport only.
		options.Transport = newHTTPClient(newTransport(o.Reach))
	}
	method := cmp.Or(cfg.AuthMethod, "default")
	source := credentialSource{method: method, clientID: p.clientID, secret: p.secret}
	var err error
	switch method {
	case "client_secret":
		source.TokenCredential, err = p.clientSecret(prefix, options)
	case "client_certificate":
		source.TokenCredential, err = p.clientCertificate(cfg.ClientCertificate, o.TrustNode, options)
	case "managed_identity":
		source.TokenCredential, err = p.managedIdentity(options)
	case "workload_identity":
		source.TokenCredential, err = p.workloadIdentity(cfg.FederatedTokenFile, o.TrustNode, options)
	case "default":
		source.TokenCredential, err = p.byDefault(prefix, o.TrustNode, options)
	default:
		err = fmt.Errorf("auth_method: there is no %q; it must be default, client_secret, client_certificate, managed_identity or workload_identity", method)
	}
	return source, err
}

func (p principal) clientSecret(prefix string, options azcore.ClientOptions) (azcore.TokenCredential, error) {
	if p.secret == "" {
		return nil, fmt.Errorf("client_secret: it is empty, and so is %s_CLIENT_SECRET in the plugin server's environment, which only objects that the node defines may use", prefix)
	}
	if err := p.complete(); err != nil {
		return nil, err
	}
	return azidentity.NewClientSecretCredential(p.tenantID, p.clientID, p.secret, &azidentity.ClientSecretCredentialOptions{ClientOptions: options})
}

func (p principal) clientCertificate(pemOrFile string, trustNode bool, options azcore.ClientOptions) (azcore.TokenCredential, error) {
	if err := p.complete(); err != nil {
		return nil, err
	}
	build := func(pem []byte) (azcore.TokenCredential, error) {
		certs, key, err := azidentity.ParseCertificates(pem, nil)
		if err != nil {
			return nil, fmt.Errorf("client_certificate: it must hold a certificate and its RSA key, as PEM or PKCS #12 without a password: %w", err)
		}
		return azidentity.NewClientCertificateCredential(p.tenantID, p.clientID, certs, key, &azidentity.ClientCertificateCredentialOptions{ClientOptions: options})
	}
	pem, isPEM := secretstore.PEM(pemOrFile)
	switch {
	case pemOrFile == "":
		return nil, fmt.Errorf("client_certificate: it is empty")
	case isPEM:
		return build([]byte(pem))
	case !trustNode:
		return nil, fmt.Errorf("client_certificate: it is not PEM but may name a file, and only objects that the node defines may do that")
	}
	return &certificateFile{path: pemOrFile, build: build}, nil
}

func (p principal) managedIdentity(options azcore.ClientOptions) (azcore.TokenCredential, error) {
	o := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: options}
	if p.clientID != "" {
		o.ID = azidentity.ClientID(p.clientID)
	}
	cred, err := azidentity.NewManagedIdentityCredential(o)
	if err != nil {
		return nil, fmt.Errorf("client_id: %w", err) // platforms without user-assigned identities
	}
	return cred, nil
}

func (p principal) workloadIdentity(file string, trustNode bool, options azcore.ClientOptions) (azcore.TokenCredential, error) {
	if file != "" && !trustNode {
		return nil, fmt.Errorf("federated_token_file: it names a file, and only objects that the node defines may do that")
	}
	if err := p.complete(); err != nil {
		return nil, err
	}
	file = cmp.Or(file, p.env("AZURE_FEDERATED_TOKEN_FILE"), aksTokenFile)
	cred, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
		ClientOptions: options, TenantID: p.tenantID, ClientID: p.clientID, TokenFilePath: file,
	})
	if err != nil {
		return nil, err
	}
	return federated{cred, file}, nil
}

// byDefault takes the most definite of what there is: a client secret, as Kong's
// own documentation has it; a workload identity; the user-assigned identity that
// a client id without either must mean; and last what azidentity finds by itself,
// down to the login of the Azure CLI, which is for development.
func (p principal) byDefault(prefix string, trustNode bool, options azcore.ClientOptions) (azcore.TokenCredential, error) {
	switch {
	case !trustNode:
		return nil, fmt.Errorf("auth_method: default looks for an identity in the node's environment, which a plugin's configuration may not use: set it to client_secret, client_certificate, managed_identity or workload_identity, or have the node define the object")
	case p.secret != "":
		return p.clientSecret(prefix, options)
	case p.env("AZURE_FEDERATED_TOKEN_FILE") != "" && p.complete() == nil:
		return p.workloadIdentity("", trustNode, options)
	case p.clientID != "":
		return p.managedIdentity(options)
	}
	return azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: options, TenantID: p.tenantID})
}

var tenantID = regexp.MustCompile(`^[0-9A-Za-z.-]+$`)

// complete checks that an application is named.
func (p principal) complete() error {
	switch {
	case p.tenantID == "":
		return fmt.Errorf("tenant_id: it is empty; it must be the id of the Microsoft Entra tenant that the vault is in")
	case !tenantID.MatchString(p.tenantID):
		return fmt.Errorf("tenant_id: it must be an id as Microsoft Entra shows it, such as 72f988bf-86f1-41af-91ab-2d7cd011db47")
	case p.clientID == "":
		return fmt.Errorf("client_id: it is empty; it must be the application (client) id of who logs in")
	}
	return nil
}

// federated is a workload identity whose token file is looked for before each
// login: azidentity says of a missing one no more than the system's error.
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

// certificateFile is a client certificate in a file, which is read again before
// each login, so that it can be renewed in its place.
type certificateFile struct {
	path  string
	build func(pem []byte) (azcore.TokenCredential, error)

	mu   sync.Mutex
	pem  []byte
	cred azcore.TokenCredential // made of pem
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
		return nil, &securefile.Error{Err: fmt.Errorf("%s: %w", c.path, err), Remedy: "put the certificate and its key into the file"}
	}
	c.pem, c.cred = pem, cred
	return cred, nil
}
