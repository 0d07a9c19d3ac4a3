package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"kong-vault-auth/kongschema"
	"kong-vault-auth/metrics"
	"kong-vault-auth/vault"
	"kong-vault-auth/vaultauth"
)

var update = flag.Bool("update", false, "write the reference tables instead of comparing them")

// TestTheReferenceIsWhatTheCodeSays compares the tables of the README with the
// structs that Kong's schema and the defaults are made of, and that of metrics
// with those there are. After a change of these, go test -run Reference -update .
// writes the tables anew.
func TestTheReferenceIsWhatTheCodeSays(t *testing.T) {
	for _, table := range []struct {
		file, name, text string
	}{
		{"README.md", "config", fields(t, vaultauth.Config{})},
		{"README.md", "hcv", fields(t, vault.HCV{})},
		{"README.md", "azure", fields(t, vault.Azure{})},
		{"docs/metrics.md", "metrics", metrics.Table()},
	} {
		text, err := os.ReadFile(table.file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := replaceTable(text, table.name, table.text)
		switch {
		case err != nil:
			t.Errorf("%s: %v", table.file, err)
		case bytes.Equal(got, text):
		case !*update:
			t.Errorf("the table %s of %s is not what the code says: run go test -run Reference -update .", table.name, table.file)
		default:
			if err := os.WriteFile(table.file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// replaceTable replaces what is between <!-- table NAME --> and <!-- end -->.
func replaceTable(text []byte, name, table string) ([]byte, error) {
	begin := []byte("<!-- table " + name + " -->\n")
	end := []byte("<!-- end -->")
	before, rest, ok := bytes.Cut(text, begin)
	if !ok {
		return nil, fmt.Errorf("it has no %s", begin)
	}
	_, after, ok := bytes.Cut(rest, end)
	if !ok {
		return nil, fmt.Errorf("it has no end after %s", begin)
	}
	return slices.Concat(before, begin, []byte("\n"+table+"\n"), end, after), nil
}

// fields is the table of a configuration.
func fields(t *testing.T, config any) string {
	t.Helper()
	fields, err := kongschema.Fields(reflect.TypeOf(config))
	if err != nil {
		t.Fatal(err)
	}
	table := "| field | type | default | |\n|---|---|---|---|\n"
	for _, f := range fields {
		table += row(f)
	}
	return table
}

func row(f kongschema.Field) string {
	kind := string(f.Kind)
	if f.OneOf != nil {
		kind = "`" + strings.Join(f.OneOf, "`, `") + "`"
	}
	value := ""
	if f.Default != nil {
		b, err := json.Marshal(f.Default)
		if err != nil {
			b = []byte(err.Error())
		}
		value = "`" + strings.Trim(string(b), `"`) + "`"
	}
	doc := f.Doc
	if f.Referenceable {
		doc += " May be a `{vault://…}` reference."
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |\n", f.Name, kind, value, doc)
}
