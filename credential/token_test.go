package credential

import (
	"errors"
	"net/url"
	"path"
	"strings"
	"testing"
)

func TestCheckAccessToken(t *testing.T) {
	accepted := []string{
		"a", "-", ".a", "a.", "a.b.c", "~_.-", "azAZ09",
		"9f0f2f4e-8b8f-4c41-a2a1-0a6b9bd3c1f2",
		strings.Repeat("x", 255),
	}
	for _, s := range accepted {
		if err := CheckAccessToken(s); err != nil {
			t.Errorf("CheckAccessToken(%q) = %v, want nil", s, err)
		}
	}
	refused := []string{
		"", ".", "..", "...", "a..b", "..a", "a..", "../a", "a/b", `a\b`, "a b", " a", "a\n", "a\x00", "a%2e", "a?b", "a#b", "a+b", "a:b",
		"caf\u00e9", "\xff", "\u202e",
		strings.Repeat("x", 256),
		"kva_0123456789ABCDEFGHIJKLMNOPQRSTUV_000000",
	}
	for _, s := range refused {
		err := CheckAccessToken(s)
		if !errors.Is(err, errMalformed) {
			t.Errorf("CheckAccessToken(%q) = %v, want errMalformed", s, err)
		}
		if len(s) > 3 && strings.Contains(err.Error(), s) {
			t.Errorf("the error about %q holds it: %v", s, err)
		}
	}
}

func FuzzCheckAccessToken(f *testing.F) {
	for _, s := range []string{"", ".", "..", "a..b", "a", "a/../b", "%2e%2e", "~x", strings.Repeat("x", 256), "kva_0123456789ABCDEFGHIJKLMNOPQRSTUV_000000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if CheckAccessToken(s) != nil {
			return
		}
		if len(s) > MaxAccessToken {
			t.Errorf("accepted %d bytes", len(s))
		}
		if strings.Contains(s, "..") {
			t.Errorf("accepted %q, which Vault doesn't take as a path", s)
		}
		if got := path.Join("/secret/data/kong-auth", s); got != "/secret/data/kong-auth/"+s {
			t.Errorf("%q moves in a path: %s", s, got)
		}
		if got := url.PathEscape(s); got != s {
			t.Errorf("%q is %q in a URL", s, got)
		}
		if got := url.QueryEscape(s); got != s {
			t.Errorf("%q is %q in a query", s, got)
		}
	})
}
