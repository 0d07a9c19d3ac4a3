package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"kong-vault-auth/cache"
	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// Secrets resolves references to secrets. All callers share one login and one cache per
// store. It is safe for concurrent use.
//
// Get and GetFor read from the vault objects that the node defines. Ask reads from the
// vaults that Kong describes, with the settings of an entity or of kong.conf. Credentials
// are never handed out, see mayRead.
type Secrets struct {
	registry    *Registry
	policy      *SecretPolicy
	snapshot    secretSnapshot
	knownToKong knownToKong

	mu     sync.Mutex
	stores map[storeKey]*secretStore
	closed bool
}

// Secrets is the resolver of references. It works until Close.
func (r *Registry) Secrets() *Secrets { return r.secrets }

func newSecrets(r *Registry, p *SecretPolicy) *Secrets {
	return &Secrets{registry: r, policy: p, stores: map[storeKey]*secretStore{}}
}

const (
	// kongRotation is Kong's vault_rotation_interval: after that time, a secret of a
	// vault without a ttl is read again.
	kongRotation = 60 * time.Second
	// kongResurrectTTL is Kong's resurrect_ttl.
	kongResurrectTTL = 100_000_000 * time.Second
	// secretDeadline is how long a lookup may take, a first login included.
	secretDeadline = 5 * time.Second
	// secretPatience is how long a lookup is waited for if there is an older value.
	secretPatience = 2 * time.Second
)

// Get resolves a reference to a variable of the environment, or to a secret in a vault
// object that the node defines. Such an object is named azure or hcv if the environment
// defines it, and by its prefix if the vaults file does. The value is never empty. Errors
// are those of Ask, with the reference.
func (s *Secrets) Get(ctx context.Context, reference string) (string, error) {
	var value string
	ref, err := ParseReference(reference)
	switch {
	case err == nil && ref.Vault == "env":
		value, err = resolveEnv(reference, s.registry.options.Getenv)
	default:
		value, err = s.readReference(ctx, reference, s.policy)
	}
	return named(reference, value, err)
}

// GetFor is Get for a plugin's configuration, whose author need not be the operator of
// the node. It reads no variables of the environment, which has the node's own logins, and
// an object of the vaults file only if the configuration may name it.
func (s *Secrets) GetFor(ctx context.Context, scope Scope, reference string) (string, error) {
	value, err := s.getFor(ctx, scope, reference)
	return named(reference, value, err)
}

// named adds the reference to the error about it.
func named(reference, value string, err error) (string, error) {
	if err != nil {
		return "", fmt.Errorf("%.200s: %w", reference, err)
	}
	return value, nil
}

func (s *Secrets) getFor(ctx context.Context, scope Scope, reference string) (string, error) {
	ref, err := ParseReference(reference)
	switch {
	case err != nil:
		return "", err
	case ref.Vault == "env":
		return "", forbidden(ref.Vault, ref.Resource, "a plugin's configuration can't name variables of the plugin server's environment")
	}
	d, err := s.registry.node.find(ref.Vault)
	if err == nil {
		err = d.allowed.check(ref.Vault, scope)
	}
	if err != nil {
		return "", err
	}
	return s.readReference(ctx, reference, s.policy)
}

// readReference reads what a reference to an object of the node stands for, if policy
// permits it.
func (s *Secrets) readReference(ctx context.Context, reference string, policy *SecretPolicy) (string, error) {
	ref, d, err := s.target(ctx, reference)
	if err != nil {
		return "", err
	}
	version, err := versionOf(ref.Version, ref.Options.Get("version"))
	if err != nil {
		return "", err
	}
	found, err := s.read(ctx, d, ref.Resource, version, policyFor(d), policy)
	if err != nil {
		return "", err
	}
	return ref.Of(found.Value)
}

// target parses a reference, and returns the object of the node that it names, with its
// login.
func (s *Secrets) target(ctx context.Context, reference string) (ref Reference, d Definition, err error) {
	if ref, err = ParseReference(reference); err != nil {
		return ref, d, err
	}
	if d, err = s.registry.node.find(ref.Vault); err == nil && d.loginRefs != nil {
		d, err = s.resolveLogin(ctx, d)
	}
	return ref, d, err
}

// find is what the node defines under a name.
func (n *nodeObjects) find(name string) (Definition, error) {
	n.registry.mu.Lock()
	defer n.registry.mu.Unlock()
	if d, defined := n.definition(name); defined {
		return d, nil
	}
	return Definition{}, n.undefined(name)
}

// policyFor is how long secrets of an object of the node are cached: as long as Kong
// would, unless the object's definition says otherwise.
func policyFor(d Definition) cache.Policy {
	limits := d.limits()
	p := cache.Policy{TTL: kongRotation, ResurrectTTL: kongResurrectTTL}
	if slices.Contains(d.explicit, "ttl") && limits.TTL > 0 {
		p.TTL = limits.TTL.Duration()
	}
	if slices.Contains(d.explicit, "neg_ttl") {
		p.NegTTL = limits.NegTTL.Duration()
	}
	if slices.Contains(d.explicit, "resurrect_ttl") {
		p.ResurrectTTL = limits.ResurrectTTL.Duration()
	}
	return p
}

// versionOf is the version that a reference names by #number or by ?version=id.
func versionOf(number int, id string) (v secretstore.Version, err error) {
	switch {
	case id != "" && number != 0:
		return v, fmt.Errorf("%w: version= and # exclude each other", secretstore.ErrConfig)
	case number > 2:
		return v, fmt.Errorf("%w: #1 is the current version and #2 the one before; others have a name, as in ?version=NAME", secretstore.ErrConfig)
	}
	return secretstore.Version{Previous: number == 2, ID: id}, nil
}

// read reads a secret through the cache of its store, if mayRead permits it.
func (s *Secrets) read(ctx context.Context, d Definition, name string, v secretstore.Version, p cache.Policy, policy *SecretPolicy) (secretstore.Secret, error) {
	var none secretstore.Secret
	if err := s.mayRead(d, name, policy); err != nil {
		return none, err
	}
	p.LookupTimeout, p.StalePatience, p.ResurrectDeniedTTL = secretDeadline, secretPatience, p.ResurrectTTL
	store, done, err := s.acquire(d, p)
	if err != nil {
		return none, err
	}
	defer done()
	if err := store.secrets.CheckName(name); err != nil {
		return none, &secretError{d.Name, name, explainSecret(&secretstore.Absent{Reason: secretstore.ReasonNotFound, Err: err})}
	}
	key := secretKey{name, v}.String()
	r, err := store.cache.Get(ctx, key, key, p, cache.Claim[secretstore.Secret]{})
	if err != nil {
		return none, &secretError{d.Name, name, explainSecret(err)}
	}
	// mayRead can't recognize a place of credentials that is reached by another address.
	if _, err := credential.Parse([]byte(r.Value.Value)); err == nil {
		return none, forbidden(d.Name, name, "it holds a credential, and references can't read credentials")
	}
	return r.Value, nil
}

// secretKey is what a secret is cached and looked up by.
type secretKey struct {
	Name    string
	Version secretstore.Version
}

func (k secretKey) String() string {
	b, _ := json.Marshal(k) // strings and a boolean can always be marshalled
	return string(b)
}

// mayRead returns an error if a secret must not be handed out: it is in a place for
// credentials, or no rule of the policy permits it.
func (s *Secrets) mayRead(d Definition, name string, policy *SecretPolicy) error {
	if object := s.registry.credentialsAt(d.Config, name); object != "" {
		return forbidden(d.Name, name, "credentials of the vault object "+object+" are kept there")
	}
	if err := policy.check(d.Config, name); err != nil {
		return forbidden(d.Name, name, err.Error())
	}
	return nil
}

// credentialsAt is the vault object that could keep a credential in a secret of the store
// c, or an empty string if there is none. Objects in use count, and those of the vaults
// file.
func (r *Registry) credentialsAt(c secretstore.Config, name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, object := range slices.Sorted(maps.Keys(r.node.file)) {
		if r.node.file[object].Config.HoldsCredential(c, name) {
			return object
		}
	}
	for _, cs := range r.stores {
		if cs.config.HoldsCredential(c, name) {
			return cs.name
		}
	}
	return ""
}
