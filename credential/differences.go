package credential

import (
	"bytes"
	"maps"
	"slices"
)

// notCompared are the fields without influence on a credential, and those of secrets,
// which are compared by what they accept.
var notCompared = []string{
	"created_at", "updated_at", "created_by",
	"secret_token", "secret_token_hash", "previous_secret_token", "previous_secret_token_hash", "previous_expires_at",
}

// Differences returns the names of the fields in which stored differs from wanted, sorted.
// When and by whom a record was written doesn't count, and neither does the form of a
// secret: a hash equals the secret token that it matches. Two hashes with different salts
// differ, since nobody can know. A previous secret counts only if wanted has one.
func Differences(stored, wanted *Record) []string {
	a, b := plainText.fields(stored), plainText.fields(wanted)
	var differ []string
	names := slices.Concat(slices.Collect(maps.Keys(a)), slices.Collect(maps.Keys(b)))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if !slices.Contains(notCompared, name) && !bytes.Equal(a[name], b[name]) {
			differ = append(differ, name)
		}
	}
	if !stored.Secret.same(wanted.Secret) {
		differ = append(differ, "secret_token")
	}
	if !wanted.Previous.IsZero() && (!stored.Previous.same(wanted.Previous) || !stored.PreviousExpiresAt.Equal(wanted.PreviousExpiresAt)) {
		differ = append(differ, "previous_secret_token")
	}
	return differ
}

// same reports whether two secrets accept the same secret token, as far as that can be
// known.
func (s Secret) same(other Secret) bool {
	switch {
	case s.Token != "" && other.Token != "":
		return s.Token == other.Token
	case s.Token != "":
		return other.Hash.Matches(s.Token)
	case other.Token != "":
		return s.Hash.Matches(other.Token)
	}
	return s.Hash == other.Hash
}
