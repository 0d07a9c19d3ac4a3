// Package snapshot keeps what a cache holds in a sealed file, so that a plugin
// server that starts while the store is down, after a crash say, still knows the
// clients that the one before it knew.
//
// The file holds no secret tokens but their digests, and the key of those; secrets of
// references it holds as they are. It is
// encrypted and authenticated with AES-256-GCM, in segments (Tink's streaming
// AEAD, with a key of its own for each file, derived by HKDF-SHA-256), under the
// key of a file elsewhere. It is bound to the version of its format and to the
// identity of the store, so that the snapshot of one store is worthless for
// another.
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

	"kong-vault-auth/credential"
	"kong-vault-auth/securefile"
)

// File is where the snapshot of one store's cache is kept. Its methods are safe
// for concurrent use, by other processes too.
type File struct {
	Path    string
	KeyFile string // see Key
	Store   string // the store's identity
}

// Header is what a snapshot says of itself.
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

// The errors of Read and Write, beside those of files and of Key.
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

// Read yields the records of the file, if all of it is genuine, and returns what
// it says of itself. It must belong to this process's user or root, and be open to
// no others than this process's groups. Nothing is yielded if Read returns an error, unless somebody
// changes the file meanwhile.
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

// read goes through the file twice: whether it was cut off shows at its end only.
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
	for {
		var r Record
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

// Write puts a snapshot in the place of the one before, as a whole, unless a
// process that started later has written that: then it changes nothing and
// returns ErrSuperseded. A file that Read would not take is replaced.
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

// Filter leaves in the file only the records that keep approves of, for a process that
// started then and doesn't keep the file itself. One that can't be written is removed.
func (f File) Filter(now, started time.Time, keep func(Record) bool) error {
	var kept []Record
	left := 0
	h, err := f.Read(now, func(r Record) {
		if keep(r) {
			kept = append(kept, r)
		} else {
			left++
		}
	})
	switch {
	case errors.Is(err, ErrNone), err == nil && left == 0:
		return nil
	case err != nil:
		return err
	}
	h.Started, h.Written = started, now
	err = f.Write(h, slices.Values(kept))
	if err == nil || errors.Is(err, ErrSuperseded) {
		return nil
	}
	if gone := os.Remove(f.Path); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		return fmt.Errorf("the snapshot %s has credentials that must be forgotten, and could not be removed (remove it): %w", f.Path, errors.Join(err, gone))
	}
	return nil
}

// writing lets one snapshot at a time be written: those of several stores may lie
// in one folder, and none has to be given up for another.
var writing sync.Mutex

// supersedes reports whether h is of a process that started after the one of
// other did. One that has written before it started had its clock set back.
func (h Header) supersedes(other Header) bool {
	return h.Started.After(other.Started) && !h.Started.After(h.Written)
}

// clear removes what is left of writing by processes that were killed. The folder
// is locked.
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
	for r := range records {
		if err := encoder.Encode(r); err != nil {
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
