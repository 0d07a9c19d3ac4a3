package pluginserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// maxSocketPath is the longest path, in bytes, that a unix socket's address
// holds on Linux (sun_path, less the closing zero).
const maxSocketPath = 107

// Socket is a listening unix socket at a path that other servers may take
// over: `kong reload` starts a new server on the path while the old one still
// serves.
type Socket struct {
	*net.UnixListener
	path string
	own  os.FileInfo
}

// ListenSocket listens at path, with a file mode, and with a group if gid is
// not negative. The socket is bound under another name and then renamed, so
// that the path always leads to a server, and never to one that may not be
// spoken to yet. Errors name the path.
func ListenSocket(path string, mode fs.FileMode, gid int) (*Socket, error) {
	temporary := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%d-%x", os.Getpid(), time.Now().UnixNano()&0xffffff))
	for _, p := range []string{path, temporary} {
		if len(p) > maxSocketPath {
			return nil, fmt.Errorf("socket path %s has %d bytes, a unix socket's path may have %d: use a shorter Kong prefix", p, len(p), maxSocketPath)
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on socket %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	s := &Socket{UnixListener: l, path: path}
	if err := s.place(temporary, mode, gid); err != nil {
		l.Close()
		os.Remove(temporary)
		return nil, fmt.Errorf("listen on socket %s: %w", path, err)
	}
	return s, nil
}

func (s *Socket) place(temporary string, mode fs.FileMode, gid int) (err error) {
	if gid >= 0 {
		if err := os.Chown(temporary, -1, gid); err != nil {
			return err
		}
	}
	if err := os.Chmod(temporary, mode); err != nil {
		return err
	}
	if s.own, err = os.Lstat(temporary); err != nil {
		return err
	}
	return os.Rename(temporary, s.path)
}

// Close stops listening and removes the socket if the path is still its own.
func (s *Socket) Close() error {
	if s.taken() == nil {
		if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(err, s.UnixListener.Close())
		}
	}
	return s.UnixListener.Close()
}

// errTaken says that the path leads to somebody else's socket.
var errTaken = errors.New("another plugin server listens on this socket's path")

// taken returns nil while the path is this socket's.
func (s *Socket) taken() error {
	now, err := os.Lstat(s.path)
	if err != nil {
		return err
	}
	if !os.SameFile(now, s.own) {
		return errTaken
	}
	return nil
}

// WatchTakeover returns when this server isn't needed any more and idle says that
// nothing is in flight, and tells whether that is why it returned, and not
// ctx's end. A server whose worker crashed has nobody else to tell it.
//
// While the path isn't this server's, needless is asked whether to leave:
// whether the path leads to another server, and for how long it hasn't led
// here. To leave while the worker still lives would be wrong: it would start
// another server, which would take the path from the new worker's.
func (s *Socket) WatchTakeover(ctx context.Context, every time.Duration, needless func(replaced bool, since time.Duration) bool, idle func() bool) bool {
	t := time.NewTicker(every)
	defer t.Stop()
	var lost time.Time
	for {
		select {
		case <-ctx.Done():
			return false
		case now := <-t.C:
			err := s.taken()
			if err == nil {
				lost = time.Time{}
				continue
			}
			if lost.IsZero() {
				lost = now
			}
			if needless(errors.Is(err, errTaken), now.Sub(lost)) && idle() {
				return true
			}
		}
	}
}
