package vault

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"kong-vault-auth/cache"
	"kong-vault-auth/secretstore"
)

// Ask is a question of Kong's vault strategies azure and hcv.
type Ask struct {
	Vault    string            // the kind: azure, hcv
	Config   json.RawMessage   // the settings of the vault entity or of kong.conf, as Kong has merged them
	Environ  map[string]string // the variables of Kong's environment that belong to the login
	Resource string            // the secret's name
	Version  int               // 0 and 1: the current one; 2: the one before
}

// Answer is a secret's value.
type Answer struct {
	Value string
	// TTL is what the strategy returns as ttl. If it is nil, the strategy returns none,
	// and Kong uses the ttl of its vault.
	TTL *float64
}

// askedTTL is how long an answer to Ask serves the same questions. Kong caches by itself,
// and when it asks, it wants to know, once for each key and worker.
const askedTTL = time.Second

// askOptions are the settings of Kong's vaults that a store's configuration lacks, or has
// with other bounds.
type askOptions struct {
	TTL          *secretstore.Seconds `json:"ttl"`
	NegTTL       secretstore.Seconds  `json:"neg_ttl"`
	ResurrectTTL *secretstore.Seconds `json:"resurrect_ttl"`
	Version      string               `json:"version"`
	DecodeBase64 bool                 `json:"decode_base64"` // an earlier name of base64_decode
}

// askOnly are the fields of Ask.Config that are not for the store's configuration.
var askOnly = []string{"ttl", "neg_ttl", "resurrect_ttl", "version", "decode_base64", "resurrect_deleted"}

// Ask answers a question of Kong's. Its errors are
//
//   - one that matches cache.ErrAbsent: the store says that there is no such secret, or
//     that it must not be used (any more);
//   - one that matches ErrForbidden: the node doesn't hand the secret out;
//   - one that matches secretstore.ErrConfig: the question can't be understood;
//   - any other: the store can't answer, and nothing is cached.
func (s *Secrets) Ask(ctx context.Context, a Ask) (Answer, error) {
	d, o, err := s.definitionOf(a)
	if err != nil {
		return Answer{}, err
	}
	version, err := versionOf(a.Version, o.Version)
	if err != nil {
		return Answer{}, err
	}
	p := cache.Policy{TTL: askedTTL, NegTTL: o.NegTTL.Duration(), ResurrectTTL: kongResurrectTTL}
	if o.ResurrectTTL != nil {
		p.ResurrectTTL = o.ResurrectTTL.Duration()
	}
	found, err := s.read(ctx, d, a.Resource, version, p, s.policy)
	if err != nil {
		return Answer{}, err
	}
	s.knownToKong.add(answeredSecret(d, a.Resource, version))
	return Answer{Value: found.Value, TTL: ttlOf(o.TTL, found.Expires, time.Now())}, nil
}

// ttlOf is how long Kong may keep a value: the ttl of its vault, but not longer than the
// secret itself is valid.
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

// definitionOf is the definition of the vault that Kong describes.
func (s *Secrets) definitionOf(a Ask) (d Definition, o askOptions, err error) {
	kind, known := s.registry.kinds.named(a.Vault)
	if !known {
		return d, o, fmt.Errorf("%w: there is no vault %.40q, only %s", secretstore.ErrConfig, a.Vault, s.registry.kinds.list("", " and "))
	}
	values := map[string]any{}
	if json.Unmarshal(a.Config, &o) != nil || json.Unmarshal(a.Config, &values) != nil {
		return d, o, fmt.Errorf("%w: the settings of the vault %s can't be read", secretstore.ErrConfig, a.Vault)
	}
	for _, field := range askOnly {
		delete(values, field)
	}
	if o.DecodeBase64 {
		values["base64_decode"] = true
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

// environ is the environment that completes the settings of an Ask: the variables that
// were sent of Kong's, and else those of this process. The variables of Vault's own tools
// are left out: a token from there would be sent to whatever host an entity names.
func (s *Secrets) environ(a Ask) func(string) string {
	return func(name string) string {
		if strings.HasPrefix(name, "VAULT_") {
			return ""
		}
		return cmp.Or(a.Environ[name], s.registry.options.Getenv(name))
	}
}

// AskFor returns the Ask that Kong's vault strategy would send for a reference to an
// object of the node, so that a command can ask the plugin server. It is an error if the
// object's own login is in another vault, since that must be read first.
func (s *Secrets) AskFor(reference string) (ref Reference, a Ask, err error) {
	if ref, err = ParseReference(reference); err != nil {
		return ref, a, err
	}
	d, err := s.registry.node.find(ref.Vault)
	if err != nil {
		return ref, a, err
	}
	if d.loginRefs != nil {
		return ref, a, fmt.Errorf("%w: the login of %s is in another vault", secretstore.ErrConfig, ref.Vault)
	}
	values := valuesOf(d.Config)
	if v := ref.Options.Get("version"); v != "" {
		values["version"] = v
	}
	config, err := json.Marshal(values)
	return ref, Ask{Vault: d.Config.Kind(), Config: config, Resource: ref.Resource, Version: ref.Version}, err
}
