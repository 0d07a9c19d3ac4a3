// Package nginx is what nginx and OpenResty do to query strings, paths and
// connections, as far as plugins and services notice it.
package nginx

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// RequestID makes an id like nginx's $request_id.
func RequestID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Quiet reports whether a connection is open and has nothing to read. nginx reuses
// no others: their peer has closed them, or has sent data without a request.
func Quiet(c net.Conn) bool {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return false
	}
	again := false
	err = raw.Control(func(fd uintptr) { // not Read, which waits for a reader's turn
		var b [1]byte
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		again = errors.Is(err, unix.EAGAIN)
	})
	return err == nil && again
}
