package secretstore

import (
	"log/slog"
	"time"
)

// Kind is one kind of secret store, as the store's package describes it.
type Kind struct {
	// Name is Kong's name for it: hcv. Vaults files use it, and variables such as
	// KONG_VAULT_HCV_HOST; it is also the name of the object that these define.
	Name string
	// Variable is a variable of the store's own tools that defines that object even
	// if none of Kong's variables is set. It may be empty.
	Variable string
	// New returns empty settings, without defaults.
	New func() Config
	// Open opens the store with settings that New has made and Check has accepted.
	// It does no network I/O before it returns.
	Open func(Config, OpenOptions) (Store, error)

	// Key is Store.Key of a store with these settings; nil: it is the access token.
	Key func(c Config, accessToken string) string
	// Where is how many elements at the beginning of Identity say where the store is; the
	// others say who logs in. 0 means all.
	Where int

	// ReadsPerSecond is how many reads the store allows; 0: it has no such limit.
	ReadsPerSecond float64
	// CreatesPerSecond is how many new secrets it allows; 0: it has no such limit.
	CreatesPerSecond float64

	// Login names the fields that say who logs in. An operator's command logs in as
	// the operator instead, see Operator.
	Login []string
	// Operator completes settings without those fields with the login of the operator
	// who runs a command: that of the store's own command line tool.
	Operator func(Config, Operator) error
	// OpenWriter opens the store for writing. It does no network I/O before it
	// returns.
	OpenWriter func(Config, OpenOptions) (Writer, error)
}

// Operator is the operator who runs a command.
type Operator struct {
	TokenFile string // from the command line; may be empty
	Getenv    func(string) string
}

// Config is the settings of a store: a pointer to a struct that embeds Limits and
// whose tags are Kong's schema, see kongschema.
type Config interface {
	// Kind is the Name of the Kind.
	Kind() string
	// Common returns the settings that all stores have.
	Common() *Limits
	// Place says where the store is, for messages about an object without its own
	// name. It contains no secret.
	Place() string
	// Identity distinguishes stores: the kind, the address, the path of the
	// credentials and the identity that logs in. It is the same on every node and
	// contains no secret. Credential ids and snapshots depend on it, so its format
	// must never change.
	Identity() []string
	// HoldsCredential reports whether the secret called name, in the store that other
	// describes, could hold a credential of this object. other is of the same kind.
	HoldsCredential(other Config, name string) bool
	// FromEnvironment completes an object that the node defines with the variables
	// of the store's own tools. set reports the fields that the object itself sets.
	FromEnvironment(set func(field string) bool, getenv func(string) string) error
	// Check adds the settings' problems, beyond the rules of their tags, to p. It
	// does no I/O.
	Check(p *Problems)
}

// Seconds is a duration in Kong's notation: a number of seconds, possibly with a
// fraction.
type Seconds float64

// Duration converts it to Go's type.
func (s Seconds) Duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }

// Limits are the settings that all kinds of vault object share. They are not part of
// a store's identity: editing them never empties its cache.
type Limits struct {
	TTL                 Seconds `json:"ttl" kong:"default=60;between=0,1e8" doc:"Seconds a credential is served from memory before it is read again, unless its record says otherwise. 0 means max_ttl."`
	MaxTTL              Seconds `json:"max_ttl" kong:"default=3600;between=1,1e8" doc:"Cap, in seconds, on the ttl that a record may ask for."`
	NegTTL              Seconds `json:"neg_ttl" kong:"default=5;between=0,1e8" doc:"Seconds for which an unknown access token is remembered as unknown."`
	ResurrectTTL        Seconds `json:"resurrect_ttl" kong:"default=3600;between=0,1e8" doc:"Seconds past its ttl for which a credential is still honoured while the store can't answer."`
	ResurrectDeniedTTL  Seconds `json:"resurrect_denied_ttl" kong:"default=300;between=0,1e8" doc:"The same where the store answers, and refuses this login, or all that it asks for: a token was revoked, a policy, role or secret id taken away. The smaller of the two counts."`
	MaxLookupsPerSecond int     `json:"max_lookups_per_second" kong:"default=100;between=1,100000" doc:"Budget of lookups per store that find nothing; a lookup that finds a record returns its permit."`
	RevocationInterval  Seconds `json:"revocation_interval" kong:"default=0;between=0,1e8" doc:"Seconds between listings of the store, by which credentials that are gone are dropped before their ttl has passed. 0 means off."`
	SnapshotFile        string  `json:"snapshot_file" doc:"File that keeps what is cached, sealed, for a start while the store can't answer. Only on objects that the node defines."`
	SnapshotKeyFile     string  `json:"snapshot_key_file" doc:"File, in another folder, that holds the 32 bytes that seal it, in base64 or hex. Only on objects that the node defines."`
	Base64Decode        bool    `json:"base64_decode" doc:"Decode the stored secret token (hcv) or the stored value (azure) from base64 before use."`
}

// Common returns the limits, so that structs that embed them implement this part of
// Config.
func (l *Limits) Common() *Limits { return l }

// OpenOptions is what a store needs in addition to its configuration.
type OpenOptions struct {
	Name      string       // the vault object's name, for messages
	Identity  string       // the store's identity, for fingerprints
	UserAgent string       // sent with each request, kong-vault-auth/VERSION
	TrustNode bool         // the node defined the object: its files may be read
	Kong      bool         // Kong describes the object, as one of its vaults
	Logger    *slog.Logger // for what happens in the background
	Reach     Reach        // where the store may connect
}
