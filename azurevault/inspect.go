package azurevault

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/google/uuid"
)

// Address implements secretstore.Inspector.
func (s *store) Address() *url.URL { return &url.URL{Scheme: "https", Host: s.endpoint.host} }

// Login implements secretstore.Inspector.
func (s *store) Login(ctx context.Context) error {
	_, err := s.login.wait(ctx)
	return err
}

// MayWrite implements secretstore.Inspector. Key Vault doesn't say what a login may do,
// so it is asked to change nothing about a secret that doesn't exist: whoever may write
// is told so with a 404, and whoever may not with a 403.
func (s *store) MayWrite(ctx context.Context) (bool, error) {
	r := &read{store: s, op: "ask what the login may do", needs: "get", requestID: uuid.NewString()}
	ctx = policy.WithHTTPHeader(ctx, http.Header{"X-Ms-Client-Request-Id": {r.requestID}})
	name := s.cfg.NamePrefix + strings.ToLower(rand.Text())
	_, err := withToken(ctx, s.login, func() (azsecrets.UpdateSecretPropertiesResponse, error) {
		return s.client.UpdateSecretProperties(ctx, name, "", azsecrets.UpdateSecretPropertiesParameters{}, nil)
	})
	var response *azcore.ResponseError
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &response) && response.StatusCode == http.StatusNotFound && response.ErrorCode == "SecretNotFound":
		return true, nil
	}
	if err = r.explain(ctx, err); isDenied(err) {
		return false, nil
	}
	return false, err
}
