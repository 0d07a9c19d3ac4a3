package credential

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// leakRules are the patterns in deploy/leaks, and how each tool uses it.
func leakRules(t *testing.T) map[string]*regexp.Regexp {
	t.Helper()
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("..", "deploy", "leaks", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	gitleaks := regexp.MustCompile(`(?m)^regex = '''(.*)'''$`).FindSubmatch(read("gitleaks.toml"))
	var trufflehog struct {
		Detectors []struct{ Regex map[string]string }
	}
	var github struct {
		Secret string `yaml:"secret format"`
		Before string `yaml:"before secret"`
		After  string `yaml:"after secret"`
	}
	for name, into := range map[string]any{"trufflehog.yaml": &trufflehog, "github-custom-pattern.yaml": &github} {
		if err := yaml.Unmarshal(read(name), into); err != nil {
			t.Fatal(err)
		}
	}
	if gitleaks == nil || len(trufflehog.Detectors) != 1 || github.Secret == "" {
		t.Fatal("a rule is missing")
	}
	return map[string]*regexp.Regexp{
		"gitleaks":   regexp.MustCompile(`()(` + string(gitleaks[1]) + `)`),
		"trufflehog": regexp.MustCompile(`()` + trufflehog.Detectors[0].Regex["token"]),
		"GitHub":     regexp.MustCompile(`(` + github.Before + `)(` + github.Secret + `)(?:` + github.After + `)`),
	}
}

func TestLeakedTokensAreFound(t *testing.T) {
	for tool, rule := range leakRules(t) {
		for range 100 {
			access, secret, err := Generate(Prefix)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range []string{
				secret,
				"export SECRET=" + secret + "\n",
				`{"access_token":"` + access + `","secret_token":"` + secret + `"}`,
				"curl -H 'secret_token: " + secret + "' https://api.example.com",
				"https://api.example.com/?secret_token=" + secret + "&a=b",
				"secret_token: " + secret + ".",
			} {
				var found []string
				for _, m := range rule.FindAllStringSubmatch(text, -1) {
					found = append(found, m[2])
				}
				if len(found) != strings.Count(text, Prefix+"_") || found[len(found)-1] != secret {
					t.Fatalf("%s finds %q in %s", tool, found, text)
				}
			}
		}
	}
}

func TestNothingElseIsTakenForALeakedToken(t *testing.T) {
	bare, _, err := Generate("")
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := Generate("acme")
	if err != nil {
		t.Fatal(err)
	}
	for tool, rule := range leakRules(t) {
		for _, text := range []string{
			bare, other, "x" + Prefix + "_" + bare + "_123456", Prefix + "_" + bare, Prefix + "_" + bare + "_1234567", Prefix + "_" + bare + "_12345",
			Prefix + "_" + bare + "_123456_x", "kva_<32 random characters>_<checksum>", "kva_version_2_of_the_protocol_is_here_123456",
			"the token begins with kva_", hashOfRight, saltedHash, consumerID,
		} {
			if m := rule.FindString(text); m != "" {
				t.Errorf("%s finds %q in %q", tool, m, text)
			}
		}
	}
}

// The rules must not find what this repository itself shows.
func TestExamplesAreNotTakenForLeakedTokens(t *testing.T) {
	for _, name := range []string{"docs/credentials.md", "README.md", "CHANGELOG.md"} {
		b, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		for tool, rule := range leakRules(t) {
			if m := rule.Find(b); m != nil {
				t.Errorf("%s finds %s in %s", tool, m, name)
			}
		}
	}
}
