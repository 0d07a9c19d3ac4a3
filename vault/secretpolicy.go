package vault

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync/atomic"

	"go.yaml.in/yaml/v3"

	"kong-vault-auth/secretstore"
	"kong-vault-auth/securefile"
)

// SecretPolicy says which secrets may be read through references. A nil policy permits all
// that the vault's login can read. Credentials are never handed out. It is safe for
// concurrent use.
type SecretPolicy struct {
	path  string
	rules atomic.Pointer[[]secretRule]
}

// secretRule permits secrets of one kind of vault.
type secretRule struct {
	Vault string   `yaml:"vault"`
	Place string   `yaml:"place"`
	Names []string `yaml:"names"`
}

const maxSecretPolicy = 1 << 20

// ReadSecretPolicy reads a policy file. If path is empty, it returns nil.
//
//	secrets:
//	- vault: azure                        # or hcv
//	  place: https://contoso.vault.azure.net   # left out: any
//	  names: [pg, tls-*]                  # left out: all
func ReadSecretPolicy(path string) (*SecretPolicy, error) {
	if path == "" {
		return nil, nil
	}
	p := &SecretPolicy{path: path}
	return p, p.read()
}

// read replaces the rules by those in the file.
func (p *SecretPolicy) read() error {
	b, err := securefile.Read(p.path, securefile.Anybody, maxSecretPolicy)
	if err != nil {
		return err
	}
	var file struct {
		Secrets []secretRule `yaml:"secrets"`
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		return fmt.Errorf("%s: it should hold secrets: [{vault: azure, place: …, names: […]}]: %w", p.path, err)
	}
	for _, r := range file.Secrets {
		if r.Vault == "" {
			return fmt.Errorf("%s: a rule needs vault, azure or hcv", p.path)
		}
	}
	p.rules.Store(&file.Secrets)
	return nil
}

// Watch reads the file again when it has changed, until ctx ends. If it can't be used, that
// is logged, and the rules stay as they were.
func (p *SecretPolicy) Watch(ctx context.Context, log *slog.Logger) {
	if p == nil {
		return
	}
	w := securefile.NewWatch(p.path)
	p.reload(log) // the file may have changed since it was read
	w.Run(ctx, func(string) { p.reload(log) })
}

func (p *SecretPolicy) reload(log *slog.Logger) {
	before := p.rules.Load()
	if err := p.read(); err != nil {
		log.Error("the new policy for secrets can't be used; the old one stays in force until the file is corrected", "reason", "config", "err", err)
		return
	}
	if now := p.rules.Load(); !reflect.DeepEqual(*before, *now) {
		log.Info("the policy for secrets was read", "reason", "secrets_policy", "count", len(*now))
	}
}

// check returns an error if no rule permits a secret of the store c.
func (p *SecretPolicy) check(c secretstore.Config, name string) error {
	if p == nil {
		return nil
	}
	for _, r := range *p.rules.Load() {
		if r.Vault == c.Kind() && r.placed(c) && r.named(name) {
			return nil
		}
	}
	return fmt.Errorf("no rule of VAULT_AUTH_SECRETS_POLICY names it (%s)", c.Place())
}

// placed reports whether the rule is about the place of the store c. Config.Place has the
// kind before the place.
func (r *secretRule) placed(c secretstore.Config) bool {
	return r.Place == "" || strings.EqualFold(c.Kind()+" at "+strings.TrimRight(r.Place, "/"), strings.TrimRight(c.Place(), "/"))
}

// named reports whether the rule has a name. A * at the end of a name stands for any text.
func (r *secretRule) named(name string) bool {
	for _, pattern := range r.Names {
		if prefix, open := strings.CutSuffix(pattern, "*"); pattern == name || open && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return r.Names == nil
}
