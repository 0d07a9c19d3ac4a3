package pluginserver

import (
	"io"
	"net"
	"syscall"
)

// rawConn is a unix socket whose reads and writes don't go through Go's scheduler. Go treats
// every system call as one that may block: it wakes the thread that watches such calls, which
// costs more than the read or write of a PDK call itself. On a non-blocking socket no call
// blocks. Go's poller waits for more data, as with any other socket.
//
// One goroutine may read while another one writes.
type rawConn struct {
	*net.UnixConn
	raw syscall.RawConn

	in, out         []byte // what is left to fill, and to write
	n               int    // bytes read
	readErr, outErr syscall.Errno
	read, write     func(fd uintptr) (done bool) // made once, since a closure is an allocation
}

func newRawConn(nc *net.UnixConn) (*rawConn, error) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &rawConn{UnixConn: nc, raw: raw}
	c.read, c.write = c.tryRead, c.tryWrite
	return c, nil
}

// Read is io.Reader's.
func (c *rawConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.in = p
	err := c.raw.Read(c.read)
	c.in = nil
	switch {
	case err != nil:
		return 0, err
	case c.readErr != 0:
		return 0, c.readErr
	case c.n == 0:
		return 0, io.EOF
	}
	return c.n, nil
}

// Write is io.Writer's.
func (c *rawConn) Write(p []byte) (int, error) {
	c.out, c.outErr = p, 0
	err := c.raw.Write(c.write)
	n := len(p) - len(c.out)
	c.out = nil
	if err == nil && c.outErr != 0 {
		err = c.outErr
	}
	return n, err
}

func (c *rawConn) tryRead(fd uintptr) (done bool) {
	c.n, c.readErr = rawRead(fd, c.in)
	return c.readErr != syscall.EAGAIN
}

func (c *rawConn) tryWrite(fd uintptr) (done bool) {
	for len(c.out) > 0 {
		n, errno := rawWrite(fd, c.out)
		if errno == syscall.EAGAIN {
			return false
		}
		if c.outErr = errno; errno != 0 {
			return true
		}
		c.out = c.out[n:]
	}
	return true
}
