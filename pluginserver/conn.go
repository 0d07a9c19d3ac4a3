package pluginserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
)

// conn is one of Kong's pooled connections. It carries one call at a time.
type conn struct {
	server *Server
	nc     net.Conn
	r      *bufio.Reader
	event  Event
	exits  sync.WaitGroup // exits that the deadline has made

	steps atomic.Uint64 // one as a call begins, one when it is answered
}

// errClosing ends a connection on purpose, so nothing is logged.
var errClosing = errors.New("closing")

func newConn(s *Server, nc net.Conn) *conn {
	if unix, ok := nc.(*net.UnixConn); ok {
		if raw, err := newRawConn(unix); err == nil { // otherwise it is closed, and reading fails
			nc = raw
		}
	}
	c := &conn{server: s, nc: nc, r: bufio.NewReader(nc)}
	c.event.c = c
	return c
}

// serve answers Kong's calls until the connection ends.
func (c *conn) serve() {
	defer c.nc.Close()
	defer c.exits.Wait()
	var buf []byte
	for {
		var err error
		if buf, err = readFrame(c.r, buf[:0]); err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				c.server.logger.Debug("connection from Kong ended", "err", err)
			}
			return
		}
		c.steps.Add(1)
		err = c.call(buf)
		if err == nil {
			// Kong replies to the calls that were sent with an event's end before it
			// reads the end. Closing before that would fail the request.
			err = c.event.drain()
		}
		c.steps.Add(1)
		if err != nil {
			if !errors.Is(err, errClosing) {
				c.server.logger.Debug("connection closed", "err", err)
			}
			return
		}
	}
}

// halfClose ends this side of the connection, and goes on reading. Closing both sides would
// reset a call that Kong is just sending, and Kong would answer that request 500. After a
// half-close Kong sends the call again over another connection.
func (c *conn) halfClose() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		c.nc.Close()
	}
}

func (c *conn) call(frame []byte) error {
	if event, ok := decodeEvent(frame); ok {
		return c.handleEvent(event)
	}
	var m kong_plugin_protocol.RpcCall
	if err := proto.Unmarshal(frame, &m); err != nil {
		return fmt.Errorf("RpcCall can't be decoded: %w", err)
	}
	switch call := m.Call.(type) {
	case *kong_plugin_protocol.RpcCall_CmdHandleEvent:
		return c.handleEvent(eventCall{m.Sequence, call.CmdHandleEvent.GetInstanceId(), []byte(call.CmdHandleEvent.GetEventName())})
	case *kong_plugin_protocol.RpcCall_CmdStartInstance:
		in := c.server.start(call.CmdStartInstance.Name, call.CmdStartInstance.Config)
		return c.answer(m.Sequence, c.status(in))
	case *kong_plugin_protocol.RpcCall_CmdCloseInstance:
		in, _ := c.server.instances.close(call.CmdCloseInstance.InstanceId)
		return c.answer(m.Sequence, c.status(in))
	case *kong_plugin_protocol.RpcCall_CmdGetInstanceStatus:
		in, ok := c.server.instances.use(call.CmdGetInstanceStatus.InstanceId)
		if ok {
			defer in.done(time.Now())
		}
		return c.answer(m.Sequence, c.status(in))
	default:
		return fmt.Errorf("RpcCall of unknown kind %T", call)
	}
}

func (c *conn) status(in *instance) *kong_plugin_protocol.RpcReturn {
	status := &kong_plugin_protocol.InstanceStatus{Name: c.server.name}
	if in != nil {
		status.InstanceId, status.StartedAt = in.id, in.started.Unix()
	}
	return &kong_plugin_protocol.RpcReturn{Return: &kong_plugin_protocol.RpcReturn_InstanceStatus{InstanceStatus: status}}
}

func (c *conn) answer(sequence int64, ret *kong_plugin_protocol.RpcReturn) error {
	ret.Sequence = sequence
	data, err := proto.Marshal(ret)
	if err != nil {
		return err
	}
	_, err = c.nc.Write(appendFrame(nil, data))
	return err
}

// handleEvent runs one event. Only for an unknown instance it closes without an answer: Kong
// then starts the instance again and repeats the event. A server that is leaving makes use
// of that.
func (c *conn) handleEvent(call eventCall) error {
	in, ok := c.server.instances.use(call.instance)
	if !ok {
		return errClosing
	}
	if c.server.sendsAway(in) {
		in.done(time.Now())
		return errClosing
	}
	e := &c.event
	e.begin(in.plugin.Answers)
	v := c.decide(in, call.phase)
	in.done(e.resumed)
	if !e.finish() {
		return errClosing // the deadline has answered, and closes
	}
	if e.fault != nil {
		v = faultVerdict(e.fault)
		c.server.logger.Error("request refused: Kong's reply to a PDK call could not be used", "reason", e.fault.Error())
	}
	if v.kind == verdictNone {
		c.server.logger.Error("request refused: the plugin reached no verdict", "reason", "no verdict")
		v = Fault()
	}
	in.plugin.Answers.count(v)
	if v.kind == verdictPass {
		return e.pass(call.sequence)
	}
	if err := e.exit(v); err != nil {
		return err
	}
	return errClosing
}

// decide runs the handler. It returns a verdict whatever the handler does.
func (c *conn) decide(in *instance, phase []byte) (v Verdict) {
	if string(phase) != phaseAccess {
		c.server.logger.Error("Kong asked for a phase that this plugin does not have", "reason", "phase")
		return Fault()
	}
	defer func() {
		if r := recover(); r != nil {
			c.server.logger.Error("request refused: the plugin panicked", "reason", panicReason(r))
			c.server.logger.Debug("panic", "stack", string(debug.Stack()))
			v = Fault().Because(ReasonPanic)
		}
	}()
	return in.handler.Access(&c.event)
}

// panicReason names a panic by its type. Only the runtime's own texts are shown, since any
// other value may hold what a client sent.
func panicReason(r any) string {
	if err, ok := r.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("%T", r)
}

// expire answers for a handler that has used up its time. The handler's own
// calls fail from here on, and its verdict is ignored.
func (c *conn) expire(now time.Time) {
	if !c.event.expire(now) {
		return
	}
	c.server.logger.Error("request refused: the plugin took too long", "reason", "deadline")
	go func() {
		defer c.exits.Done()
		if err := c.event.exit(Fault()); err != nil {
			c.server.logger.Debug("connection closed", "err", err)
		}
	}()
}

const phaseAccess = "access"
