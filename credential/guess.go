package credential

import (
	"strings"

	"github.com/google/uuid"
)

// What a secret token must have to look generated.
const (
	minGenerated = 22 // characters; 22 of base 62 are 130 bits
	minHex       = 32 // hexadecimal digits: 128 bits
	minDistinct  = 10 // different characters
)

// LooksGenerated reports whether a secret token looks like a random one, so that it
// can't be found from its hash by trying. It is an estimate, and rather says no. Yes is
// for
//
//   - a token that Generate made with Prefix,
//   - a UUID of version 4,
//   - 32 or more hexadecimal digits, letters and figures among them,
//   - 22 or more characters in which capitals, small letters and figures alternate about
//     as often as in random ones, unlike in words that were put together; at least a
//     third of all characters is of another sort than the one before.
//
// Each must have at least ten different characters.
func LooksGenerated(secretToken string) bool {
	if distinct(secretToken) < minDistinct {
		return false
	}
	if isUUID(secretToken) {
		return uuid.MustParse(secretToken).Version() == 4
	}
	sorts := sortsOf(secretToken)
	switch {
	case strings.Contains(sorts, "?"):
		return false
	case hasChecksum(secretToken):
		return true
	case strings.Trim(strings.ToLower(secretToken), "0123456789abcdef") == "":
		return len(secretToken) >= minHex && strings.Contains(sorts, "0") && strings.Trim(sorts, "0") != ""
	}
	changes := 0
	for i := 1; i < len(sorts); i++ {
		if sorts[i] != sorts[i-1] {
			changes++
		}
	}
	return len(sorts) >= minGenerated && 3*changes >= len(sorts)
}

// hasChecksum reports whether s is a token that Generate made with Prefix.
func hasChecksum(s string) bool {
	rest, prefixed := strings.CutPrefix(s, Prefix+"_")
	random, sum, found := strings.Cut(rest, "_")
	return prefixed && found && len(random) == randomLen && sum == checksum(random)
}

// sortsOf maps each character to its sort: a capital to A, a small letter to a, a figure
// to 0, and what no generator prints to a question mark. Those that only separate, or
// that base64 has beside, are left out: they alternate in words as well.
func sortsOf(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'A' <= r && r <= 'Z':
			return 'A'
		case 'a' <= r && r <= 'z':
			return 'a'
		case '0' <= r && r <= '9':
			return '0'
		case strings.ContainsRune("-_+/=.~", r):
			return -1
		}
		return '?'
	}, s)
}

func distinct(s string) int {
	seen := map[rune]bool{}
	for _, r := range s {
		seen[r] = true
	}
	return len(seen)
}
