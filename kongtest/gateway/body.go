package gateway

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http/httputil"
	"time"
)

// clientBody is the body of an HTTP/1 request, read from the connection only
// when it is asked for.
type clientBody struct {
	r         *bufio.Reader
	reader    io.Reader
	left      int64     // of a body with a Content-Length
	trailing  bool      // chunked: a trailer follows the last chunk
	proceed   io.Writer // where "100 Continue" goes before the first read
	ended     bool
	keepAlive bool // the connection may be used again
}

func (b *clientBody) chunked() {
	b.reader = httputil.NewChunkedReader(b.r)
	b.trailing = true
}

// Read reads the body. One that the client cuts short is an error.
func (b *clientBody) Read(p []byte) (int, error) {
	if b.ended {
		return 0, io.EOF
	}
	if b.proceed != nil {
		if _, err := io.WriteString(b.proceed, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return 0, err
		}
		b.proceed = nil
	}
	n, err := b.reader.Read(p)
	if !b.trailing {
		b.left -= int64(n)
	}
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	if b.left > 0 {
		return n, io.ErrUnexpectedEOF
	}
	if b.trailing {
		if err := b.readTrailer(); err != nil {
			return n, err
		}
	}
	b.ended = true
	return n, io.EOF
}

// readTrailer reads the lines after the last chunk, which nginx ignores.
func (b *clientBody) readTrailer() error {
	for {
		line, err := b.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			return nil
		}
	}
}

// discard reads the rest of the body, and reports whether it ended.
func (b *clientBody) discard(c net.Conn) bool {
	if b.ended {
		return true
	}
	if b.proceed != nil {
		return false // the client waits for 100 Continue, and has sent nothing
	}
	end := time.Now().Add(lingeringTime)
	defer c.SetReadDeadline(time.Time{})
	buf := make([]byte, 8<<10)
	for {
		c.SetReadDeadline(earlier(end, time.Now().Add(lingeringTimeout)))
		if _, err := b.Read(buf); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
