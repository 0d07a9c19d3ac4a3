package azurevault

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

// Address implements secretstore.Inspector.
func (s *store) Address() *url.URL { return &url.URL{Scheme: "https", Host: s.endpoint.host} }

// Login implements secretstore.Inspector.
func (s *store) Login(ctx context.Context) error {
	_, err := s.login.wait(ctx)
	return err
}

// MayWrite implements secretstore.Inspector. Key Vault can't be asked what a login may
// do, so this requests an empty change to a secret that doesn't exist: the answer is 404
// for a login that may write, and 403 for one that may not.
func (s *store) MayWrite(ctx context.Context) (bool, error) {
	ctx, r := s.begin(ctx, read{op: "ask what the login may do", needs: "get"})
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
