package pluginserver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrEventOver is returned by every call on an event that has ended: its
// deadline has passed, or its connection is gone.
var ErrEventOver = errors.New("the event is over")

// Event is one phase of one request. It speaks to Kong over a connection that
// carries nothing else meanwhile.
//
// There are two kinds of call: Tell, for functions without a result, and Ask,
// whose reply Answer returns. Both only queue; Answer and the event's end write
// what is queued in one go, so questions that are asked together cost one wait.
//
// An Event is for the goroutine that it was handed to, and not to be kept:
// the connection's next event uses it again.
type Event struct {
	c *conn

	mu      sync.Mutex // guards everything below: the deadline is another goroutine's
	state   eventState
	ctx     context.Context // made when asked for
	cancel  context.CancelCauseFunc
	out     []byte     // frames not yet written
	calls   []callKind // this event's calls, in order
	sent    int        // how many of calls are on the wire
	heard   int        // how many of calls have had their replies read
	replies []byte     // replies of this event, one after the other
	fault   error      // a reply that couldn't be taken; it overrides the verdict
	left    time.Duration
	resumed time.Time // when left began to run
}

type eventState uint8

const (
	stateOver    eventState = iota
	stateRunning            // the handler's time
	stateAsking             // Kong's time
)

type callKind uint8

const (
	callTold callKind = iota
	callAsked
)

// Tell queues a call of a PDK function that has no result, such as
// kong.client.authenticate. arg is the argument's protobuf encoding.
func (e *Event) Tell(method string, arg []byte) { e.queue(method, arg, callTold) }

// Ask queues a call of a PDK function whose reply Answer will return.
func (e *Event) Ask(method string, arg []byte) { e.queue(method, arg, callAsked) }

func (e *Event) queue(method string, arg []byte, kind callKind) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state == stateOver {
		return
	}
	e.out = appendFrame(e.out, method)
	e.out = appendFrame(e.out, arg)
	e.calls = append(e.calls, kind)
}

// Answer returns the reply to the oldest Ask that has not been answered, and
// waits for it. The reply is valid until the event ends. Errors mean that the
// event can't go on as planned: ErrEventOver, a reply over MaxFrame, or an
// Answer without an Ask.
func (e *Event) Answer() ([]byte, error) {
	if err := e.suspend(); err != nil {
		return nil, err
	}
	defer e.resume()
	return e.read(callAsked)
}

// Context ends when the event's time is up or the server stops. It does not
// end when the client leaves: Kong tells nobody of that.
func (e *Event) Context() context.Context {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx == nil {
		e.ctx, e.cancel = context.WithCancelCause(e.c.server.ctx)
		if e.state == stateOver {
			e.cancel(ErrEventOver)
		}
	}
	return e.ctx
}

// suspend stops the event's clock for the time that Kong takes.
func (e *Event) suspend() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state != stateRunning {
		return ErrEventOver
	}
	e.left -= time.Since(e.resumed)
	e.state = stateAsking
	return nil
}

func (e *Event) resume() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state != stateAsking {
		return
	}
	e.state, e.resumed = stateRunning, time.Now()
}

// expire takes the event away from a handler that has used up its time. It
// reports whether it has.
func (e *Event) expire(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state != stateRunning || now.Sub(e.resumed) < e.left {
		return false
	}
	e.end(context.DeadlineExceeded)
	e.c.exits.Add(1) // before the handler can learn of it and the connection end
	return true
}

// begin makes the event ready for a handler.
func (e *Event) begin() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ctx, e.cancel = nil, nil
	e.out, e.calls, e.sent, e.heard, e.fault = e.out[:0], e.calls[:0], 0, 0, nil
	if cap(e.replies) > keepReplies {
		e.replies = nil
	}
	e.replies = e.replies[:0]
	e.left = e.c.server.timeout
	e.state, e.resumed = stateRunning, time.Now()
}

// keepReplies is how many bytes for replies an idle connection keeps.
const keepReplies = 64 << 10

// finish takes the event away from its handler and stops its clock. It reports
// whether it was still the handler's to finish: the deadline may have won.
func (e *Event) finish() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state == stateOver {
		return false
	}
	e.end(ErrEventOver)
	return true
}

// end makes every further call of the handler fail. The caller holds mu.
func (e *Event) end(cause error) {
	e.state = stateOver
	if e.cancel != nil {
		e.cancel(cause)
	}
}

// flush writes what is queued. The caller owns the event or is its handler's
// goroutine in stateAsking.
func (e *Event) flush() error {
	if len(e.out) == 0 {
		return nil
	}
	_, err := e.c.nc.Write(e.out)
	e.out = e.out[:0]
	e.sent = len(e.calls)
	if err != nil {
		return fmt.Errorf("%w: %v", ErrEventOver, err)
	}
	return nil
}

// read writes what is queued and reads replies up to and including that of the
// first call of a kind.
func (e *Event) read(kind callKind) ([]byte, error) {
	if err := e.flush(); err != nil {
		return nil, err
	}
	for e.heard < e.sent {
		asked, reply, err := e.readReply()
		if err != nil && !errors.Is(err, errFrameTooLarge) {
			return nil, err
		}
		if asked == kind {
			return reply, err
		}
	}
	return nil, errors.New("no question to answer")
}

// readReply reads the next reply and says what kind of call it answers. After
// a reply over MaxFrame the event can go on, but only to an exit.
func (e *Event) readReply() (callKind, []byte, error) {
	kind := e.calls[e.heard]
	e.heard++
	at := len(e.replies)
	var err error
	e.replies, err = readFrame(e.c.r, e.replies)
	reply := e.replies[at:len(e.replies):len(e.replies)]
	switch {
	case errors.Is(err, errFrameTooLarge):
		e.fault = err
	case err != nil:
		err = fmt.Errorf("%w: %v", ErrEventOver, err)
	}
	return kind, reply, err
}

// drain reads every reply that is still to come. Questions that nobody will
// hear the answers of are as good as told.
func (e *Event) drain() error {
	for e.heard < e.sent {
		if _, _, err := e.readReply(); err != nil && !errors.Is(err, errFrameTooLarge) {
			return err
		}
	}
	return nil
}

// pass ends the event: Kong goes on with the request.
func (e *Event) pass(sequence int64) error {
	e.tellLog()
	e.out = appendFrame(e.out, "")
	var ret [16]byte
	e.out = appendFrame(e.out, appendSequence(ret[:0], sequence))
	return e.flush()
}

// appendSequence appends an RpcReturn that holds nothing but a sequence.
func appendSequence(buf []byte, sequence int64) []byte {
	if sequence == 0 {
		return buf
	}
	buf = protowire.AppendTag(buf, 1, protowire.VarintType)
	return protowire.AppendVarint(buf, uint64(sequence))
}

// tellLog queues the log lines that wait for an event to ride on.
func (e *Event) tellLog() {
	if e.c.server.log == nil {
		return
	}
	for _, line := range e.c.server.log.Take() {
		e.out = appendFrame(e.out, line.method())
		e.out = appendFrame(e.out, line.argument())
		e.calls = append(e.calls, callTold)
	}
}
