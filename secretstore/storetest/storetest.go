// Package storetest helps the packages of stores test their settings and writes.
package storetest

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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
