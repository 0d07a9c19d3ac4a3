package azurevault

import (
	"errors"
	"testing"

	"kong-vault-auth/secretstore"
)

// The cloud prescribes where logins connect to, which may be a link-local address.
func TestOnlyKeyVaultsAreLimitedToWhereTheStoreMayConnect(t *testing.T) {
	reach, err := secretstore.ParseReach("vault.internal")
	if err != nil {
		t.Fatal(err)
	}
	client := newHTTPClient(newTransport(reach))
	for url, limited := range map[string]bool{
		"https://contoso.vault.azure.net/secrets/x":         true,
		"https://Contoso.Vault.Azure.CN/secrets/x":          true,
		"https://contoso.vault.usgovcloudapi.net/secrets/x": true,
		"http://127.0.0.1:1/metadata/identity/oauth2/token": false, // nobody listens there
	} {
		_, err := client.Get(url)
		var failure *secretstore.ReachError
		if got := errors.As(err, &failure); err == nil || got != limited {
			t.Errorf("%s: %v", url, err)
		}
		if !limited {
			continue
		}
		if f := transportFailure("read kong-auth/0123456789ab", "contoso.vault.azure.net", err); f.Reason != "address" || f.Remedy != failure.Remedy {
			t.Errorf("%s: reason %q: %v", url, f.Reason, f)
		}
		if isTransient(nil, err) {
			t.Errorf("%s is tried again", url)
		}
	}
}
