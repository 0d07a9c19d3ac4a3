//go:build !race

package pluginserver

import (
	"syscall"
	"unsafe"
)

func rawRead(fd uintptr, buf []byte) (int, syscall.Errno) { return rawCall(syscall.SYS_READ, fd, buf) }

func rawWrite(fd uintptr, buf []byte) (int, syscall.Errno) {
	return rawCall(syscall.SYS_WRITE, fd, buf)
}

// rawCall reads into or writes from a buffer that isn't empty.
func rawCall(call, fd uintptr, buf []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)))
		if errno != syscall.EINTR {
			return int(n), errno
		}
	}
}
