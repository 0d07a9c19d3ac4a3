package tokens

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestQueryArgumentsAreReadAsKongReadsThem(t *testing.T) {
	for _, test := range []struct {
		raw  string
		want Found
	}{
		{"", Found{}},
		{"a=1&b=2", Found{}},
		{"access_token=x", Found{"x", 1}},
		{"a=1&access_token=x&b=2", Found{"x", 1}},
		{"access_token=x&access_token=y", Found{"x", 2}},
		{"access_token=x&access%5Ftoken=x", Found{"x", 2}},
		{"access%5ftoken=x", Found{"x", 1}},
		{"access_token=x=y?z", Found{"x=y?z", 1}},
		{"access_token=x;secret_token=y", Found{"x;secret_token=y", 1}},
		{"access_token=a%20b+c%2B%26", Found{"a b c+&", 1}},
		{"access_token=%zz%4%", Found{"%zz%4%", 1}},
		{"access_token=%E9\xe9%00", Found{"\xe9\xe9\x00", 1}},

		{"access_token", Found{}},
		{"access_token=", Found{}},
		{"access_token&access_token=&access_token=x", Found{"x", 1}},

		{"Access_Token=x", Found{}},
		{"access-token=x", Found{}},
		{"access_token2=x&xaccess_token=x", Found{}},
		{"access+token=x", Found{}},
		{"access_token%3Dx", Found{}},
		{"a;access_token=x", Found{}},
		{"%access_token=x", Found{}},
	} {
		if diff := cmp.Diff(test.want, FindQuery(test.raw, "access_token")); diff != "" {
			t.Errorf("FindQuery(%q): (-want +got)\n%s", test.raw, diff)
		}
	}
}

func TestStrippedQueryKeepsEveryOtherByte(t *testing.T) {
	for _, test := range []struct{ raw, want string }{
		{"", ""},
		{"access_token=x", ""},
		{"access_token=x&secret_token=y", ""},
		{"access_token=x&b=%62&&=&c", "b=%62&&=&c"},
		{"b=2&access_token=x&a=1", "b=2&a=1"},
		{"b=2&a=1&secret_token=y", "b=2&a=1"},
		{"b=+%zz&secret%5Ftoken=y&a=\xe9", "b=+%zz&a=\xe9"},
		{"access_token&secret_token=&a", "a"},
		{"access_token=x&a=1&access_token=y", "a=1"},
		{"&access_token=x&", "&"},
		{"Access_Token=x&access-token=x", "Access_Token=x&access-token=x"},
	} {
		if got := StripQuery(test.raw, "access_token", "secret_token"); got != test.want {
			t.Errorf("StripQuery(%q) = %q, want %q", test.raw, got, test.want)
		}
	}
}

func TestEmptyNameNamesNothing(t *testing.T) {
	const raw = "=x&&=y"
	if diff := cmp.Diff(Found{}, FindQuery(raw, "")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := StripQuery(raw, ""); got != raw {
		t.Errorf("stripped to %q", got)
	}
}

func TestTokenBehindAnyNumberOfArgumentsIsFoundAndStripped(t *testing.T) {
	many := strings.Repeat("a=1&", 10_000)
	raw := many + "access_token=x"
	if diff := cmp.Diff(Found{"x", 1}, FindQuery(raw, "access_token")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := StripQuery(raw, "access_token"); got != strings.TrimSuffix(many, "&") {
		t.Errorf("stripped to %d bytes, want %d", len(got), len(many)-1)
	}
}

func TestQueryWithoutTheNamesCostsNoAllocation(t *testing.T) {
	for _, raw := range []string{"", "a=1&b=%20+&c&access_tokens=x", strings.Repeat("access_toke%6E%6E=x&", 100)} {
		n := testing.AllocsPerRun(100, func() {
			FindQuery(raw, "access_token")
			StripQuery(raw, "access_token", "secret_token")
		})
		if n != 0 {
			t.Errorf("%.40q: %v allocations, want none", raw, n)
		}
	}
}

func BenchmarkFindQuery(b *testing.B) {
	for _, arguments := range []int{1, 10, 1000} {
		raw := strings.Repeat("page=2&sort=name%20asc&", arguments)
		b.Run(fmt.Sprintf("bytes=%d", len(raw)), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				FindQuery(raw, "access_token")
			}
		})
	}
}
