package pluginserver

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// maxSocketPath is the longest path, in bytes, that a unix socket's address
// holds on Linux (sun_path, less the closing zero).
const maxSocketPath = 107

// Socket is a listening unix socket at a path that other servers may take
// over: an upgrade in place, or `kong reload` with a start command, starts a new
// server on the path while the old one still serves.
type Socket struct {
	path      string
	mode      fs.FileMode
	gid       int  // -1 for none
	inherited bool // whoever passed it on has bound it, and binds or removes it

	mu       sync.Mutex // guards the rest
	listener *net.UnixListener
	own      os.FileInfo // the file that leads to the listener
	closed   bool
}

// ListenSocket listens at path, with a file mode, and with a group if gid is
// not negative. The socket is bound under another name and then renamed, so
// that the path always leads to a server, and never to one that may not be
// spoken to yet. Errors name the path.
func ListenSocket(path string, mode fs.FileMode, gid int) (*Socket, error) {
	s := &Socket{path: path, mode: mode, gid: gid}
	if err := s.bind(os.Rename); err != nil {
		return nil, err
	}
	return s, nil
}

// inheritSocket returns the socket that systemd has passed on, by its protocol
// (LISTEN_FDS), or nil if it hasn't.
func inheritSocket() (*Socket, error) {
	listeners, err := activation.Listeners()
	if err != nil || len(listeners) == 0 {
		return nil, err
	}
	l, ok := listeners[0].(*net.UnixListener)
	if !ok || len(listeners) > 1 || !filepath.IsAbs(l.Addr().String()) {
		return nil, errors.New("what was passed on (LISTEN_FDS) must be one unix stream socket: give the socket unit a single ListenStream=, with a path")
	}
	s := &Socket{path: l.Addr().String(), gid: -1, inherited: true, listener: l}
	s.own, err = os.Lstat(s.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("socket that was passed on: %w", err)
	}
	return s, nil
}

// bind makes the socket under a name of its own and lets move take it to the
// path.
func (s *Socket) bind(move func(from, to string) error) error {
	temporary := filepath.Join(filepath.Dir(s.path), fmt.Sprintf(".%d-%x", os.Getpid(), time.Now().UnixNano()&0xffffff))
	for _, p := range []string{s.path, temporary} {
		if len(p) > maxSocketPath {
			return fmt.Errorf("socket path %s has %d bytes, a unix socket's path may have %d: use a shorter one", p, len(p), maxSocketPath)
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen on socket %s: %w", s.path, err)
	}
	l.SetUnlinkOnClose(false)
	own, err := s.place(temporary, move)
	if err != nil {
		l.Close()
		os.Remove(temporary)
		return fmt.Errorf("listen on socket %s: %w", s.path, err)
	}
	s.listener, s.own = l, own
	return nil
}

func (s *Socket) place(temporary string, move func(from, to string) error) (os.FileInfo, error) {
	if s.gid >= 0 {
		if err := os.Chown(temporary, -1, s.gid); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(temporary, s.mode); err != nil {
		return nil, err
	}
	own, err := os.Lstat(temporary)
	if err != nil {
		return nil, err
	}
	return own, move(temporary, s.path)
}

// Accept returns the next connection.
func (s *Socket) Accept() (net.Conn, error) {
	for {
		l := s.current()
		c, err := l.Accept()
		if err == nil || l == s.current() {
			return c, err
		}
	}
}

// Addr is the socket's path.
func (s *Socket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

func (s *Socket) current() *net.UnixListener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listener
}

// Close stops listening and removes the socket's file, if the path still leads
// here and the socket was not passed on.
func (s *Socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil // the file's number may be another's by now
	}
	s.closed = true
	var err error
	if !s.inherited && s.found() == nil {
		err = os.Remove(s.path)
	}
	return errors.Join(err, s.listener.Close())
}

var (
	// errTaken says that the path leads to somebody else's socket.
	errTaken = errors.New("another plugin server listens on this socket's path")
	// errInherited says what to do when only who passed the socket on can do it.
	errInherited = errors.New("its file was removed, and only who passed it on can make another (systemctl restart vault-auth.socket)")
)

// checkPath returns nil while the path leads here.
func (s *Socket) checkPath() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.found()
}

func (s *Socket) found() error {
	now, err := os.Lstat(s.path)
	if err != nil {
		return err
	}
	if !os.SameFile(now, s.own) {
		return errTaken
	}
	return nil
}

// restore listens at the path again after its file was removed. It fails, and
// changes nothing, if another server has the path by then.
func (s *Socket) restore() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return net.ErrClosed
	case s.inherited:
		return errInherited
	}
	old := s.listener
	if err := s.bind(moveToFree); err != nil {
		return err
	}
	return old.Close()
}

// moveToFree renames a file unless there is one of the new name.
func moveToFree(from, to string) error {
	return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
}
