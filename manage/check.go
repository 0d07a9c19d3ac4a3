package manage

import (
	"errors"
	"fmt"
	"hash/maphash"
	"strings"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// The errors about access tokens of a file that are repeated, or that the store can't
// distinguish.
var (
	errTwice    = errors.New("the file has this access token more than once: only the first is stored, or with --replace only the last")
	errSameName = errors.New("another access token differs from it in capitals only, and the names of the store's secrets ignore case: give one of the two credentials another access token")
)

// names finds access tokens of a file that would be stored in the same secret. It keeps
// only digests of them.
type names struct {
	writer secretstore.Writer
	seed   maphash.Seed
	seen   map[uint64]uint64 // by the secret's name: the access token
}

func newNames(w secretstore.Writer) *names {
	return &names{w, maphash.MakeSeed(), map[uint64]uint64{}}
}

// add returns an error if the access token can't be stored in addition to the earlier
// ones.
func (n *names) add(accessToken string) error {
	name, token := accessToken, maphash.String(n.seed, accessToken)
	if namer, ok := n.writer.(secretstore.Namer); ok {
		name, _ = namer.SecretName(accessToken)
		name = strings.ToLower(name)
	}
	key := maphash.String(n.seed, name)
	switch before, seen := n.seen[key]; {
	case !seen:
		n.seen[key] = token
		return nil
	case before == token:
		return errTwice
	}
	return errSameName
}

// warnings are about a credential that can be stored, but may not work as intended.
func (v *Vault) warnings(r *credential.Record) (all []string) {
	if !r.ExpiresAt.IsZero() && !v.Now().Before(r.ExpiresAt) {
		all = append(all, "expires_at: it has expired, so the plugin will refuse it")
	}
	if v.MaxTTL > 0 && r.TTL > v.MaxTTL {
		all = append(all, fmt.Sprintf("ttl: %v is more than the max_ttl of the vault object, %v, which counts instead", r.TTL, v.MaxTTL))
	}
	if namer, ok := v.Writer.(secretstore.Namer); ok {
		if name, isToken := namer.SecretName(r.AccessToken); !isToken {
			all = append(all, fmt.Sprintf("access_token: the store can't have it as a name, so the secret is called %s", name))
		}
	}
	return all
}
