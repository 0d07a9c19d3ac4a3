//go:build race

package pluginserver

import (
	"errors"
	"syscall"
)

// The race detector takes what was written to a socket before it was read from
// one for ordered, and sees only the calls of package syscall.

func rawRead(fd uintptr, buf []byte) (int, syscall.Errno) { return seenCall(syscall.Read, fd, buf) }

func rawWrite(fd uintptr, buf []byte) (int, syscall.Errno) { return seenCall(syscall.Write, fd, buf) }

func seenCall(call func(int, []byte) (int, error), fd uintptr, buf []byte) (int, syscall.Errno) {
	for {
		n, err := call(int(fd), buf)
		var errno syscall.Errno
		if errors.As(err, &errno); errno != syscall.EINTR {
			return n, errno
		}
	}
}
