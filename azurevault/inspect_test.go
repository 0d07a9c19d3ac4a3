package azurevault

import (
	"testing"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/secretstore/storetest"
)

func TestInspection(t *testing.T) {
	may := func(p akvsim.Permission) func(azure) {
		return func(a azure) {
			a.AddApp(akvsim.App{ClientID: clientID, ObjectID: objectID, Secret: clientSecret, May: p})
		}
	}
	for name, tt := range map[string]struct {
		do       func(azure)
		login    string
		mayWrite bool
		says     string
	}{
		"reads":      {may(akvsim.Get | akvsim.List), "done", false, "done"},
		"writes":     {may(akvsim.Get | akvsim.Set), "done", true, "done"},
		"nothing":    {may(0), "done", false, "done"},
		"throttled":  {func(a azure) { a.Fail(akvsim.KeyVault, akvsim.Throttled("3")) }, "done", false, "failure: rate_limited"},
		"no answer":  {func(a azure) { a.Fail(akvsim.KeyVault, akvsim.Fault{Status: 404}) }, "done", false, "failure: unexpected"},
		"no login":   {func(a azure) { a.Fail(akvsim.Entra, akvsim.EntraError(401, "invalid_client", 7000215, "no")) }, "failure: login", false, "failure: login"},
		"firewalled": {func(a azure) { a.Fail(akvsim.KeyVault, akvsim.Firewall("192.0.2.7")) }, "done", false, "failure: firewall"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAzure(t, akvsim.Options{})
			tt.do(a)
			s := a.open(t, nil)
			if got := storetest.Said(s.Login(t.Context())); got != tt.login {
				t.Errorf("login: %s", got)
			}
			got, err := s.MayWrite(t.Context())
			if got != tt.mayWrite || storetest.Said(err) != tt.says {
				t.Errorf("it may write: %v, %v", got, err)
			}
			if got := s.Address().String(); got != akvsim.VaultURI {
				t.Errorf("it connects to %s", got)
			}
		})
	}
}
