package packaging

import (
	"path"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"kong-vault-auth/secretsocket"
)

// TestSecretsSocketIsWhereKongsVaultsAsk: the folder that Kong and the plugin server share holds
// the secrets socket too, at the vaults' default path.
func TestSecretsSocketIsWhereKongsVaultsAsk(t *testing.T) {
	set, _ := kongConf(t)
	plugin := set["pluginserver_vault_auth_socket"]
	socket, err := secretsocket.Path("", plugin)
	if err != nil || path.Dir(socket) != path.Dir(plugin) {
		t.Fatalf("the secrets socket is %s, %v; the shared folder that of %s", socket, err, plugin)
	}
	if !strings.Contains(read(t, "lua/kong/vaults/vault_auth_socket.lua"), `"`+socket+`"`) {
		t.Errorf("the vaults don't ask at %s", socket)
	}
}

// TestKongVaultIsValid: the custom resource that docs/secrets.md shows has the form that Kong's
// Ingress Controller reads, and only fields of the vault.
func TestKongVaultIsValid(t *testing.T) {
	shown := regexp.MustCompile("(?s)```yaml\n(apiVersion.*?)```").FindStringSubmatch(read(t, "docs/secrets.md"))
	if shown == nil {
		t.Fatal("docs/secrets.md shows no KongVault")
	}
	var v struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Name        string            `json:"name"`
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
		Spec struct {
			Backend     string         `json:"backend"`
			Prefix      string         `json:"prefix"`
			Description string         `json:"description"`
			Tags        []string       `json:"tags"`
			Config      map[string]any `json:"config"`
		} `json:"spec"`
	}
	if err := yaml.UnmarshalStrict([]byte(shown[1]), &v); err != nil {
		t.Fatal(err)
	}
	if v.APIVersion != "configuration.konghq.com/v1alpha1" || v.Kind != "KongVault" || v.Metadata.Name == "" || v.Metadata.Annotations["kubernetes.io/ingress.class"] == "" || v.Spec.Prefix == "" || len(v.Spec.Config) == 0 {
		t.Errorf("%+v", v)
	}
	schema := read(t, "lua/kong/vaults/"+v.Spec.Backend+"/schema.lua")
	for field := range v.Spec.Config {
		if !strings.Contains(schema, "{ "+field+" = ") {
			t.Errorf("the vault %s has no field %s", v.Spec.Backend, field)
		}
	}
}
