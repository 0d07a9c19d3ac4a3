package azurevault

import (
	"strings"
	"testing"

	"kong-vault-auth/credential"
)

func TestSecretNames(t *testing.T) {
	long := strings.Repeat("x", 127)
	for _, tt := range []struct{ prefix, token, want string }{
		{"kong-auth-", "Alice-1", "kong-auth-Alice-1"},
		{"", "alice", "alice"},
		{"", long, long},
		{"k-", long, "k-sha256-70156a14adbabf98cff3a71c7084b417abf057a8efd27329ca36b7202c87d81f"},
		{"kong-auth-", "a.b", "kong-auth-sha256-2e7336dc8eba87ef472df568c35482abf2575dc3e5eac0c5c62b8ffaeac2c934"},
		{"kong-auth-", "a_b", "kong-auth-sha256-648fa9b31bc7ff7eb914e7a7180f07e0df0f8467839b1af8902da1d0bead03a2"},
		{"kong-auth-", "a~b", "kong-auth-sha256-941528e5e77c9a1f3e2fcbc95f20556f54f24d70d5782e4cf848b254885bc0e5"},
	} {
		if got := secretName(tt.prefix, tt.token); got != tt.want {
			t.Errorf("secretName(%q, %q) = %q, want %q", tt.prefix, tt.token, got, tt.want)
		}
	}
}

func FuzzSecretName(f *testing.F) {
	f.Add("kong-auth-", "alice")
	f.Add("", "a.b_c~d")
	f.Add(strings.Repeat("p", maxNamePrefix), strings.Repeat("t", 255))
	f.Fuzz(func(t *testing.T, prefix, token string) {
		if !isName(prefix) || len(prefix) > maxNamePrefix || credential.CheckAccessToken(token) != nil {
			t.Skip()
		}
		name := secretName(prefix, token)
		if !isName(name) || name == "" || len(name) > maxName {
			t.Errorf("%q can't be the name of a secret", name)
		}
		if !strings.HasPrefix(name, prefix) {
			t.Errorf("%q is outside the prefix %q", name, prefix)
		}
	})
}
