package kongtest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"kong-vault-auth/kongtest/internal/nginx"
)

// readBuffer is larger than any batch of frames that a plugin server would
// write at once, so that how often a read finds nothing depends on the plugin
// and not on the buffer (nginx reads 4 KiB at a time).
const readBuffer = 64 << 10

// connection is one of Kong's connections to a plugin server.
type connection struct {
	net.Conn
	r       *bufio.Reader
	timeout time.Duration // of each read and write
	sent    bool          // something was sent since the last wait
	waits   int           // see Outcome.Waits
	idle    time.Time     // since when it is in the pool
}

func dial(socket string, timeout time.Duration) (*connection, error) {
	c, err := net.DialTimeout("unix", socket, timeout)
	if err != nil {
		return nil, &CallError{nginxError(err), err}
	}
	return &connection{Conn: c, r: bufio.NewReaderSize(c, readBuffer), timeout: timeout}, nil
}

// readFrame reads one length-prefixed frame.
func (c *connection) readFrame() ([]byte, error) {
	var head [4]byte
	if err := c.readFull(head[:]); err != nil {
		return nil, err
	}
	n := int64(binary.LittleEndian.Uint32(head[:]))
	if n <= readBuffer {
		b := make([]byte, n)
		return b, c.readFull(b)
	}
	// A length that a broken plugin made up must not cost its size in memory.
	if err := c.willRead(int(n)); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, c.r, n); err != nil {
		return nil, &CallError{nginxError(err), err}
	}
	return b.Bytes(), nil
}

func (c *connection) readFull(b []byte) error {
	if err := c.willRead(len(b)); err != nil {
		return err
	}
	if _, err := io.ReadFull(c.r, b); err != nil {
		return &CallError{nginxError(err), err}
	}
	return nil
}

// willRead counts the wait, and sets the deadline, of a read that the buffer
// can't answer.
func (c *connection) willRead(n int) error {
	if c.r.Buffered() >= n {
		return nil
	}
	if c.sent {
		c.waits++
		c.sent = false
	}
	if err := c.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
		return &CallError{nginxError(err), err}
	}
	return nil
}

// writeFrame sends the length and the bytes one after the other, as Kong does.
func (c *connection) writeFrame(b []byte) error {
	c.sent = true
	var head [4]byte
	binary.LittleEndian.PutUint32(head[:], uint32(len(b)))
	for _, part := range [][]byte{head[:], b} {
		if len(part) == 0 {
			continue
		}
		if _, err := c.Write(part); err != nil {
			return &LuaError{nginxError(err)}
		}
	}
	return nil
}

// alive reports whether a pooled connection may be used again: nginx drops
// connections that the other side has closed, or has written to without a request.
func (c *connection) alive() bool { return c.r.Buffered() == 0 && nginx.Quiet(c.Conn) }

// nginxError is the text of the error in a cosocket: Kong decides by it whether it
// runs an event again.
func nginxError(err error) string {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "closed"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.Is(err, syscall.ECONNRESET):
		return "connection reset by peer"
	case errors.Is(err, syscall.EPIPE):
		return "broken pipe"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ENOENT):
		return "no such file or directory"
	}
	return err.Error()
}
