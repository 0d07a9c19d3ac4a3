package pluginserver

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"kong-vault-auth/unixsocket"
)

const (
	// lookEvery is how often a server checks where its socket's path leads.
	lookEvery = time.Second

	// takeoverPatience is how long a server whose parent is alive stays after another
	// has taken its path. If one of Kong's workers has started it and it left at once,
	// that worker would start another, which would take the path from the new worker's
	// server. After this time the old worker is exiting and starts nothing any more.
	takeoverPatience = 10 * time.Second
)

// keepPath checks until ctx ends where the socket's path leads. It restores the socket when
// its file was removed. While another server has the path, it sends Kong there. It returns
// true when this server isn't needed any more and nothing is in flight: another has had the
// path for a while, or the process that started this one is gone.
func (s *Server) keepPath(ctx context.Context, socket *unixsocket.Socket, orphaned func() bool) (needless bool) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	var taken time.Time
	for {
		select {
		case <-ctx.Done():
			return false
		case now := <-t.C:
			err := socket.Check()
			s.Leave(errors.Is(err, unixsocket.ErrTaken))
			switch {
			case err == nil:
				taken = time.Time{}
				continue
			case !errors.Is(err, unixsocket.ErrTaken):
				taken = time.Time{}
			case taken.IsZero():
				taken = now
				s.logger.Info("another plugin server has taken over the socket, and Kong connects to that one", "reason", "takeover")
			}
			enough := !taken.IsZero() && now.Sub(taken) >= takeoverPatience
			if enough || orphaned() {
				if _, busy := s.calls(); !busy {
					return true
				}
				continue
			}
			if errors.Is(err, fs.ErrNotExist) {
				s.restore(socket)
			}
		}
	}
}

func (s *Server) restore(socket *unixsocket.Socket) {
	if err := socket.Restore(); err != nil {
		s.logger.Error("Kong can't connect to this plugin server", "reason", "socket", "socket", socket.Addr().String(), "err", err)
		return
	}
	s.logger.Warn("the socket's file was removed and has been made again", "reason", "socket", "socket", socket.Addr().String())
}

// orphaned reports whether the process that started this one is gone: this one has another
// parent, or nobody reads its output any more.
func orphaned(parent int) bool {
	return os.Getppid() != parent || unread(os.Stdout) || unread(os.Stderr)
}

// unread reports whether f is a pipe whose other end is closed.
func unread(f *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(f.Fd())}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1 && fds[0].Revents&unix.POLLERR != 0
}
