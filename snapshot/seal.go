package snapshot

import (
	"bufio"
	"io"

	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"
)

// format is the version of the format. It changes with everything by which an
// older or newer program would take a file for something that it isn't.
const format = "vault-auth snapshot 2\n"

// segment is how much is sealed at a time, in bytes.
const segment = 64 << 10

func (f File) seal(w io.Writer) (io.WriteCloser, error) {
	aead, err := f.aead()
	if err != nil {
		return nil, err
	}
	return aead.NewEncryptingWriter(w, f.binding())
}

// open returns what is sealed in r. Its Read fails at the first byte that isn't
// genuine, and where the end is missing.
func (f File) open(r io.Reader) (io.Reader, error) {
	aead, err := f.aead()
	if err != nil {
		return nil, err
	}
	plain, err := aead.NewDecryptingReader(bufio.NewReader(r), f.binding())
	if err != nil { // it is too short for a beginning
		return nil, ErrSealed
	}
	return plain, nil
}

func (f File) aead() (*subtle.AESGCMHKDF, error) {
	key, err := Key(f.KeyFile)
	if err != nil {
		return nil, err
	}
	return subtle.NewAESGCMHKDF(key, "SHA256", keyLen, segment, 0)
}

// binding is authenticated with what is sealed.
func (f File) binding() []byte { return []byte(format + f.Store) }
