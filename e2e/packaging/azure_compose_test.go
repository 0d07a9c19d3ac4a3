package packaging

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
)

// TestComposeForAzurePassesAllOn: the override that docs/azure.md shows fits
// docker-compose.yml, and nginx hands on all that it sets for the plugin.
func TestComposeForAzurePassesAllOn(t *testing.T) {
	shown := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(read(t, "docs/azure.md"))
	if shown == nil {
		t.Fatal("docs/azure.md shows no override")
	}
	override := filepath.Join(t.TempDir(), "docker-compose.override.yml")
	if err := os.WriteFile(override, []byte(shown[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	options, err := cli.NewProjectOptions([]string{file(t, "docker-compose.yml"), override}, cli.WithEnv([]string{"AZURE_CLIENT_SECRET=s3cret"}))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	set := environment(project.Services["kong"])
	passed := strings.Split(set["KONG_NGINX_MAIN_ENV"], "; env ")
	for name := range set {
		if (strings.HasPrefix(name, "KONG_VAULT_") || strings.HasPrefix(name, "AZURE_")) != slices.Contains(passed, name) {
			t.Errorf("%s: is set %q, passed on are %q", name, set[name], passed)
		}
	}
	if len(passed) != 4 || set["AZURE_CLIENT_SECRET"] != "s3cret" {
		t.Errorf("passed on are %q, the secret is %q", passed, set["AZURE_CLIENT_SECRET"])
	}
}
