package packaging

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/google/go-cmp/cmp"
)

// TestComposeForAzureFits: the override that docs/azure.md shows applies to the plugin server of
// docker-compose.yml, and sets everything that the plugin needs there.
func TestComposeForAzureFits(t *testing.T) {
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
	want := []string{"AZURE_CLIENT_SECRET", "KONG_VAULT_AZURE_CLIENT_ID", "KONG_VAULT_AZURE_TENANT_ID", "KONG_VAULT_AZURE_VAULT_URI", "VAULT_AUTH_LOG_LEVEL"}
	set := environment(project.Services["vault-auth"])
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(set))); diff != "" || set["AZURE_CLIENT_SECRET"] != "s3cret" {
		t.Errorf("the plugin server's environment: the secret is %q, and\n%s", set["AZURE_CLIENT_SECRET"], diff)
	}
}
