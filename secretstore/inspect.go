package secretstore

import (
	"context"
	"net/url"
)

// Inspector is a Store that an operator can have looked at step by step.
type Inspector interface {
	// Address is what the store connects to: https://host:port, or unix:///path.
	Address() *url.URL
	// Login waits until the store is logged in. An error is what Read's would be.
	Login(ctx context.Context) error
	// MayWrite reports whether the login may write credentials, which the plugin's
	// had better not.
	MayWrite(ctx context.Context) (bool, error)
}

// SingleUse is a Config of which some log in with what can be used only once.
type SingleUse interface {
	// SingleUse reports whether this one does, so that nobody but the plugin server may
	// log in with it.
	SingleUse() bool
}
