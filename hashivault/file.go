package hashivault

import (
	"errors"
	"fmt"
	"strings"

	"kong-vault-auth/securefile"
)

// maxFile limits how much of a file is read: tokens, ids, certificates and keys
// are far smaller.
const maxFile = 1 << 20

// errEmptyFile is a file that should hold a token or id but is empty.
var errEmptyFile = errors.New("the file is empty")

// readSecret reads a file that holds one token or id. It trims white space, such
// as the line end that an editor adds. The error is a *securefile.Error.
func readSecret(name string, readers securefile.Readers) (string, error) {
	b, err := securefile.Read(name, readers, maxFile)
	if err != nil {
		return "", err
	}
	s := strings.TrimSpace(string(b))
	if s == "" {
		return "", &securefile.Error{Err: fmt.Errorf("%s: %w", name, errEmptyFile), Remedy: "it is read again when it changes"}
	}
	if !isPrintable(s) {
		return "", &securefile.Error{
			Err:    fmt.Errorf("%s holds more than one line, or unprintable characters", name),
			Remedy: "it must hold the token or id and nothing else",
		}
	}
	return s, nil
}

func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// pemSource is PEM, either literal or in a file.
type pemSource struct {
	field   string // the configuration field, for messages
	literal []byte
	file    string
}

func (p pemSource) empty() bool { return len(p.literal) == 0 && p.file == "" }

// read returns the PEM. The error is a *securefile.Error.
func (p pemSource) read(readers securefile.Readers) ([]byte, error) {
	if p.file == "" {
		return p.literal, nil
	}
	b, err := securefile.Read(p.file, readers, maxFile)
	var e *securefile.Error
	if errors.As(err, &e) {
		return nil, &securefile.Error{Err: fmt.Errorf("%s: %w", p.field, e.Err), Remedy: e.Remedy}
	}
	return b, err
}
