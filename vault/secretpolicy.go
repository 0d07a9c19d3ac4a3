package vault

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"kong-vault-auth/secretstore"
	"kong-vault-auth/securefile"
)

// SecretPolicy says which secrets the node hands out to references. The zero value
// permits all that a reference's vault can read, except credentials.
type SecretPolicy struct {
	limited bool
	rules   []secretRule
}

// secretRule permits secrets of one kind of vault.
type secretRule struct {
	Vault string   `yaml:"vault"`
	Place string   `yaml:"place"`
	Names []string `yaml:"names"`
}

const maxSecretPolicy = 1 << 20

// ReadSecretPolicy reads a policy file. An empty path is the zero policy.
//
//	secrets:
//	- vault: azure                        # or hcv
//	  place: https://contoso.vault.azure.net   # left out: any
//	  names: [pg, tls-*]                  # left out: all
func ReadSecretPolicy(path string) (SecretPolicy, error) {
	if path == "" {
		return SecretPolicy{}, nil
	}
	b, err := securefile.Read(path, securefile.Anybody, maxSecretPolicy)
	if err != nil {
		return SecretPolicy{}, err
	}
	var file struct {
		Secrets []secretRule `yaml:"secrets"`
	}
	d := yaml.NewDecoder(strings.NewReader(string(b)))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		return SecretPolicy{}, fmt.Errorf("%s: it should hold secrets: [{vault: azure, place: …, names: […]}]: %w", path, err)
	}
	for _, r := range file.Secrets {
		if r.Vault == "" {
			return SecretPolicy{}, fmt.Errorf("%s: a rule needs vault, azure or hcv", path)
		}
	}
	return SecretPolicy{limited: true, rules: file.Secrets}, nil
}

func (p SecretPolicy) check(c secretstore.Config, name string) error {
	if !p.limited {
		return nil
	}
	for _, r := range p.rules {
		if r.Vault == c.Kind() && r.placed(c) && r.named(name) {
			return nil
		}
	}
	return fmt.Errorf("no rule of VAULT_AUTH_SECRETS_POLICY names it (%s)", c.Place())
}

// placed reports whether the rule is about the place of a store, as Config.Place
// writes it behind the kind.
func (r *secretRule) placed(c secretstore.Config) bool {
	return r.Place == "" || strings.EqualFold(c.Kind()+" at "+strings.TrimRight(r.Place, "/"), strings.TrimRight(c.Place(), "/"))
}

// named reports whether a name, or the beginning of one before *, is the rule's.
func (r *secretRule) named(name string) bool {
	for _, pattern := range r.Names {
		if prefix, open := strings.CutSuffix(pattern, "*"); pattern == name || open && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return r.Names == nil
}
