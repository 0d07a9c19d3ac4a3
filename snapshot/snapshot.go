// Package snapshot keeps the contents of a cache in a sealed file, so that a plugin
// server that starts while the store is down, after a crash say, still knows the clients
// that its predecessor knew.
//
// The file holds digests of secret tokens, and the key of those, but no secret tokens. It
// holds the secrets of references as they are. It is encrypted and authenticated with
// AES-256-GCM, in segments (Tink's streaming AEAD, with a key for each file, derived by
// HKDF-SHA-256), under a key from a file elsewhere. It is bound to the version of its
// format and to the identity of the store, so that no other store accepts it.
package snapshot

import (
	"bufio"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"

	"kong-vault-auth/credential"
	"kong-vault-auth/securefile"
)

// format is the version of the format. It changes with everything by which an
// older or newer program would misread a file.
const format = "vault-auth snapshot 2\n"

const (
	segment = 64 << 10 // how much is sealed at a time, in bytes
	keyLen  = 32       // of the derived keys, in bytes
)

// File is where the snapshot of one store's cache is kept. Its methods are safe
// for concurrent use, by other processes too.
type File struct {
	Path    string
	KeyFile string // see securefile.ReadKey
	Store   string // the store's identity
}

// Header is the beginning of a snapshot.
type Header struct {
	Started   time.Time // when the process that wrote it started
	Written   time.Time
	SealerKey []byte // of the records' credentials, see credential.RestoreSealer
}

// Secret is a cached secret that holds no credential.
type Secret struct {
	Store   string // the identity of its store
	Value   string
	Expires time.Time // zero: never
}

// Record is a cached credential, or a secret.
type Record struct {
	Key, Name  string // what it is cached and looked up by, see vault.Store
	ReadAt     time.Time
	Credential credential.Stored
	Secret     *Secret // nil: it is a credential
}

// The errors of Read and Write, besides those of securefile.
var (
	// ErrNone means that there is no snapshot.
	ErrNone = errors.New("there is no snapshot")
	// ErrSealed means that the file is not what was written: it was changed or cut
	// off, or is of another key, store or version.
	ErrSealed = errors.New("it was not sealed with this key for this store, was written by another version, or is damaged")
	// ErrFuture means that the file says that it was written in the future.
	ErrFuture = errors.New("its time of writing is in the future")
	// ErrSuperseded means that a process that started later has written the file.
	ErrSuperseded = errors.New("a plugin server that started later keeps it now")
)

// Read yields the records of the file, if all of it is genuine, and returns its header.
// The file must be as securefile.Sealed says. If Read returns an error, it has yielded
// nothing, unless somebody has changed the file meanwhile.
func (f File) Read(now time.Time, yield func(Record)) (Header, error) {
	file, err := securefile.Open(f.Path, securefile.Sealed)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Header{}, fmt.Errorf("%s: %w", f.Path, ErrNone)
	case err != nil:
		return Header{}, err
	}
	defer file.Close()
	h, err := f.read(file, now, yield)
	if err != nil {
		return Header{}, fmt.Errorf("%s: %w", f.Path, err)
	}
	return h, nil
}

// read goes through the file twice, because only its end shows whether it was cut off.
func (f File) read(file io.ReadSeeker, now time.Time, yield func(Record)) (Header, error) {
	plain, err := f.open(file)
	if err != nil {
		return Header{}, err
	}
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return Header{}, ErrSealed
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return Header{}, err
	}
	if plain, err = f.open(file); err != nil {
		return Header{}, err
	}
	decoder := gob.NewDecoder(plain)
	h, err := header(decoder, now)
	if err != nil {
		return Header{}, err
	}
	var r Record // one for all, since it escapes and is large
	for {
		r = Record{} // a decoder leaves the fields alone that are zero in the file
		switch err := decoder.Decode(&r); {
		case err == io.EOF:
			return h, nil
		case err != nil: // somebody has changed it since, or the key's owner has made it up
			return Header{}, ErrSealed
		}
		yield(r)
	}
}

func header(decoder *gob.Decoder, now time.Time) (h Header, err error) {
	if decoder.Decode(&h) != nil {
		return h, ErrSealed
	}
	if h.Written.After(now) {
		return h, ErrFuture
	}
	return h, nil
}

// Write replaces the file as a whole, unless a process that started later has written it:
// then it changes nothing and returns ErrSuperseded. A file that Read would refuse is
// replaced too.
func (f File) Write(h Header, records iter.Seq[Record]) error {
	writing.Lock()
	defer writing.Unlock()
	unlock, alone, err := securefile.Lock(f.Path)
	if err != nil {
		return err
	}
	defer unlock()
	if alone {
		f.clear()
	}
	if other, err := f.header(h.Written); err == nil && other.supersedes(h) {
		return fmt.Errorf("%s: %w", f.Path, ErrSuperseded)
	}
	return securefile.Replace(f.Path, func(w io.Writer) error {
		out := bufio.NewWriter(w)
		if err := f.write(out, h, records); err != nil {
			return err
		}
		return out.Flush()
	})
}

// Filter removes the records for which keep is false, on behalf of a process that started
// at that time and doesn't keep the file itself. If the file can't be written, it is
// removed.
func (f File) Filter(now, started time.Time, keep func(Record) bool) error {
	var kept []Record
	removed := 0
	h, err := f.Read(now, func(r Record) {
		if keep(r) {
			kept = append(kept, r)
		} else {
			removed++
		}
	})
	switch {
	case errors.Is(err, ErrNone), err == nil && removed == 0:
		return nil
	case err != nil:
		return err
	}
	h.Started, h.Written = started, now
	err = f.Write(h, slices.Values(kept))
	if err == nil || errors.Is(err, ErrSuperseded) {
		return nil
	}
	if errRemove := os.Remove(f.Path); errRemove != nil && !errors.Is(errRemove, fs.ErrNotExist) {
		return fmt.Errorf("the snapshot %s has credentials that must be forgotten, and could be neither written nor removed (remove it): %w", f.Path, errors.Join(err, errRemove))
	}
	return nil
}

// writing serializes the writing of snapshots: those of several stores may lie in one
// folder, and must not fail because of each other's locks.
var writing sync.Mutex

// supersedes reports whether the process that wrote h started after that of other. A
// header written before its process started doesn't count: the clock was set back.
func (h Header) supersedes(other Header) bool {
	return h.Started.After(other.Started) && !h.Started.After(h.Written)
}

// clear removes the temporary files of processes that were killed while they wrote. The
// folder is locked.
func (f File) clear() {
	dir, base := filepath.Split(f.Path)
	entries, _ := os.ReadDir(filepath.Dir(f.Path))
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name(), "."+base)
		if ok && number != "" && strings.Trim(number, "0123456789") == "" {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

func (f File) write(w io.Writer, h Header, records iter.Seq[Record]) error {
	sealed, err := f.seal(w)
	if err != nil {
		return err
	}
	encoder := gob.NewEncoder(sealed)
	if err := encoder.Encode(h); err != nil {
		return err
	}
	var r Record // one for all, since it escapes and is large
	for r = range records {
		if err := encoder.Encode(&r); err != nil {
			return err
		}
	}
	return sealed.Close()
}

// header reads the beginning of the file.
func (f File) header(now time.Time) (Header, error) {
	file, err := securefile.Open(f.Path, securefile.Sealed)
	if err != nil {
		return Header{}, err
	}
	defer file.Close()
	plain, err := f.open(file)
	if err != nil {
		return Header{}, err
	}
	return header(gob.NewDecoder(plain), now)
}

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
	key, err := securefile.ReadKey(f.KeyFile)
	if err != nil {
		return nil, err
	}
	return subtle.NewAESGCMHKDF(key, "SHA256", keyLen, segment, 0)
}

// binding is authenticated with what is sealed.
func (f File) binding() []byte { return []byte(format + f.Store) }
