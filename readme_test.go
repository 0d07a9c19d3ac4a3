package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kong-vault-auth/azurevault"
	"kong-vault-auth/hashivault"
	"kong-vault-auth/kongschema"
	"kong-vault-auth/metrics"
	"kong-vault-auth/vaultauth"
	"kong-vault-auth/vaultsecrets"
)

var update = flag.Bool("update", false, "write the reference tables instead of comparing them")

// TestTheReferenceIsWhatTheCodeSays compares the tables of settings with the
// structs that Kong's schema and the defaults are made of, and the table of metrics
// with those that are served. After a change of these, go test -run Reference
// -update . rewrites the tables.
func TestTheReferenceIsWhatTheCodeSays(t *testing.T) {
	for _, table := range []struct {
		file, name, text string
	}{
		{"docs/configuration.md", "config", fields(t, vaultauth.Config{})},
		{"docs/configuration.md", "hcv", fields(t, hashivault.Config{})},
		{"docs/configuration.md", "azure", fields(t, azurevault.Config{})},
		{"docs/configuration.md", "secrets", fields(t, vaultsecrets.Config{})},
		{"docs/configuration.md", "authorization", fields(t, vaultsecrets.Authorization{})},
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

// link is one to a file of the repository, or to a heading: text, file, heading.
var link = regexp.MustCompile(`\[([^]]*)\]\(([^):#]*)(?:#([^)]*))?\)`)

// TestLinksLeadSomewhere: every relative link in a document leads to a file, and to
// a heading where it names one. A link to a Go file whose text is a name in code
// style, as in docs/architecture.md, leads to the file that declares a function of
// that name.
func TestLinksLeadSomewhere(t *testing.T) {
	links := 0
	for _, document := range documents(t) {
		for _, match := range link.FindAllStringSubmatch(read(t, document), -1) {
			links++
			if err := follow(document, match[1], match[2], match[3]); err != nil {
				t.Errorf("%s: [%s](%s): %v", document, match[1], match[2], err)
			}
		}
	}
	if links == 0 {
		t.Error("no link was found: is the pattern right?")
	}
}

// TestCommandsExist: a make command in a document has a target, and what go run
// starts from the root is a program.
func TestCommandsExist(t *testing.T) {
	shown := regexp.MustCompile("(?m)(?:`|^ {4,}|E2E_KONG=/path/to/kong )(?:make ([a-z]+)|go run \\./([a-z/]+))")
	makefile, commands := read(t, "Makefile"), 0
	for _, document := range documents(t) {
		for _, match := range shown.FindAllStringSubmatch(read(t, document), -1) {
			commands++
			if target := match[1]; target != "" && !strings.Contains(makefile, "\n"+target+":") {
				t.Errorf("%s: there is no target %s", document, target)
			}
			if program := match[2]; program != "" {
				if _, err := os.Stat(filepath.Join(program, "main.go")); err != nil {
					t.Errorf("%s: %v", document, err)
				}
			}
		}
	}
	if commands == 0 {
		t.Error("no command was found: is the pattern right?")
	}
}

// documents are the paths of all Markdown files.
func documents(t *testing.T) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == "bin" || path == "e2e/vaultd" || path == ".git" || path == ".cache"):
			return fs.SkipDir
		case filepath.Ext(path) == ".md":
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func follow(document, text, target, heading string) error {
	path := document
	if target != "" {
		path = filepath.Join(filepath.Dir(document), target)
	}
	info, err := os.Stat(path)
	if err != nil || info.IsDir() {
		return err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if heading != "" && !slices.Contains(headings(string(content)), heading) {
		return fmt.Errorf("there is no heading %q", heading)
	}
	name, isCode := strings.CutPrefix(text, "`")
	name = strings.TrimSuffix(name, "`")
	if isCode && filepath.Ext(path) == ".go" && !regexp.MustCompile(`(?m)^func (\(.*\) )?`+regexp.QuoteMeta(name)+`[(\[]`).Match(content) {
		return errors.New("the file has no function of that name")
	}
	return nil
}

// headings are a document's headings as links name them.
func headings(content string) (names []string) {
	unnamed := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for _, h := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(content, -1) {
		names = append(names, strings.ReplaceAll(unnamed.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-"))
	}
	return names
}
