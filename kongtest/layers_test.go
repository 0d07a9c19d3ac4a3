package kongtest

import (
	"os/exec"
	"strings"
	"testing"
)

func TestLayersImportOnlyLowerOnes(t *testing.T) {
	const root = "kong-vault-auth/"
	tests := map[string][]string{ // what a package may depend on
		"kongtest/internal/lua":   {},
		"kongtest/internal/nginx": {"kongtest/internal/lua"},
		"kongtest/schema":         {"kongtest/internal/lua"},
		"kongtest":                {"kongtest/internal/lua", "kongtest/internal/nginx"},
		"kongtest/gateway":        {"kongtest/internal/lua", "kongtest/internal/nginx", "kongtest/schema", "kongtest"},
	}
	for name, allowed := range tests {
		out, err := exec.Command("go", "list", "-deps", root+name).Output()
		if err != nil {
			t.Fatal(err)
		}
		permitted := map[string]bool{name: true}
		for _, p := range allowed {
			permitted[p] = true
		}
		for dep := range strings.FieldsSeq(string(out)) {
			if own, ok := strings.CutPrefix(dep, root); ok && !permitted[own] {
				t.Errorf("%s depends on %s", name, own)
			}
		}
	}
}
