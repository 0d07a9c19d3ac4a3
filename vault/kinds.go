package vault

import (
	"slices"
	"strings"

	"kong-vault-auth/secretstore"
)

// kinds are the kinds of secret store that there are.
type kinds []secretstore.Kind

// named is the kind of that name; ok is false if there is none.
func (k kinds) named(name string) (kind secretstore.Kind, ok bool) {
	i := slices.IndexFunc(k, func(kind secretstore.Kind) bool { return kind.Name == name })
	if i < 0 {
		return secretstore.Kind{}, false
	}
	return k[i], true
}

// list is the names, each with prefix before it, for messages.
func (k kinds) list(prefix, separator string) string {
	names := make([]string, len(k))
	for i := range k {
		names[i] = prefix + k[i].Name
	}
	return strings.Join(names, separator)
}
