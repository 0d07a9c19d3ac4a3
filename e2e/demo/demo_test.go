package main

import (
	"path/filepath"
	"strings"
	"testing"

	"kong-vault-auth/e2e/build"
)

func TestTourIsAsAnnounced(t *testing.T) {
	plugin := filepath.Join(t.TempDir(), "vault-auth")
	if err := build.Plugin(t.Context(), plugin, false); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"vault", "azure"} {
		t.Run(kind, func(t *testing.T) {
			var out strings.Builder
			s, err := setUp(t.Context(), &out, plugin, kind)
			if err != nil {
				t.Fatal(err)
			}
			defer s.stop()
			if err := s.tour(t.Context()); err != nil {
				t.Errorf("%v\n%s", err, out.String())
			}
		})
	}
}
