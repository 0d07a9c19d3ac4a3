package credential

import (
	"strings"

	"github.com/google/uuid"
)

// The least that a secret token must have to look generated.
const (
	minGenerated = 22 // characters; 22 of base 62 are 130 bits
	minHex       = 32 // hexadecimal digits: 128 bits
	minDistinct  = 10 // different characters
)

// LooksGenerated reports whether a secret token looks random, so that nobody can find it
// from its hash by trial. It is an estimate that says no if in doubt. It says yes to
//
//   - a token that Generate made with Prefix,
//   - a UUID of version 4,
//   - 32 or more hexadecimal digits, both letters and figures,
//   - 22 or more characters of which at least a third are of another sort (capital, small
//     letter, figure) than the character before. In random text the sorts alternate that
//     often, in words that were put together they don't.
//
// Each must have at least ten different characters.
func LooksGenerated(secretToken string) bool {
	if distinct(secretToken) < minDistinct {
		return false
	}
	if isUUID(secretToken) {
		return uuid.MustParse(secretToken).Version() == 4
	}
	if _, right := hasChecksum(secretToken); right {
		return true
	}
	sorts := sortsOf(secretToken)
	switch {
	case strings.Contains(sorts, "?"):
		return false
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

// sortsOf maps each character to its sort: a capital to A, a small letter to a, a figure
// to 0, and what no generator prints to a question mark. It leaves out separators and the
// other characters of base64, since those alternate in words as well.
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
