package kongtest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
)

// Client calls a plugin server as one Kong worker does. It keeps connections
// whose last call ended well for further calls, and is safe for concurrent
// use. Its fields may be set before the first call.
type Client struct {
	Socket  string        // path of the plugin server's unix socket
	Timeout time.Duration // of each connect, read and write; 60 s as nginx's
	MaxIdle int           // connections kept, 256 as in Kong

	sequence atomic.Int64
	mu       sync.Mutex
	idle     []*connection // the last one is used first
	busy     map[*connection]bool
	closed   bool
}

// NewClient returns a client for the plugin server at a unix socket. It
// doesn't connect yet.
func NewClient(socket string) *Client {
	return &Client{Socket: socket, Timeout: time.Minute, MaxIdle: 256}
}

// AwaitReady waits until the socket is being listened on, or ctx ends. Kong
// itself never waits for a plugin server: until it listens, requests are 500.
func (c *Client) AwaitReady(ctx context.Context) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		conn, err := dial(c.Socket, c.Timeout)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("plugin server at %s: %w (last error: %v)", c.Socket, ctx.Err(), err)
		case <-time.After(pause):
		}
	}
}

// Close closes the connections that no event uses.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, conn := range c.idle {
		conn.Close()
	}
	c.idle = nil
}

// Abort closes all connections, also those in use, as a worker does that dies.
func (c *Client) Abort() {
	c.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.busy {
		conn.Close()
	}
}

// StartInstance starts an instance of the plugin with a configuration in JSON
// and returns its id. A plugin that refuses the configuration can only
// close the connection: a *CallError saying "closed".
func (c *Client) StartInstance(plugin string, config []byte) (id int, err error) {
	ret, err := c.call(&pb.RpcCall{Call: &pb.RpcCall_CmdStartInstance{
		CmdStartInstance: &pb.CmdStartInstance{Name: plugin, Config: config},
	}}, nil)
	if err != nil {
		return 0, err
	}
	status := ret.GetInstanceStatus()
	if status == nil {
		return 0, raise("attempt to index field 'instance_status' (a nil value)")
	}
	return int(status.InstanceId), nil
}

// CloseInstance tells the plugin server that an instance isn't used any more.
func (c *Client) CloseInstance(id int) error {
	_, err := c.call(&pb.RpcCall{Call: &pb.RpcCall_CmdCloseInstance{
		CmdCloseInstance: &pb.CmdCloseInstance{InstanceId: int32(id)},
	}}, nil)
	return err
}

// HandleEvent runs one event of an instance on a request and returns what the
// plugin made of it. The error is a *CallError or a *LuaError; with one, Kong
// would not proxy the request, and the Outcome holds what was done until then.
func (c *Client) HandleEvent(id int, phase string, r *Request) (Outcome, error) {
	x := NewExchange(r)
	defer x.Close()
	err := c.RunEvent(id, phase, x)
	out := x.Outcome()
	out.Serialized = x.Serialized()
	return out, err
}

// RunEvent runs one event of an instance on a request that other plugins may
// have worked on before. Its errors are those of HandleEvent.
func (c *Client) RunEvent(id int, phase string, x *Exchange) error {
	_, err := c.call(&pb.RpcCall{Call: &pb.RpcCall_CmdHandleEvent{
		CmdHandleEvent: &pb.CmdHandleEvent{InstanceId: int32(id), EventName: phase},
	}}, x)
	return err
}

// call sends one RpcCall, serves the PDK calls of an event, and reads the
// RpcReturn. It returns nil without an error when the plugin has exited.
func (c *Client) call(m *pb.RpcCall, x *Exchange) (*pb.RpcReturn, error) {
	m.Sequence = c.sequence.Add(1)
	request, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding a call: %w", err)
	}
	conn, err := c.get()
	if err != nil {
		return nil, err
	}
	reusable := false
	defer func() {
		switch {
		case reusable:
			c.put(conn)
		case x != nil && x.Exit != nil && x.Request.Done != nil:
			go func() {
				<-x.Request.Done
				c.drop(conn)
			}()
		default:
			c.drop(conn)
		}
	}()
	if err := conn.writeFrame(request); err != nil {
		return nil, err
	}
	if x != nil {
		conn.waits = 0
		err := x.serve(conn)
		x.waits += conn.waits
		if err != nil || x.Exit != nil {
			return nil, err
		}
		conn.waits = 0
	}
	reply, err := conn.readFrame()
	if x != nil {
		x.waits += conn.waits
	}
	if err != nil {
		return nil, err
	}
	ret := new(pb.RpcReturn)
	if err := proto.Unmarshal(reply, ret); err != nil {
		return nil, raise("decoding the return of sequence %d: %v", m.Sequence, err)
	}
	if ret.Sequence != m.Sequence {
		return nil, raise("assertion failed! (sequence %d returned, %d called)", ret.Sequence, m.Sequence)
	}
	reusable = true
	return ret, nil
}

// get takes a pooled connection that is still open, or dials.
func (c *Client) get() (*connection, error) {
	for {
		c.mu.Lock()
		n := len(c.idle)
		if n == 0 {
			c.mu.Unlock()
			conn, err := dial(c.Socket, c.Timeout)
			if err == nil {
				c.hold(conn)
			}
			return conn, err
		}
		conn := c.idle[n-1]
		c.idle = c.idle[:n-1]
		c.mu.Unlock()
		if time.Since(conn.idle) < time.Minute && conn.alive() {
			c.hold(conn)
			return conn, nil
		}
		conn.Close()
	}
}

func (c *Client) hold(conn *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy == nil {
		c.busy = map[*connection]bool{}
	}
	c.busy[conn] = true
}

func (c *Client) drop(conn *connection) {
	c.mu.Lock()
	delete(c.busy, conn)
	c.mu.Unlock()
	conn.Close()
}

// put gives a connection back. In a full pool it takes the place of the one unused for longest.
func (c *Client) put(conn *connection) {
	conn.idle = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.busy, conn)
	if c.closed || c.MaxIdle == 0 {
		conn.Close()
		return
	}
	if len(c.idle) == c.MaxIdle {
		c.idle[0].Close()
		c.idle = append(c.idle[:0], c.idle[1:]...)
	}
	c.idle = append(c.idle, conn)
}

// CallError is a call to the plugin server that returned an error to Kong's
// code: the connection failed, or the plugin asked for a method that doesn't
// exist. Kong answers 500, or runs the event again, see Retried.
type CallError struct {
	Message string // as Kong would log it: "closed", "timeout", `method "x" not found`
	Err     error  // the cause, if it has one
}

// Error returns the message.
func (e *CallError) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *CallError) Unwrap() error { return e.Err }

// Retried reports whether Kong, on this error in an event, drops the plugin's
// instances in all workers and runs the event again, however often.
func (e *CallError) Retried() bool {
	m := strings.ToLower(e.Message)
	return strings.Contains(m, "no plugin instance") || strings.Contains(m, "closed")
}

// LuaError is an error raised in Kong's Lua code: by a PDK function that
// refuses its arguments, by a reply that can't be encoded, or by a write to a
// socket that the plugin has closed. It aborts the event, and Kong answers
// 500.
type LuaError struct{ Message string }

// Error returns the message.
func (e *LuaError) Error() string { return e.Message }

func raise(format string, args ...any) error {
	return &LuaError{fmt.Sprintf(format, args...)}
}
