package vault

import (
	"strings"
	"testing"
)

func TestReferencesAreReadAsKongsEnvVaultReadsThem(t *testing.T) {
	getenv := environ("MY_TOKEN", "hvs.one", "LOGIN", `{"token": "hvs.two", "ttl": 60}`)
	for reference, want := range map[string]string{
		"{vault://env/MY_TOKEN}":    "hvs.one",
		"{vault://env/my-token}":    "hvs.one",
		"{vault://env/my_token/}":   "hvs.one",
		"{vault://env/login/token}": "hvs.two",
	} {
		if got, err := resolveEnv(reference, getenv); err != nil || got != want {
			t.Errorf("resolveEnv(%s) = %q, %v; want %q", reference, got, err, want)
		}
	}
	if got, err := resolveEnv("{vault://env/token}", environ("KONG_VAULT_ENV_PREFIX", "my-", "MY_TOKEN", "hvs.one")); err != nil || got != "hvs.one" {
		t.Errorf("with a prefix: %q, %v", got, err)
	}
}

func TestReferencesThatCannotBeResolvedSayWhy(t *testing.T) {
	getenv := environ("TEXT", "s3cr3t", "LOGIN", `{"token": "s3cr3t", "ttl": 60}`)
	for reference, want := range map[string]string{
		"{vault://env/other}":          "the environment variable OTHER is not set",
		"{vault://env/text/key}":       "TEXT does not hold a JSON object",
		"{vault://env/login/ttl}":      `no string named "ttl"`,
		"{vault://env/login/none}":     `no string named "none"`,
		"{vault://env}":                "it should look like",
		"{vault://env/}":               "it should look like",
		"{vault://env/text?ttl=60}":    "it should look like",
		"{vault://env/text#2}":         "it should look like",
		"{vault://env/%zz}":            "it should look like",
		"{vault://hcv/path/key}":       `the vault "hcv" can't be resolved here`,
		"{vault://azure/secret/key}":   `the vault "azure" can't be resolved here`,
		"{vault://my-env-vault/token}": `the vault "my-env-vault" can't be resolved here`,
	} {
		got, err := resolveEnv(reference, getenv)
		if err == nil || got != "" || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("resolveEnv(%s) = %q, %v; want an error with %q", reference, got, err, want)
		}
	}
}
