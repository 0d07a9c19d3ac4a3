package hashivault

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// Every field of a login can be set in Kong's vault hcv too, except those for objects
// of the node.
func TestKongsVaultHasEveryLogin(t *testing.T) {
	schema, err := os.ReadFile("../lua/kong/vaults/hcv/schema.lua")
	if err != nil {
		t.Fatal(err)
	}
	ofTheNode := []string{"auth_namespace", "token_file", "token_sink_file", "cert_auth_path"}
	for _, field := range Kind.Login {
		if has := strings.Contains(string(schema), "{ "+field+" = "); has == slices.Contains(ofTheNode, field) {
			t.Errorf("%s: in the schema: %t", field, has)
		}
	}
}
