package vault

import (
	"fmt"
	"net/url"

	"kong-vault-auth/secretstore"
)

// inlineMode says what a plugin's configuration may define: VAULT_AUTH_INLINE.
type inlineMode string

const (
	inlineUnset    inlineMode = ""         // literals
	inlineLiterals inlineMode = "literals" // only what stands in it, or what Kong has resolved
	inlineTrusted  inlineMode = "trusted"  // all that an object of the node may
	inlineOff      inlineMode = "off"      // nothing
)

// inlinePolicy is what the node permits objects inside a plugin's configuration.
// Who may write that configuration is not always who runs the node.
type inlinePolicy struct {
	mode       inlineMode
	reach      secretstore.Reach // where they may connect
	identities bool              // they may log in as the node's Azure identities
	err        error             // a setting can't be read; nothing is permitted
}

// newInlinePolicy reads the policy from the environment.
func newInlinePolicy(getenv func(string) string) inlinePolicy {
	p := inlinePolicy{mode: inlineMode(getenv("VAULT_AUTH_INLINE"))}
	switch p.mode {
	case inlineUnset, inlineLiterals, inlineTrusted, inlineOff:
	default:
		p.err = p.unreadable("VAULT_AUTH_INLINE must be literals, trusted or off")
	}
	switch getenv("VAULT_AUTH_INLINE_IDENTITIES") {
	case "", "on":
		p.identities = true
	case "off":
	default:
		p.err = p.unreadable("VAULT_AUTH_INLINE_IDENTITIES must be on or off")
	}
	if hosts := getenv("VAULT_AUTH_INLINE_HOSTS"); hosts != "" {
		var err error
		if p.reach, err = secretstore.ParseReach(hosts); err != nil {
			p.err = p.unreadable("VAULT_AUTH_INLINE_HOSTS: " + err.Error())
		}
	}
	return p
}

func (inlinePolicy) unreadable(why string) error {
	return fmt.Errorf("%w: %s, and until that is corrected, config.hcv and config.azure are switched off", secretstore.ErrConfig, why)
}

// definition is the inline object of c.
func (p *inlinePolicy) definition(c Config, getenv func(string) string) (Definition, error) {
	d := Definition{HCV: c.HCV, Azure: c.Azure, Refs: c.Refs, Inline: true}
	if (d.HCV == nil) == (d.Azure == nil) {
		return d, fmt.Errorf("%w: exactly one of vault, hcv and azure must be set", secretstore.ErrConfig)
	}
	d.Name = d.place()
	switch {
	case p.err != nil:
		return d, p.err
	case p.mode == inlineOff:
		return d, fmt.Errorf("%w: config.hcv and config.azure are switched off on this node (VAULT_AUTH_INLINE=off): "+
			"name an object of the node in config.vault", secretstore.ErrConfig)
	case p.mode == inlineTrusted:
		return d.trusted(getenv), nil
	}
	return d, nil
}

// permit checks a valid inline object against the node's other settings.
func (p *inlinePolicy) permit(d Definition) error {
	if c := d.Azure; c != nil {
		if !p.identities && c.AuthMethod != "client_secret" && c.AuthMethod != "client_certificate" {
			return configError(d.Name, "auth_method", fmt.Errorf("%s logs in as an identity of the node, and VAULT_AUTH_INLINE_IDENTITIES=off "+
				"keeps those to objects that the node defines: use client_secret or client_certificate, or name an object of the node in config.vault", c.AuthMethod))
		}
		u, err := url.Parse(c.VaultURI)
		if err != nil {
			return configError(d.Name, "vault_uri", err) // it is valid
		}
		return p.permitHost(d, "vault_uri", u.Hostname())
	}
	if d.HCV.UnixSocket != "" {
		return nil // on a node that trusts everybody
	}
	return p.permitHost(d, "host", d.HCV.Host)
}

func (p *inlinePolicy) permitHost(d Definition, field, host string) error {
	if err := p.reach.Host(host); err != nil {
		return configError(d.Name, field, err)
	}
	return nil
}

// trusted makes the definition one of the node's, with what the node's
// environment adds. It leaves the plugin's own configuration as it is.
func (d Definition) trusted(getenv func(string) string) Definition {
	d.Node = true
	if d.Azure != nil {
		azure := *d.Azure
		azure.fallBack(getenv)
		d.Azure = &azure
		return d
	}
	hcv := *d.HCV
	hcv.fallBack(getenv)
	d.HCV = &hcv
	return d
}
