package vault

import (
	"fmt"
	"reflect"

	"kong-vault-auth/secretstore"
)

// inlineMode is VAULT_AUTH_INLINE: what objects in a plugin's configuration may use.
type inlineMode string

const (
	inlineUnset    inlineMode = ""         // the same as literals
	inlineLiterals inlineMode = "literals" // only the values in it, literal or resolved by Kong
	inlineTrusted  inlineMode = "trusted"  // whatever an object of the node may use
	inlineOff      inlineMode = "off"      // such objects are refused
)

// inlinePolicy is what the node permits to objects inside a plugin's configuration.
// The author of that configuration is not always the operator of the node.
type inlinePolicy struct {
	fields     string // of a plugin's configuration that define objects, for messages
	mode       inlineMode
	reach      secretstore.Reach // where they may connect
	identities bool              // they may log in as identities of the node
	err        error             // a setting is invalid: nothing is permitted
}

// newInlinePolicy reads the policy from the environment.
func newInlinePolicy(kinds kinds, getenv func(string) string) inlinePolicy {
	p := inlinePolicy{fields: kinds.list("config.", ", "), mode: inlineMode(getenv("VAULT_AUTH_INLINE"))}
	switch p.mode {
	case inlineUnset, inlineLiterals, inlineTrusted, inlineOff:
	default:
		p.err = p.invalid("VAULT_AUTH_INLINE must be literals, trusted or off")
	}
	switch getenv("VAULT_AUTH_INLINE_IDENTITIES") {
	case "", "on":
		p.identities = true
	case "off":
	default:
		p.err = p.invalid("VAULT_AUTH_INLINE_IDENTITIES must be on or off")
	}
	if hosts := getenv("VAULT_AUTH_INLINE_HOSTS"); hosts != "" {
		var err error
		if p.reach, err = secretstore.ParseReach(hosts); err != nil {
			p.err = p.invalid("VAULT_AUTH_INLINE_HOSTS: " + err.Error())
		}
	}
	return p
}

func (p *inlinePolicy) invalid(why string) error {
	return fmt.Errorf("%w: %s, and until that is corrected, vault objects inside a plugin's configuration (%s) are switched off", secretstore.ErrConfig, why, p.fields)
}

// definition is the definition of the inline object in c.
func (p *inlinePolicy) definition(c Config, getenv func(string) string) (Definition, error) {
	if c.Inline == nil {
		return Definition{}, errNotOne
	}
	d := Definition{Name: c.Inline.Place(), Config: c.Inline, Refs: c.Refs, Inline: true}
	switch {
	case p.err != nil:
		return d, p.err
	case p.mode == inlineOff:
		return d, fmt.Errorf("%w: vault objects inside a plugin's configuration (%s) are switched off on this node (VAULT_AUTH_INLINE=off): "+
			"name an object of the node in config.vault", secretstore.ErrConfig, p.fields)
	case p.mode == inlineTrusted:
		return d.trusted(getenv)
	}
	return d, nil
}

// origin says what an inline object may use.
func (p *inlinePolicy) origin(d Definition) secretstore.Origin {
	return secretstore.Origin{Node: d.Node, Refs: d.Refs, Reach: p.reach, KeepIdentities: !p.identities}
}

// trusted returns a copy of the definition that is trusted like one of the node's, with
// settings that the node's environment adds. d itself, which belongs to the plugin's
// configuration, doesn't change.
func (d Definition) trusted(getenv func(string) string) (Definition, error) {
	copied := reflect.New(reflect.TypeOf(d.Config).Elem())
	copied.Elem().Set(reflect.ValueOf(d.Config).Elem())
	d.Config, d.Node = copied.Interface().(secretstore.Config), true
	// Kong has filled in the defaults, so the address is always set.
	return d, d.Config.FromEnvironment(func(string) bool { return true }, getenv)
}
