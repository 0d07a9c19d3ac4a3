// Package storetest helps the packages of stores to test their settings, reads and
// writes.
package storetest

import (
	"errors"
	"iter"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/credential"
	"kong-vault-auth/kongschema"
	"kong-vault-auth/secretstore"
)

// Defaults applies the defaults of a store's settings to c, and then each edit that
// isn't nil.
func Defaults[C any](t testing.TB, c *C, edits ...func(*C)) *C {
	t.Helper()
	if err := kongschema.ApplyDefaults(c); err != nil {
		t.Fatal(err)
	}
	for _, edit := range edits {
		if edit != nil {
			edit(c)
		}
	}
	return c
}

// Check checks the settings of an object named x and compares the problems with want,
// which is empty if there are none.
func Check(t testing.TB, c secretstore.Config, o secretstore.Origin, want string) {
	t.Helper()
	_, err := secretstore.Check("x", c, o)
	got := ""
	if err != nil {
		if !errors.Is(err, secretstore.ErrConfig) {
			t.Errorf("%v does not match ErrConfig", err)
		}
		got = strings.TrimPrefix(err.Error(), `vault object configuration of "x": `)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// AccessTokens yields every kind of access token that credential.CheckAccessToken
// accepts: each byte, each pair of bytes, pairs of punctuation within a longer token,
// and the longest tokens. A store must have a record or a definite no for
// each: with any other answer, a stranger could make it look broken.
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
