package pluginserver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// errEventOver is the error of every call in an event that has ended: its deadline has
// passed, or its connection is gone.
var errEventOver = errors.New("the event is over")

// Event is one phase of one request. Its connection to Kong carries nothing else until it
// ends.
//
// Its methods are Kong's PDK functions, under Kong's names. Each only queues its call, and
// those with a result return a Reply. Reply.Wait and the event's end write all queued calls
// at once. So calls that are made together cost one wait, and calls without a result none.
//
// An Event belongs to the goroutine that it was passed to, and must not be kept: the
// connection's next event reuses it.
type Event struct {
	c *conn

	// Buffers that the handler's goroutine reuses, from call to call and from event to
	// event.
	arg    []byte  // the argument of a call
	part   []byte  // a message inside it
	fields []Field // the headers in this event's replies

	mu      sync.Mutex // guards everything below: the deadline is another goroutine's
	answers *Answers   // of the plugin
	state   eventState
	ctx     *eventContext // made when asked for
	out     []byte        // frames not yet written
	calls   []span        // this event's calls, in order: where in replies their replies are
	sent    int           // how many of calls are on the wire
	heard   int           // how many of calls have had their replies read
	replies []byte        // replies of this event, one after the other
	fault   error         // a reply that couldn't be taken; it overrides the verdict
	left    time.Duration
	resumed time.Time // when left began to run
}

type eventState uint8

const (
	stateOver    eventState = iota
	stateRunning            // the handler's time
	stateAsking             // Kong's time
)

// span is where a reply is. It is empty until that was read.
type span struct{ start, end int }

// queue adds a call to those that are to be written, and returns its number.
func (e *Event) queue(method string, arg []byte) (call int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state == stateOver {
		return 0 // reply won't look for it
	}
	return e.append(method, arg)
}

// append is queue for the event's owner.
func (e *Event) append(method string, arg []byte) (call int) {
	e.out = appendFrame(e.out, method)
	e.out = appendFrame(e.out, arg)
	e.calls = append(e.calls, span{})
	return len(e.calls) - 1
}

// reply returns the reply to a call of the handler's, and waits for it. It is
// valid until the event ends.
func (e *Event) reply(call int) ([]byte, error) {
	if err := e.suspend(); err != nil {
		return nil, err
	}
	defer e.resume()
	reply, err := e.read(call)
	if err == nil {
		err = e.fault
	}
	return reply, err
}

// Context ends when the event's time is up or the server stops. It does not end when the
// client leaves, of which Kong doesn't tell plugins.
func (e *Event) Context() context.Context {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx == nil {
		e.ctx = &eventContext{server: e.c.server.ctx}
		if e.state == stateOver {
			e.ctx.end(errEventOver)
		}
	}
	return e.ctx
}

// suspend stops the event's clock for the time that Kong takes.
func (e *Event) suspend() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state != stateRunning {
		return errEventOver
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

// expire ends the event for a handler that has used up its time, and reports whether it
// did.
func (e *Event) expire(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state != stateRunning || now.Sub(e.resumed) < e.left {
		return false
	}
	e.end(context.DeadlineExceeded)
	e.answers.count(Fault().Because(ReasonDeadline))
	e.c.exits.Add(1) // before the handler can learn of it and the connection end
	return true
}

// begin makes the event ready for a handler of the plugin whose answers these are.
func (e *Event) begin(answers *Answers) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ctx, e.answers = nil, answers
	e.calls, e.sent, e.heard, e.fault = e.calls[:0], 0, 0, nil
	e.out, e.replies, e.arg = reuse(e.out), reuse(e.replies), reuse(e.arg)
	e.fields = e.fields[:0]
	e.left = e.c.server.timeout
	e.state, e.resumed = stateRunning, time.Now()
}

// reuse empties a buffer for the next event, and drops it if a large body has made it grow.
func reuse(buf []byte) []byte {
	const keep = 64 << 10
	if cap(buf) > keep {
		return nil
	}
	return buf[:0]
}

// finish ends the event for its handler and stops its clock. It reports false if the
// deadline has already ended it.
func (e *Event) finish() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state == stateOver {
		return false
	}
	e.end(errEventOver)
	return true
}

// end makes every further call of the handler fail. The caller holds mu.
func (e *Event) end(cause error) {
	e.state = stateOver
	if e.ctx != nil {
		e.ctx.end(cause)
	}
}

// flush writes the queued calls. The caller owns the event, or is its handler's goroutine in
// stateAsking.
func (e *Event) flush() error {
	if len(e.out) == 0 {
		return nil
	}
	_, err := e.c.nc.Write(e.out)
	e.out = e.out[:0]
	e.sent = len(e.calls)
	if err != nil {
		return fmt.Errorf("%w: %v", errEventOver, err)
	}
	return nil
}

// read returns the reply to a call, after those to the calls before it.
func (e *Event) read(call int) ([]byte, error) {
	if call >= e.sent {
		if err := e.flush(); err != nil {
			return nil, err
		}
	}
	for e.heard <= call {
		if err := e.readReply(); err != nil {
			return nil, err
		}
	}
	at := e.calls[call]
	return e.replies[at.start:at.end:at.end], nil
}

// readReply reads the next reply. One over maxFrame counts as empty: the event goes on, and
// can only end in an exit.
func (e *Event) readReply() error {
	start := len(e.replies)
	var err error
	e.replies, err = readFrame(e.c.r, e.replies)
	switch {
	case errors.Is(err, errFrameTooLarge):
		e.fault = err
	case err != nil:
		return fmt.Errorf("%w: %v", errEventOver, err)
	}
	e.calls[e.heard] = span{start, len(e.replies)}
	e.heard++
	return nil
}

// drain reads all replies that are still to come.
func (e *Event) drain() error {
	for e.heard < e.sent {
		if err := e.readReply(); err != nil {
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

// tellLog queues the log lines that wait for an event.
func (e *Event) tellLog() {
	if e.c.server.log == nil {
		return
	}
	for _, line := range e.c.server.log.take() {
		e.append(line.method(), line.argument())
	}
}
