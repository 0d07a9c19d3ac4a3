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
	"kong-vault-auth/vault"
	"kong-vault-auth/vaultauth"
)

var update = flag.Bool("update", false, "write the README's tables instead of comparing them")

// TestTheReferenceIsWhatTheSchemaSays compares the tables of the README with
// the structs that Kong's schema and the defaults are made of. After a change
// of those, go test -run Reference -update . writes the tables anew.
func TestTheReferenceIsWhatTheSchemaSays(t *testing.T) {
	const readme = "README.md"
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	got := text
	for _, table := range []struct {
		name   string
		config any
	}{{"config", vaultauth.Config{}}, {"hcv", vault.HCV{}}, {"azure", vault.Azure{}}} {
		if got, err = replaceTable(got, table.name, reflect.TypeOf(table.config)); err != nil {
			t.Fatal(err)
		}
	}
	if bytes.Equal(got, text) {
		return
	}
	if !*update {
		t.Fatal("the README's tables are not what the configuration structs say: run go test -run Reference -update .")
	}
	if err := os.WriteFile(readme, got, 0o644); err != nil {
		t.Fatal(err)
	}
}

// replaceTable replaces what is between <!-- table NAME --> and <!-- end -->.
func replaceTable(text []byte, name string, config reflect.Type) ([]byte, error) {
	begin := []byte("<!-- table " + name + " -->\n")
	end := []byte("<!-- end -->")
	before, rest, ok := bytes.Cut(text, begin)
	if !ok {
		return nil, fmt.Errorf("the README has no %s", begin)
	}
	_, after, ok := bytes.Cut(rest, end)
	if !ok {
		return nil, fmt.Errorf("the README has no end after %s", begin)
	}
	fields, err := kongschema.Fields(config)
	if err != nil {
		return nil, err
	}
	table := "\n| field | type | default | |\n|---|---|---|---|\n"
	for _, f := range fields {
		table += row(f)
	}
	return slices.Concat(before, begin, []byte(table+"\n"), end, after), nil
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
