package secretstore

import "strings"

// PEM returns a setting's value as PEM, and reports whether it is: else it names
// a file. Line ends may be written as \n, since many tools that fill environment
// variables can't put real ones there; PEM itself has no backslashes.
func PEM(value string) (pem string, ok bool) {
	if !strings.Contains(value, "-----BEGIN ") {
		return "", false
	}
	return strings.NewReplacer(`\r\n`, "\n", `\n`, "\n").Replace(value), true
}
