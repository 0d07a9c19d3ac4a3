// Package option stands in for the package of that name of Google's API
// client.
package option

import "golang.org/x/oauth2"

func WithUserAgent(string) any { return nil }

func WithTokenSource(oauth2.TokenSource) any { return nil }
