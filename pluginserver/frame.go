package pluginserver

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxFrame is the largest frame, in bytes, that is kept. A longer reply to a PDK call is read
// and discarded, and the event ends with status 413. A longer RpcCall closes the connection.
const maxFrame = 8 << 20

// errFrameTooLarge is returned by readFrame for a frame over maxFrame, which it has
// discarded: the next frame can be read.
var errFrameTooLarge = errors.New("frame larger than 8 MiB")

// readFrame appends the next frame's bytes to buf.
func readFrame(r *bufio.Reader, buf []byte) ([]byte, error) {
	head, err := r.Peek(4)
	if err != nil {
		if len(head) > 0 {
			err = unexpected(err)
		}
		return buf, err
	}
	n := int(binary.LittleEndian.Uint32(head))
	if _, err := r.Discard(len(head)); err != nil {
		return buf, err
	}
	if n > maxFrame {
		if _, err := io.CopyN(io.Discard, r, int64(n)); err != nil {
			return buf, unexpected(err)
		}
		return buf, fmt.Errorf("%w: %d bytes", errFrameTooLarge, n)
	}
	start := len(buf)
	// The length is only a claim until the bytes arrive, so the buffer grows in steps.
	const step = 64 << 10
	for n > 0 {
		part := min(n, step)
		at := len(buf)
		buf = append(buf, make([]byte, part)...)
		if _, err := io.ReadFull(r, buf[at:]); err != nil {
			return buf[:start], unexpected(err)
		}
		n -= part
	}
	return buf, nil
}

// unexpected tells the end of a stream inside a frame from one between frames.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// appendFrame appends data as a frame.
func appendFrame[T string | []byte](buf []byte, data T) []byte {
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(data)))
	return append(buf, data...)
}
