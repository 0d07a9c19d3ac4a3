package azurevault

import (
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/google/go-cmp/cmp"
)

func TestDomainSelectsTheCloud(t *testing.T) {
	for uri, want := range map[string]endpoint{
		"https://contoso.vault.azure.net":         {"https://contoso.vault.azure.net", "contoso.vault.azure.net", "contoso", "https://vault.azure.net/.default", cloud.AzurePublic},
		"HTTPS://Contoso-1.Vault.Azure.NET/":      {"https://contoso-1.vault.azure.net", "contoso-1.vault.azure.net", "contoso-1", "https://vault.azure.net/.default", cloud.AzurePublic},
		"https://contoso.vault.azure.cn/":         {"https://contoso.vault.azure.cn", "contoso.vault.azure.cn", "contoso", "https://vault.azure.cn/.default", cloud.AzureChina},
		"https://contoso.vault.usgovcloudapi.net": {"https://contoso.vault.usgovcloudapi.net", "contoso.vault.usgovcloudapi.net", "contoso", "https://vault.usgovcloudapi.net/.default", cloud.AzureGovernment},
	} {
		got, err := parseEndpoint(uri)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(endpoint{})); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", uri, err, diff)
		}
	}
}

func TestWrongVaultURIsAreRefusedWithTheRightOne(t *testing.T) {
	const public = "Did you mean https://contoso.vault.azure.net?"
	for uri, want := range map[string]string{
		"":                                                          "should look like https://example.vault.azure.net",
		"contoso":                                                   public,
		"contoso.vault.azure.net":                                   public,
		"http://contoso.vault.azure.net":                            public,
		"https://contoso.vault.azure.com":                           public, // as in Kong's documentation
		"https://contoso.vault.azure.net:443":                       public,
		"https://contoso.vault.azure.net/x":                         public,
		"https://contoso.vault.azure.net/?x":                        public,
		"https://u:pw@contoso.vault.azure.net":                      public,
		"https://contoso.privatelink.vaultcore.azure.net":           public,
		"https://contoso.vault.chinacloudapi.cn":                    "Did you mean https://contoso.vault.azure.cn?",
		"https://contoso.vault.azure.us":                            "Did you mean https://contoso.vault.usgovcloudapi.net?",
		"https://contoso.managedhsm.azure.net":                      "a managed HSM keeps no secrets",
		"https://vault.azure.net":                                   "not the URI of a key vault",
		"https://ab.vault.azure.net":                                "not the URI of a key vault",
		"https://a--b.vault.azure.net":                              "not the URI of a key vault",
		"https://" + strings.Repeat("a", 25) + ".vault.azure.net":   "not the URI of a key vault",
		"https://a" + strings.Repeat("-a", 12) + ".vault.azure.net": "not the URI of a key vault",
		"https://contoso.vault.azure.net.example.com":               "Did you mean",
		"https://127.0.0.1:8443":                                    "not the URI of a key vault",
		"https://%zz":                                               "should look like https://example.vault.azure.net",
	} {
		_, err := parseEndpoint(uri)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pw") {
			t.Errorf("%q: got %v, want %q", uri, err, want)
		}
	}
}
