package pluginserver

import (
	"os"

	"golang.org/x/sys/unix"
)

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
