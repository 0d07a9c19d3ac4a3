package vault

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"reflect"

	"kong-vault-auth/kongschema"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/snapshot"
)

// Definition is a vault object as it was configured.
type Definition struct {
	Name   string // for messages
	Config secretstore.Config

	// Node says that the object may use what belongs to the node, its environment and
	// files: the operator defined it, or trusts it as much (VAULT_AUTH_INLINE=trusted).
	Node bool
	// Inline says that the object is part of a plugin's configuration. The node's
	// limits on where such objects may connect apply to it, even if it is trusted.
	Inline bool
	// Kong says that the object is one of Kong's vaults, which Kong describes when it asks.
	Kong bool
	// Refs are the references that fields of an inline object were configured with, by
	// field, as the record's $refs has them. Config has what Kong has resolved them to,
	// and an empty string where it couldn't.
	Refs map[string]string

	// allowed says which configurations may name an object that the node defines.
	allowed allowed
	// loginRefs are the references of the login to secrets in other vaults of the node,
	// by field. Config lacks these fields until Secrets.resolveLogin has read them.
	loginRefs map[string]string
	// explicit are the fields that the definition of an object of the node sets, so that
	// they don't have their defaults.
	explicit []string
}

// limits are the settings that all kinds of store have. They are not part of the store's
// identity.
func (d *Definition) limits() *secretstore.Limits { return d.Config.Common() }

// snapshot is the file that keeps the store's cache for the next process.
func (d *Definition) snapshot() snapshot.File {
	l := d.limits()
	return snapshot.File{Path: l.SnapshotFile, KeyFile: l.SnapshotKeyFile, Store: d.identity()}
}

// identity is the store's identity as one string. Credential ids depend on it, so its
// format must never change.
func (d *Definition) identity() string {
	b, _ := json.Marshal(d.Config.Identity()) // strings can always be marshalled
	return string(b)
}

// digest distinguishes stores of the same identity that log in with different secrets
// or connect to the server differently.
func (d *Definition) digest(key []byte) [sha256.Size]byte {
	settings := valuesOf(d.Config)
	for _, field := range d.limitFields() {
		delete(settings, field)
	}
	return digestOf(key, settings)
}

// limitFields are the settings in which objects that share a store may differ.
func (d *Definition) limitFields() (names []string) {
	for _, f := range fieldsOf(d.limits()) {
		if f.Name != "base64_decode" { // the only limit that changes how the store is read
			names = append(names, f.Name)
		}
	}
	return names
}

// digestOf is a digest of settings. It is keyed, so that it doesn't reveal secrets.
func digestOf(key []byte, settings any) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, key)
	_ = json.NewEncoder(mac).Encode(settings) // decoded JSON can always be encoded
	mac.Sum(sum[:0])
	return sum
}

// valuesOf returns the values of settings, by field.
func valuesOf(config any) map[string]any {
	values := map[string]any{}
	b, _ := json.Marshal(config) // structs of strings, numbers and booleans can always be marshalled
	_ = json.Unmarshal(b, &values)
	return values
}

// fieldsOf returns the fields of settings.
func fieldsOf(config any) []kongschema.Field {
	fields, _ := kongschema.Fields(reflect.TypeOf(config)) // can't fail for the settings of a store, as its tests show
	return fields
}
