package servertest

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// Wire is the barest of Kong's sides, for benchmarks: it has its answers ready
// and does nothing that would be counted to the plugin server. Like Kong it
// writes a frame's length and content one by one, and reads through a buffer.
type Wire struct {
	Calls int // PDK calls of the last event
	Waits int // reads of the last event that found nothing buffered

	c       net.Conn
	r       *bufio.Reader
	call    []byte
	replies map[string][]byte
	head    [4]byte
	frame   []byte
}

// NewWire connects to a plugin server and starts an instance. replies are the
// answers to PDK calls by method, or else by the text that is their argument; a
// call without one is answered with an empty frame.
func NewWire(t testing.TB, socket, config string, replies map[string]proto.Message) *Wire {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	w := &Wire{c: c, r: bufio.NewReader(c), replies: map[string][]byte{}}
	for key, reply := range replies {
		if !strings.HasPrefix(key, "kong.") {
			key = string(marshal(t, &kong_plugin_protocol.String{V: key}))
		}
		w.replies[key] = marshal(t, reply)
	}
	start := &kong_plugin_protocol.RpcCall{Sequence: 1, Call: &kong_plugin_protocol.RpcCall_CmdStartInstance{
		CmdStartInstance: &kong_plugin_protocol.CmdStartInstance{Name: "plugin", Config: []byte(config)},
	}}
	if err := w.write(marshal(t, start)); err != nil {
		t.Fatal(err)
	}
	answer, err := w.read()
	if err != nil {
		t.Fatal(err)
	}
	var ret kong_plugin_protocol.RpcReturn
	if err := proto.Unmarshal(answer, &ret); err != nil {
		t.Fatal(err)
	}
	w.call = marshal(t, &kong_plugin_protocol.RpcCall{Sequence: 2, Call: &kong_plugin_protocol.RpcCall_CmdHandleEvent{
		CmdHandleEvent: &kong_plugin_protocol.CmdHandleEvent{InstanceId: ret.GetInstanceStatus().GetInstanceId(), EventName: "access"},
	}})
	return w
}

// Headers are the reply to kong.request.get_headers for lines such as "name:
// value", each of a name of its own.
func Headers(lines ...string) proto.Message {
	s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		s.Fields[name] = structpb.NewStringValue(value)
	}
	return s
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Event runs one event, which must end in a request that is proxied.
func (w *Wire) Event() error {
	w.Calls, w.Waits = 0, 0
	if err := w.write(w.call); err != nil {
		return err
	}
	for {
		method, err := w.read()
		if err != nil {
			return err
		}
		if len(method) == 0 {
			_, err := w.read() // RpcReturn
			return err
		}
		if string(method) == "kong.response.exit" {
			args, _ := w.read()
			return fmt.Errorf("the plugin answered the request itself: %q", args)
		}
		w.Calls++
		reply, known := w.replies[string(method)]
		arg, err := w.read()
		if err != nil {
			return err
		}
		if !known && len(arg) > 0 {
			reply = w.replies[string(arg)]
		}
		if err := w.write(reply); err != nil {
			return err
		}
	}
}

func (w *Wire) read() ([]byte, error) {
	if w.r.Buffered() == 0 {
		w.Waits++
	}
	if _, err := io.ReadFull(w.r, w.head[:]); err != nil {
		return nil, err
	}
	n := int(binary.LittleEndian.Uint32(w.head[:]))
	if cap(w.frame) < n {
		w.frame = make([]byte, n)
	}
	_, err := io.ReadFull(w.r, w.frame[:n])
	return w.frame[:n], err
}

func (w *Wire) write(frame []byte) error {
	binary.LittleEndian.PutUint32(w.head[:], uint32(len(frame)))
	if _, err := w.c.Write(w.head[:]); err != nil {
		return err
	}
	if len(frame) == 0 {
		return nil
	}
	_, err := w.c.Write(frame)
	return err
}
