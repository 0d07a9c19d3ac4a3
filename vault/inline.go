package vault

import "fmt"

// inlinePolicy says what a plugin's configuration may define: VAULT_AUTH_INLINE.
// Who may write that configuration is not always who runs the node.
type inlinePolicy string

const (
	inlineUnset    inlinePolicy = ""         // literals
	inlineLiterals inlinePolicy = "literals" // only what stands in it, or what Kong has resolved
	inlineTrusted  inlinePolicy = "trusted"  // all that an object of the node may
	inlineOff      inlinePolicy = "off"      // nothing
)

// definition is the inline object of c.
func (p inlinePolicy) definition(c Config, getenv func(string) string) (Definition, error) {
	d := Definition{HCV: c.HCV, Azure: c.Azure, Refs: c.Refs}
	if (d.HCV == nil) == (d.Azure == nil) {
		return d, fmt.Errorf("%w: exactly one of vault, hcv and azure must be set", ErrConfig)
	}
	d.Name = d.place()
	switch p {
	case inlineUnset, inlineLiterals:
		return d, nil
	case inlineTrusted:
		return d.trusted(getenv), nil
	case inlineOff:
		return d, fmt.Errorf("%w: config.hcv and config.azure are switched off on this node (VAULT_AUTH_INLINE=off): "+
			"name an object of the node in config.vault", ErrConfig)
	}
	return d, fmt.Errorf("%w: VAULT_AUTH_INLINE must be literals, trusted or off, and until it is, config.hcv and config.azure are switched off", ErrConfig)
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
