package secretstore

import (
	"context"
	"time"
)

// Secrets is a Store that can read secrets that hold no credentials: those that
// references such as {vault://azure/secret-name/foo} name.
type Secrets interface {
	// CheckName returns why no secret can have a name, or nil.
	CheckName(name string) error

	// Secret reads a version of the secret called name, which CheckName has
	// accepted. Neither path nor name_prefix, which are for credentials, is put
	// before it. Its outcomes are those of Store.Read.
	Secret(ctx context.Context, name string, v Version) (Secret, error)
}

// Version says which version of a secret is meant. The zero Version is the current
// one.
type Version struct {
	Previous bool   // the version directly before the current one
	ID       string // the store's own name of a version; empty: not given
}

// Secret is what a secret holds.
type Secret struct {
	// Value is the value of a secret of Azure's, and of one of Vault's the JSON
	// object of its fields.
	Value string
	// Expires is when the secret ends by itself, the zero time if never.
	Expires time.Time
}
