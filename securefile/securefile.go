// Package securefile reads files that decide who may pass: tokens, keys,
// definitions of vault objects. It refuses what somebody else could have
// written, or could have read where it holds a secret. And it writes such files
// so that nobody else can read them, nor anybody half of one.
package securefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Readers says who besides this process's user may read a file.
type Readers int

const (
	Anybody Readers = iota // a certificate; a service account token, which the kubelet writes world-readable
	Group                  // a Kubernetes volume, which is root's and our group's
	Nobody                 // a secret
)

// Error is a file that can't be used, and what mends it.
type Error struct {
	Err    error
	Remedy string
}

// Error is the cause and the remedy.
func (e *Error) Error() string { return e.Err.Error() + " (" + e.Remedy + ")" }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Read reads a file of at most max bytes. It may belong to this process's user
// or to root: root may anything, and a Kubernetes volume is root's. The error
// is an *Error, which names the file.
func Read(name string, readers Readers, max int) ([]byte, error) {
	f, err := Open(name, readers)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(max)+1))
	switch {
	case err != nil:
		return nil, &Error{err, "check that it is a plain file"}
	case len(b) > max:
		return nil, &Error{fmt.Errorf("%s is larger than %d bytes", name, max), "name the right file"}
	}
	return b, nil
}

// Open is Read for a file that is too large to be held in memory. Whoever calls
// it closes the file.
func Open(name string, readers Readers) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not be waited for
	if err != nil {
		remedy := "check that Kong's user may read it"
		if errors.Is(err, fs.ErrNotExist) {
			remedy = "it is read as soon as it is there"
		}
		return nil, &Error{err, remedy}
	}
	if err := check(f, readers); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// check looks at the open file, so that it can't be exchanged in between.
func check(f *os.File, readers Readers) error {
	info, err := f.Stat()
	if err != nil {
		return &Error{err, "check that Kong's user may read it"}
	}
	if !info.Mode().IsRegular() {
		return &Error{fmt.Errorf("%s is no plain file", f.Name()), "name the right file"}
	}
	owner := os.Geteuid()
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = int(stat.Uid)
	}
	return Allow(f.Name(), info.Mode(), owner, os.Geteuid(), readers)
}

// Allow says whether a file of that mode and owner may be used by a user, by
// its error, which is an *Error.
func Allow(name string, mode fs.FileMode, owner, user int, readers Readers) error {
	if owner != user && owner != 0 {
		return &Error{
			fmt.Errorf("%s belongs to user %d, who could put other contents in it", name, owner),
			fmt.Sprintf("chown %d %s", user, name),
		}
	}
	var tooMuch fs.FileMode = 0o022
	switch readers {
	case Group:
		tooMuch = 0o027
	case Nobody:
		tooMuch = 0o077
	}
	if mode := mode.Perm(); mode&tooMuch != 0 {
		return &Error{
			fmt.Errorf("%s has mode %04o, too open for what it holds", name, mode),
			fmt.Sprintf("chmod %04o %s, or set defaultMode: %04o on a Kubernetes volume", mode&^tooMuch, name, mode&^tooMuch&0o440),
		}
	}
	return nil
}
