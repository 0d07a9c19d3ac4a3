package pluginserver

import (
	"encoding/binary"
	"errors"
	"net"
	"time"
)

// bridge is the connection that go-pdk's PDK believes to have to Kong: it
// turns what the PDK writes into calls on the event, and gives back the
// replies. A call without a result is told, and its empty reply made up here.
type bridge struct {
	e       *Event
	written []byte // of a name and an argument not yet complete
	unread  []byte // of a reply
}

// errExitByPDK is what a handler gets that ends an event behind its verdict's
// back.
var errExitByPDK = errors.New("an event ends with a verdict: return pluginserver.Exit instead of calling kong.response.exit")

// Write takes bytes of frames. It returns ErrEventOver once the event has
// ended.
func (b *bridge) Write(p []byte) (int, error) {
	b.written = append(b.written, p...)
	name, rest, ok := cutFrame(b.written)
	if !ok {
		return len(p), nil
	}
	arg, _, ok := cutFrame(rest)
	if !ok {
		return len(p), nil
	}
	defer func() { b.written = b.written[:0] }()
	b.unread = b.unread[:0]
	if withoutResult[string(name)] {
		b.e.Tell(string(name), arg)
		b.unread = appendFrame(b.unread, "")
		return len(p), nil
	}
	if string(name) == methodExit {
		return 0, errExitByPDK
	}
	b.e.Ask(string(name), arg)
	reply, err := b.e.Answer()
	if err != nil {
		return 0, err
	}
	b.unread = appendFrame(b.unread, reply)
	return len(p), nil
}

func (b *bridge) Read(p []byte) (int, error) {
	if len(b.unread) == 0 {
		return 0, ErrEventOver
	}
	n := copy(p, b.unread)
	b.unread = b.unread[n:]
	return n, nil
}

// Close does nothing: go-pdk closes after kong.response.exit, and how an event
// ends is for its verdict to say.
func (b *bridge) Close() error                     { return nil }
func (b *bridge) LocalAddr() net.Addr              { return b.e.c.nc.LocalAddr() }
func (b *bridge) RemoteAddr() net.Addr             { return b.e.c.nc.RemoteAddr() }
func (b *bridge) SetDeadline(time.Time) error      { return nil }
func (b *bridge) SetReadDeadline(time.Time) error  { return nil }
func (b *bridge) SetWriteDeadline(time.Time) error { return nil }

// cutFrame returns the content of the frame at the start of b and what follows
// it, or false where it isn't complete.
func cutFrame(b []byte) (content, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := int(binary.LittleEndian.Uint32(b))
	if len(b)-4 < n {
		return nil, nil, false
	}
	return b[4 : 4+n], b[4+n:], true
}
