// Package unixsocket is listening on a unix socket whose path outlives a server: a new
// server takes it over while the old one still serves. It also tells who is at the other
// end, and has HTTP's transport to such a socket.
package unixsocket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

const (
	// maxAddress is the longest path, in bytes, that a unix socket's address holds on
	// Linux (sun_path, less the closing zero).
	maxAddress = 107
	// maxPath leaves room for the temporary name of a socket that is being made.
	maxPath = 90
)

// ParsePath checks a setting that names a socket: an absolute path, which may stand behind
// "unix:". example is what an error suggests instead.
func ParsePath(setting, example string) (string, error) {
	path := strings.TrimPrefix(setting, "unix:")
	switch {
	case !filepath.IsAbs(path) || strings.HasSuffix(path, "/"):
		return "", fmt.Errorf("it must be the absolute path of a socket, such as %s, not %.100q", example, setting)
	case len(path) > maxPath:
		return "", fmt.Errorf("a socket's path may have %d bytes, and %.100q has %d", maxPath, path, len(path))
	}
	return filepath.Clean(path), nil
}

// Socket is a listening unix socket at a path that other servers may take
// over: an upgrade in place, or `kong reload` with a start command, starts a new
// server on the path while the old one still serves.
type Socket struct {
	path      string
	mode      fs.FileMode
	gid       int  // -1 for none
	inherited bool // systemd has bound the socket, and removes it

	mu       sync.Mutex // guards the rest
	listener *net.UnixListener
	own      os.FileInfo // the file that leads to the listener
	closed   bool
}

// Listen listens at path, with a file mode, and with a group if gid is
// not negative. The socket is bound under another name and then renamed, so
// that the path always leads to a server, and never to one with the wrong mode. A
// file at the path that isn't a socket is an error. Errors name the path.
func Listen(path string, mode fs.FileMode, gid int) (*Socket, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("%s exists and is not a socket: choose another path", path)
	}
	s := &Socket{path: path, mode: mode, gid: gid}
	if err := s.bind(os.Rename); err != nil {
		return nil, err
	}
	return s, nil
}

// Inherit returns the socket that systemd has passed on (LISTEN_FDS), or nil if it hasn't.
func Inherit() (*Socket, error) {
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

// bind makes the socket under a temporary name, and lets move rename it to the path.
func (s *Socket) bind(move func(from, to string) error) error {
	temporary := filepath.Join(filepath.Dir(s.path), fmt.Sprintf(".%d-%x", os.Getpid(), time.Now().UnixNano()&0xffffff))
	for _, p := range []string{s.path, temporary} {
		if len(p) > maxAddress {
			return fmt.Errorf("socket path %s has %d bytes, a unix socket's path may have %d: use a shorter one", p, len(p), maxAddress)
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary, Net: "unix"})
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("listen on socket %s: %w (its folder must exist, and this user must be able to write to it)", s.path, err)
	case err != nil:
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
	// ErrTaken is what Check returns while the path leads to another server's socket.
	ErrTaken     = errors.New("another server listens on this socket's path")
	errInherited = errors.New("its file was removed, and only systemd, which passed it on, can make another (systemctl restart vault-auth.socket)")
)

// Inherited reports whether systemd has passed the socket on.
func (s *Socket) Inherited() bool { return s.inherited }

// Check returns nil while the path leads here, ErrTaken while it leads to another server,
// and an error that matches fs.ErrNotExist after the file was removed.
func (s *Socket) Check() error {
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
		return ErrTaken
	}
	return nil
}

// Keep restores the socket whenever its file was removed, say by whatever cleans up in
// /run, until ctx ends. It looks once in a period, and calls failed with an error that
// keeps it from restoring it. It leaves the path alone while another server has it.
func (s *Socket) Keep(ctx context.Context, period time.Duration, failed func(error)) {
	t := time.NewTicker(period)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if !errors.Is(s.Check(), fs.ErrNotExist) {
				continue
			}
			if err := s.Restore(); err != nil && !errors.Is(err, net.ErrClosed) {
				failed(err)
			}
		}
	}
}

// Restore listens at the path again after its file was removed. It fails, and changes
// nothing, if another server has taken the path in the meantime.
func (s *Socket) Restore() error {
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
