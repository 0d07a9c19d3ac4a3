// Package credentialtest has what tests of secret stores need beside package
// credential.
package credentialtest

import (
	"iter"
	"strings"

	"kong-vault-auth/credential"
)

// AccessTokens yields every kind of access token that credential.CheckAccessToken
// accepts: each byte, each pair of bytes, pairs of punctuation within a longer token,
// and the longest tokens. A store must have a record or a definite no for
// each: one that it answers otherwise lets a stranger make it look broken.
func AccessTokens() iter.Seq[string] {
	const longest = credential.MaxAccessToken
	tokens := []string{strings.Repeat("a", longest), strings.Repeat("~.", longest/2)}
	for first := range 256 {
		tokens = append(tokens, string([]byte{byte(first)}))
		for second := range 256 {
			pair := string([]byte{byte(first), byte(second)})
			tokens = append(tokens, pair)
			if strings.Trim(pair, "._~-") == "" {
				tokens = append(tokens, "a"+pair+"a")
			}
		}
	}
	return func(yield func(string) bool) {
		for _, t := range tokens {
			if credential.CheckAccessToken(t) == nil && !yield(t) {
				return
			}
		}
	}
}
