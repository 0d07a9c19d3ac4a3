package vault

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"kong-vault-auth/cache"
	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// Secrets resolves references to secrets, through one login and one cache for each
// store, whoever asks. It is safe for concurrent use.
//
// Stores are those that the node defines for credentials too (Get), and those that
// Kong's own vault strategies ask about, with the settings of an entity or of
// kong.conf (Ask). Credentials are never handed out, see mayRead.
type Secrets struct {
	registry *Registry
	policy   *SecretPolicy

	snapshot secretSnapshot
	had      had

	mu     sync.Mutex
	stores map[liveKey]*secretStore
	closed bool
}

// Secrets is the resolver, which works until Close.
func (r *Registry) Secrets() *Secrets { return r.secrets }

func newSecrets(r *Registry, p *SecretPolicy) *Secrets {
	return &Secrets{registry: r, policy: p, stores: map[liveKey]*secretStore{}}
}

// Kong's meaning of the ttls of a vault object for secrets that aren't credentials.
const (
	kongResurrectTTL = 1e8 // seconds
	// kongRotation is Kong's vault_rotation_interval: how often a reference without
	// a ttl is read again by who asks by Get.
	kongRotation = 60 * time.Second
	// askedTTL is how long an answer to Ask serves others who ask the same: Kong caches
	// by itself, and asks when it wants to know, once for each key and worker.
	askedTTL = time.Second
	// secretDeadline is how long a lookup may take, a first login included.
	secretDeadline = 5 * time.Second
	// secretPatience is how long one waits if there is an earlier value.
	secretPatience = 2 * time.Second
)

// Ask is what a vault strategy of Kong's asks for.
type Ask struct {
	Vault    string            // the kind: azure, hcv
	Config   json.RawMessage   // of the vault entity or of kong.conf, as Kong has put it together
	Environ  map[string]string // what Kong's environment holds of the login
	Resource string            // the secret's name
	Version  int               // 0 and 1: the current one; 2: the one before
}

// Answer is a secret's value.
type Answer struct {
	Value string
	// TTL is what the strategy returns as ttl; nil: nothing, so that the object's
	// own holds.
	TTL *float64
}

// Get resolves a reference: to a variable of the environment, or to a secret in a
// vault object that the node defines, as "azure" or "hcv" by the environment or by
// its prefix in the vaults file. The value is never empty. Errors are those of Ask,
// and name the reference.
func (s *Secrets) Get(ctx context.Context, reference string) (string, error) {
	value, err := s.get(ctx, reference)
	if err != nil {
		return "", fmt.Errorf("%.200s: %w", reference, err)
	}
	return value, nil
}

func (s *Secrets) get(ctx context.Context, reference string) (string, error) {
	if ref, err := ParseReference(reference); err == nil && ref.Vault == "env" {
		return resolve(reference, s.registry.options.Getenv)
	}
	return s.getReferred(ctx, reference, s.policy)
}

// AskFor is what Kong's vault strategy would ask for a reference to an object of the
// node's. An object whose own login is in another vault is an error: that must be read
// first.
func (s *Secrets) AskFor(reference string) (ref Reference, a Ask, err error) {
	if ref, err = ParseReference(reference); err != nil {
		return ref, a, err
	}
	d, err := s.registry.node.definition(ref.Vault)
	if err != nil {
		return ref, a, err
	}
	if d.stored != nil {
		return ref, a, fmt.Errorf("%w: the login of %s is in another vault", secretstore.ErrConfig, ref.Vault)
	}
	values := valuesOf(d.Config)
	if v := ref.Options.Get("version"); v != "" {
		values["version"] = v
	}
	config, err := json.Marshal(values)
	return ref, Ask{Vault: d.Config.Kind(), Config: config, Resource: ref.Resource, Version: ref.Version}, err
}

// GetFor is Get for the configuration of a plugin, whose author need not be who runs the
// node: it reads no variables of the environment, where the node's own logins are, and
// an object of the vaults file only if the configuration may name it.
func (s *Secrets) GetFor(ctx context.Context, scope Scope, reference string) (string, error) {
	value, err := s.getFor(ctx, scope, reference)
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
	d, err := s.registry.node.definition(ref.Vault)
	if err == nil {
		err = d.Allowed.check(ref.Vault, scope)
	}
	if err != nil {
		return "", err
	}
	return s.getReferred(ctx, reference, s.policy)
}

// getReferred reads what a reference names of an object of the node's, if policy
// permits it.
func (s *Secrets) getReferred(ctx context.Context, reference string, policy *SecretPolicy) (string, error) {
	ref, d, err := s.referred(ctx, reference)
	if err != nil {
		return "", err
	}
	version, err := versionOf(ref.Version, ref.Options.Get("version"))
	if err != nil {
		return "", err
	}
	if err := s.mayRead(d, ref.Resource, policy); err != nil {
		return "", err
	}
	found, err := s.read(ctx, d, ref.Resource, version, policyFor(d))
	if err != nil {
		return "", err
	}
	return ref.Of(found.Value)
}

// referred is a reference, and the object of the node's that it names, with its login.
func (s *Secrets) referred(ctx context.Context, reference string) (ref Reference, d Definition, err error) {
	if ref, err = ParseReference(reference); err != nil {
		return ref, d, err
	}
	if d, err = s.registry.node.definition(ref.Vault); err == nil && d.stored != nil {
		d, err = s.complete(ctx, d)
	}
	return ref, d, err
}

// policyFor is how long secrets of an object of the node's are kept for Get.
func policyFor(d Definition) cache.Policy {
	limits := d.limits()
	p := cache.Policy{TTL: kongRotation, ResurrectTTL: secretstore.Seconds(kongResurrectTTL).Duration()}
	if slices.Contains(d.given, "ttl") && limits.TTL > 0 {
		p.TTL = limits.TTL.Duration()
	}
	if slices.Contains(d.given, "neg_ttl") {
		p.NegTTL = limits.NegTTL.Duration()
	}
	if slices.Contains(d.given, "resurrect_ttl") {
		p.ResurrectTTL = limits.ResurrectTTL.Duration()
	}
	return p
}

// definition is what the node defines under a name.
func (n *nodeObjects) definition(name string) (Definition, error) {
	n.registry.mu.Lock()
	defer n.registry.mu.Unlock()
	if d, ok := n.file[name]; ok {
		return d, nil
	}
	if d, ok := n.environment[name]; ok {
		return d, nil
	}
	return Definition{}, n.undefined(name)
}

func versionOf(number int, id string) (v secretstore.Version, err error) {
	switch {
	case id != "" && number != 0:
		return v, fmt.Errorf("%w: version= and # exclude each other", secretstore.ErrConfig)
	case number > 2:
		return v, fmt.Errorf("%w: #1 is the current version and #2 the one before; others have a name, as in ?version=NAME", secretstore.ErrConfig)
	}
	return secretstore.Version{Previous: number == 2, ID: id}, nil
}

// secretOptions are the settings of a reference's vault that aren't the store's.
type secretOptions struct {
	TTL          *secretstore.Seconds `json:"ttl"`
	NegTTL       secretstore.Seconds  `json:"neg_ttl"`
	ResurrectTTL *secretstore.Seconds `json:"resurrect_ttl"`
	Version      string               `json:"version"`
	DecodeBase64 bool                 `json:"decode_base64"` // an earlier name of base64_decode
}

// onlyKongs are fields that only the strategies know.
var onlyKongs = []string{"version", "decode_base64", "resurrect_deleted"}

// Ask answers a strategy of Kong's. Its errors are
//
//   - one that matches cache.ErrAbsent: there is no such secret, by the store's
//     own word, or it must not be used (any more);
//   - one that matches ErrForbidden: the node doesn't hand it out;
//   - one that matches secretstore.ErrConfig: the question can't be understood;
//   - any other: the store can't say, and nothing is cached.
func (s *Secrets) Ask(ctx context.Context, a Ask) (Answer, error) {
	d, o, err := s.asked(a)
	if err != nil {
		return Answer{}, err
	}
	version, err := versionOf(a.Version, o.Version)
	if err != nil {
		return Answer{}, err
	}
	p := cache.Policy{TTL: askedTTL, NegTTL: o.NegTTL.Duration(), ResurrectTTL: secretstore.Seconds(kongResurrectTTL).Duration()}
	if o.ResurrectTTL != nil {
		p.ResurrectTTL = o.ResurrectTTL.Duration()
	}
	if err := s.mayRead(d, a.Resource, s.policy); err != nil {
		return Answer{}, err
	}
	found, err := s.read(ctx, d, a.Resource, version, p)
	if err != nil {
		return Answer{}, err
	}
	s.had.note(answerTo(d, a.Resource, version))
	return Answer{Value: found.Value, TTL: ttlOf(o.TTL, found.Expires, time.Now())}, nil
}

// ttlOf is how long Kong may keep a value: the object's ttl, and not past the
// secret's end.
func ttlOf(ttl *secretstore.Seconds, expires, now time.Time) *float64 {
	var seconds *float64
	if ttl != nil {
		seconds = (*float64)(ttl)
	}
	if expires.IsZero() {
		return seconds
	}
	left := max(expires.Sub(now).Seconds(), 1)
	if seconds != nil && *seconds > 0 {
		left = min(left, *seconds)
	}
	return &left
}

// asked is the vault object that Kong describes.
func (s *Secrets) asked(a Ask) (d Definition, o secretOptions, err error) {
	kind, known := s.registry.kinds.named(a.Vault)
	if !known {
		return d, o, fmt.Errorf("%w: there is no vault %.40q, only %s", secretstore.ErrConfig, a.Vault, s.registry.kinds.list("", " and "))
	}
	values := map[string]any{}
	if json.Unmarshal(a.Config, &o) != nil || json.Unmarshal(a.Config, &values) != nil {
		return d, o, fmt.Errorf("%w: the settings of the vault %s can't be read", secretstore.ErrConfig, a.Vault)
	}
	for _, field := range onlyKongs {
		delete(values, field)
	}
	if o.DecodeBase64 {
		values["base64_decode"] = true
	}
	for _, name := range []string{"ttl", "neg_ttl", "resurrect_ttl"} { // they are Kong's, with other bounds
		delete(values, name)
	}
	maps.DeleteFunc(values, func(_ string, v any) bool { return v == nil || v == "" })
	c := kind.New()
	if err := fill(c, values); err != nil {
		return d, o, fmt.Errorf("%w of the vault %s: %w", secretstore.ErrConfig, a.Vault, err)
	}
	set := func(field string) bool { _, set := values[field]; return set || field == "host" }
	if err := c.FromEnvironment(set, s.environ(a)); err != nil {
		return d, o, err
	}
	d = Definition{Name: a.Vault, Config: c, Node: true, Kong: true}
	_, err = secretstore.Check(d.Name, c, secretstore.Origin{Node: true, Kong: true})
	return d, o, err
}

// environ is the environment that completes the settings of an ask: Kong's, as far
// as it was sent, and then this process's. The variables of Vault's own tools are
// left out: an entity says where a token from there would be sent.
func (s *Secrets) environ(a Ask) func(string) string {
	return func(name string) string {
		if strings.HasPrefix(name, "VAULT_") {
			return ""
		}
		return cmp.Or(a.Environ[name], s.registry.options.Getenv(name))
	}
}

// read reads a secret that mayRead permits through the cache of its store.
func (s *Secrets) read(ctx context.Context, d Definition, name string, v secretstore.Version, p cache.Policy) (secretstore.Secret, error) {
	var none secretstore.Secret
	p.LookupTimeout, p.StalePatience, p.ResurrectDeniedTTL = secretDeadline, secretPatience, p.ResurrectTTL
	store, done, err := s.use(d, p)
	if err != nil {
		return none, err
	}
	defer done()
	if err := store.secrets.CheckName(name); err != nil {
		return none, &SecretError{d.Name, name, explainSecret(&secretstore.Absent{Reason: secretstore.ReasonNotFound, Err: err})}
	}
	key := secretKey{name, v}.String()
	r, err := store.cache.Get(ctx, key, key, p, cache.Claim[secretstore.Secret]{})
	if err != nil {
		return none, &SecretError{d.Name, name, explainSecret(err)}
	}
	// The place may be one that mayRead doesn't recognize, by another of its addresses.
	if _, err := credential.Parse([]byte(r.Value.Value)); err == nil {
		return none, forbidden(d.Name, name, "it holds a credential, and references can't read credentials")
	}
	return r.Value, nil
}

// secretKey is what a secret is cached, and looked up, by.
type secretKey struct {
	Name    string
	Version secretstore.Version
}

func (k secretKey) String() string {
	b, _ := json.Marshal(k) // strings and a boolean can always be marshalled
	return string(b)
}

// SecretError says why there is no value for a reference.
type SecretError struct {
	Vault string // the kind of vault, or the object's name
	Name  string // the secret's
	Err   error
}

// Error names the vault and the secret.
func (e *SecretError) Error() string {
	return fmt.Sprintf("unable to retrieve secret %.200q from the vault %s: %v", e.Name, e.Vault, e.Err)
}

// Unwrap is the cause.
func (e *SecretError) Unwrap() error { return e.Err }

// absentSecrets says what the reasons of an Absent mean for a secret.
var absentSecrets = map[secretstore.AbsentReason]string{
	secretstore.ReasonNotFound: "there is no such secret",
	secretstore.ReasonDeleted:  "this version of it was deleted or destroyed",
	secretstore.ReasonDisabled: "it is disabled",
	secretstore.ReasonOutside:  "it is not between its activation and expiration dates",
	secretstore.ReasonDenied:   "this login may not read it, though it may read others",
	secretstore.ReasonUnusable: "it can't be used",
}

// explainSecret makes an error of the cache one for whoever wrote the reference.
func explainSecret(err error) error {
	var absent *secretstore.Absent
	var unavailable *cache.UnavailableError
	switch {
	case errors.As(err, &absent) && absent.Err != nil:
		return &explained{absentSecrets[absent.Reason] + ": " + absent.Err.Error(), absent}
	case errors.As(err, &absent):
		return &explained{absentSecrets[absent.Reason], absent}
	case errors.As(err, &unavailable):
		return unavailable.Err
	}
	return err
}

// explained is an error in other words.
type explained struct {
	text string
	error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.error }

// ErrForbidden is matched by errors about secrets that the node doesn't hand out.
var ErrForbidden = errors.New("this node doesn't hand out the secret")

func forbidden(vault, name, why string) error {
	return &SecretError{vault, name, fmt.Errorf("%w: %s", ErrForbidden, why)}
}

// mayRead says, by its error, that a secret must not be handed out: a credential
// could be there, or the policy doesn't name it.
func (s *Secrets) mayRead(d Definition, name string, policy *SecretPolicy) error {
	if object := s.registry.credentialsAt(d.Config, name); object != "" {
		return forbidden(d.Name, name, "credentials of the vault object "+object+" are kept there")
	}
	if err := policy.check(d.Config, name); err != nil {
		return forbidden(d.Name, name, err.Error())
	}
	return nil
}

// credentialsAt is the name of a vault object for credentials, in use or in the
// vaults file, that could keep one in a secret; empty: there is none.
func (r *Registry) credentialsAt(c secretstore.Config, name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, object := range slices.Sorted(maps.Keys(r.node.file)) {
		d := r.node.file[object]
		if d.Config.HoldsCredential(c, name) {
			return object
		}
	}
	for _, l := range r.lives {
		if l.config.HoldsCredential(c, name) {
			return l.name
		}
	}
	return ""
}
