package credential

import (
	"errors"
	"strings"
	"testing"
)

// As printf '%s' right | sha256sum, and printf '\xab\xcdright' | sha256sum, print them.
const (
	sumOfRight    = "27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9"
	saltedRight   = "7c9789cbd8476829510e2b17281e384230d760aa98fba679902148eafea4323e"
	hashOfRight   = "sha256:" + sumOfRight
	saltedHash    = "sha256:abcd:" + saltedRight
	bcryptExample = "$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
)

func TestParseHash(t *testing.T) {
	zeros := strings.Repeat("0", 64)
	tests := map[string]string{ // what the error says
		hashOfRight: "", saltedHash: "",
		"sha256:ABCD:" + strings.ToUpper(saltedRight):      "",
		"sha256:" + strings.Repeat("ab", 64) + ":" + zeros: "",
		"":                                "begin",
		"right":                           "begin",
		sumOfRight:                        "begin",
		"SHA256:" + sumOfRight:            "begin",
		"sha512:" + sumOfRight:            "begin",
		" sha256:" + sumOfRight:           "begin",
		"sha256:":                         "64 digits",
		"sha256:" + sumOfRight[1:]:        "64 digits",
		"sha256:" + sumOfRight + "00":     "64 digits",
		"sha256:" + sumOfRight[:63] + "g": "64 digits",
		"sha256::" + sumOfRight:           "salt",
		"sha256:abc:" + sumOfRight:        "salt",
		"sha256:pepper:" + sumOfRight:     "salt",
		"sha256:" + strings.Repeat("ab", 65) + ":" + zeros: "salt",
		"sha256:ab:cd:" + sumOfRight:                       "64 digits",
		bcryptExample:                                      "slow",
		"$2b$12$abc":                                       "slow",
		"$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aA":         "slow",
		"argon2id:…":                                       "slow",
		"$pbkdf2-sha256$29000$x$y":                         "slow",
		"pbkdf2_sha256$870000$x$y":                         "slow",
		"PBKDF2:1000":                                      "slow",
		"$scrypt$ln=16,r=8,p=1$x$y":                        "slow",
		"scrypt:32768:8:1$x$y":                             "slow",
		"$6$rounds=5000$x$y":                               "slow",
		"{SSHA}x":                                          "slow",
		"bcrypt:x":                                         "slow",
	}
	for s, want := range tests {
		h, err := parseHash(s)
		var unusable *UnusableError
		switch {
		case want == "":
			if err != nil || h.IsZero() || h.String() != strings.ToLower(s) {
				t.Errorf("parseHash(%q) = %q, %v", s, h, err)
			}
		case !errors.As(err, &unusable) || !strings.Contains(unusable.Detail, want) || unusable.Remedy == "" || !h.IsZero() || h.String() != "":
			t.Errorf("parseHash(%q) = %q, %v, want an error about %q", s, h, err, want)
		}
	}
}

func TestHashMatchesItsSecretTokenOnly(t *testing.T) {
	made := newHash("right")
	if again := newHash("right"); again == made || len(made.Salt) != newSaltLen {
		t.Errorf("two hashes of one secret token are %s and %s", made, again)
	}
	for _, s := range []string{hashOfRight, saltedHash, made.String()} {
		h, err := parseHash(s)
		if err != nil {
			t.Fatal(err)
		}
		for secret, want := range map[string]bool{
			"right": true, "Right": false, "": false, "right\n": false, s: false, sumOfRight: false,
		} {
			if got := h.Matches(secret); got != want {
				t.Errorf("%s matches %q: %v", s, secret, got)
			}
		}
	}
	if (Hash{}).Matches("") {
		t.Error("no hash matches an empty secret token")
	}
}
