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

	// Node says that whoever runs the node has defined the object, in a file or
	// the environment. What a plugin's configuration defines may name no files,
	// and gets nothing that is the node's.
	Node bool
	// Inline says that it stands in a plugin's configuration, so that what the node
	// says of where those may connect concerns it, also if they are trusted.
	Inline bool
	// Allowed says which configurations may name an object of the node's.
	Allowed Allowed
	// given are the fields that an object of the node's sets itself.
	given []string
	// Refs are the references that fields of an inline object were configured
	// with, by field, as the record's $refs has them. Kong hands over what it
	// resolved them to, and an empty string where it couldn't.
	Refs map[string]string
}

// limits are the settings that are no part of the store.
func (d *Definition) limits() *secretstore.Limits { return d.Config.Common() }

// snapshot is where the cache of the store is kept for the next process.
func (d *Definition) snapshot() snapshot.File {
	l := d.limits()
	return snapshot.File{Path: l.SnapshotFile, KeyFile: l.SnapshotKeyFile, Store: d.identity()}
}

// identity is the store's identity in one string. Credential ids are made of it,
// so how it is written must never change.
func (d *Definition) identity() string {
	b, _ := json.Marshal(d.Config.Identity()) // strings can always be marshalled
	return string(b)
}

// digest tells stores of one identity apart that must not be mixed up: those
// that log in with another secret, or speak to the server in another way. It is
// of use only under key.
func (d *Definition) digest(key []byte) (sum [sha256.Size]byte) {
	settings := valuesOf(d.Config)
	for _, f := range fieldsOf(d.limits()) {
		if f.Name != "base64_decode" { // the only one that says how the store is read
			delete(settings, f.Name)
		}
	}
	mac := hmac.New(sha256.New, key)
	_ = json.NewEncoder(mac).Encode(settings) // it was JSON before
	mac.Sum(sum[:0])
	return sum
}

// valuesOf is what the fields of settings are set to.
func valuesOf(config any) map[string]any {
	values := map[string]any{}
	b, _ := json.Marshal(config) // structs of strings, numbers and booleans can always be marshalled
	_ = json.Unmarshal(b, &values)
	return values
}

// fieldsOf is the fields of settings.
func fieldsOf(config any) []kongschema.Field {
	fields, _ := kongschema.Fields(reflect.TypeOf(config)) // can't fail for the settings of a store: its tests see to it
	return fields
}
