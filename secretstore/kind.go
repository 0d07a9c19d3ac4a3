package secretstore

import "log/slog"

// Kind is one kind of secret store, as the package of the store describes it.
type Kind struct {
	// Name is what Kong calls it: hcv. It stands in a vaults file and in the
	// names of variables such as KONG_VAULT_HCV_HOST, and the object that these
	// define is called the same.
	Name string
	// Variable is one of the store's own that defines that object even if no
	// variable of Kong's is set. Empty: there is none.
	Variable string
	// New makes settings in which nothing is set, not even defaults.
	New func() Config
	// Open opens the store with settings that New has made and Check has accepted.
	// It does no network I/O before it returns.
	Open func(Config, OpenOptions) (Store, error)

	// Login names the fields that say who logs in. An operator's command doesn't
	// log in as the plugin does, see Operator.
	Login []string
	// Operator gives settings in which no field of Login is set the login of the
	// operator who runs a command: that of the store's own command line tool.
	Operator func(Config, Operator) error
	// OpenWriter opens the store to write to it. It does no network I/O before it
	// returns.
	OpenWriter func(Config, OpenOptions) (Writer, error)
}

// Operator is who runs a command.
type Operator struct {
	TokenFile string // that the command line names; empty: none
	Getenv    func(string) string
}

// Config is the settings of a store: a pointer to a struct that embeds Limits and
// whose tags are Kong's schema, see kongschema.
type Config interface {
	// Kind is the Name of the Kind.
	Kind() string
	// Common is the settings that all stores have.
	Common() *Limits
	// Place says where the store is, for messages about an object without a name
	// of its own. It holds no secret.
	Place() string
	// Identity tells stores apart: the kind, the address, the place of the
	// credentials in it and who logs in. It is the same on every node and holds no
	// secret. Credential ids and snapshots depend on it, so how it is written must
	// never change.
	Identity() []string
	// HoldsCredential reports whether a credential of this object could be kept in
	// the secret called name of the store that other, of the same kind, describes.
	HoldsCredential(other Config, name string) bool
	// FromEnvironment adds what the variables of the store's own tools hold to an
	// object of the node's. set reports the fields that the object itself sets.
	FromEnvironment(set func(field string) bool, getenv func(string) string) error
	// Check adds what is wrong with the settings, beside what their tags say, to
	// p. It asks nobody and reads no file.
	Check(p *Problems)
}

// OpenOptions is what a store needs beside its own configuration.
type OpenOptions struct {
	Name      string       // the vault object's name, for messages
	Identity  string       // the store's identity, for fingerprints
	UserAgent string       // sent with each request, kong-vault-auth/VERSION
	TrustNode bool         // the node defined the object: its files may be read
	Logger    *slog.Logger // for what happens in the background
	Reach     Reach        // where the store may connect
}
