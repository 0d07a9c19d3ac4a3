// Package impersonate stands in for the package of that name of Google's API
// client, which only the JWT auth method's Google Workspace provider uses.
package impersonate

import (
	"context"
	"errors"

	"golang.org/x/oauth2"
)

type CredentialsConfig struct {
	TargetPrincipal string
	Scopes          []string
	Subject         string
}

func CredentialsTokenSource(context.Context, CredentialsConfig, ...any) (oauth2.TokenSource, error) {
	return nil, errors.New("Google Workspace is not built in")
}
