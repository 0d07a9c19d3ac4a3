package credential

import (
	"errors"
	"hash/crc32"
	"math/big"
	"regexp"
	"strings"
	"testing"
)

func TestGeneratedTokens(t *testing.T) {
	for prefix, form := range map[string]string{
		"":                      `^[0-9A-Za-z]{32}$`,
		"kva":                   `^kva_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}$`,
		"Acme1":                 `^Acme1_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}$`,
		strings.Repeat("p", 32): `^p{32}_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}$`,
	} {
		seen, characters := map[string]bool{}, map[rune]int{}
		for range 500 {
			access, secret, err := Generate(prefix)
			if err != nil || CheckAccessToken(access) != nil || CheckSecretToken(secret) != nil {
				t.Fatalf("Generate(%q) = %q, %q, %v", prefix, access, secret, err)
			}
			for _, token := range []string{access, secret} {
				if !regexp.MustCompile(form).MatchString(token) || seen[token] {
					t.Fatalf("Generate(%q) makes %q", prefix, token)
				}
				seen[token] = true
				random := strings.TrimPrefix(token, prefix+"_")[:randomLen]
				for _, c := range random {
					characters[c]++
				}
			}
		}
		// 516 of each are expected. Of bytes that were cut to 62 without more ado, the
		// first eight characters would come up 625 times.
		for _, c := range alphabet {
			if n := characters[c]; n < 400 || n > 640 {
				t.Errorf("%q comes up %d times", c, n)
			}
		}
	}
}

func TestCharactersAreEquallyLikely(t *testing.T) {
	const each = 2_000
	first, n := 0, each*len(alphabet)
	for _, c := range randomText(n) {
		if strings.ContainsRune(alphabet[:256%len(alphabet)], c) {
			first++
		}
	}
	// With modulo bias these would be a fifth more. Six standard deviations are a
	// twentieth.
	if want := each * (256 % len(alphabet)); first < want*93/100 || first > want*107/100 {
		t.Errorf("the first %d characters come up %d times, not about %d", 256%len(alphabet), first, want)
	}
}

func TestPrefixesThatNoTokenCanHave(t *testing.T) {
	for _, prefix := range []string{"a_b", "a-b", "a b", "é", strings.Repeat("p", 33)} {
		if access, secret, err := Generate(prefix); !errors.Is(err, errPrefix) || access+secret != "" {
			t.Errorf("Generate(%q) = %q, %q, %v", prefix, access, secret, err)
		}
	}
}

// The documented checksum, worked out in another way, and pinned: tokens and rules
// to find them are in use elsewhere.
func TestChecksum(t *testing.T) {
	for random, want := range map[string]string{
		"0123456789ABCDEFGHIJKLMNOPQRSTUV": "1ggZdL",
		"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz": "4W8LJS",
	} {
		sum := new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(random))))
		digits := strings.Map(func(r rune) rune { // math/big has a-z before A-Z
			switch {
			case 'a' <= r && r <= 'z':
				return r - 'a' + 'A'
			case 'A' <= r && r <= 'Z':
				return r - 'A' + 'a'
			}
			return r
		}, sum.Text(62))
		digits = strings.Repeat("0", 6-len(digits)) + digits
		if got := checksum(random); got != want || got != digits {
			t.Errorf("checksum(%q) = %s, want %s, and by math/big %s", random, got, want, digits)
		}
	}
}

func TestOnlyTokensOfOurFormHaveAChecksum(t *testing.T) {
	const random, sum = "0123456789ABCDEFGHIJKLMNOPQRSTUV", "1ggZdL"
	for token, ok := range map[string]bool{
		"kva_" + random + "_" + sum:                   true,
		"kva_" + random + "_1ggZd0":                   false,
		"kva_" + random + "_1GGzDl":                   false,
		"kva_1123456789ABCDEFGHIJKLMNOPQRSTUV_" + sum: false,
		"KVA_" + random + "_000000":                   true, // not ours
		"acme_" + random + "_000000":                  true,
		"kva_" + random + "_00000":                    true,
		"kva_" + random + "_0000000":                  true,
		"kva_" + random + "-000000":                   true,
		"kva-" + random + "_000000":                   true,
		"kva_0123456789ABCDEF-HIJKLMNOPQRSTUV_000000": true,
		"kva_0123456789ABCDEF_HIJKLMNOPQRSTUV_000000": true,
		"kva_" + random + "_00000.":                   true,
		"xkva_" + random + "_000000":                  true,
		"kva_" + random:                               true,
	} {
		access, secret := CheckAccessToken(token), CheckSecretToken(token)
		if (access == nil) != ok || (secret == nil) != ok || !ok && !errors.Is(access, errMalformed) {
			t.Errorf("%s: %v, %v", token, access, secret)
		}
		if !ok && (strings.Contains(access.Error(), random) || strings.Contains(secret.Error(), random)) {
			t.Errorf("the errors show the token: %v, %v", access, secret)
		}
	}
}

func TestCheckSecretToken(t *testing.T) {
	for secret, ok := range map[string]bool{
		"": false, "s": true, " \xff ": true, strings.Repeat("s", 4096): true, strings.Repeat("s", 4097): false,
	} {
		if err := CheckSecretToken(secret); (err == nil) != ok {
			t.Errorf("CheckSecretToken of %d bytes = %v", len(secret), err)
		}
	}
}
