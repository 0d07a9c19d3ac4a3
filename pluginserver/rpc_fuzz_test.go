package pluginserver

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
)

// asker asks for the headers and lets requests pass whose headers can be read.
type asker struct{ passed int }

func (*asker) Close() {}

func (a *asker) Access(e *Event) Verdict {
	if _, err := e.GetHeaders(100).Wait(); err != nil {
		return Fault()
	}
	a.passed++
	return Pass()
}

// FuzzRPC plays whatever Kong could send on a connection: the server must not
// panic, must come to an end, and must never end an event that its handler
// didn't let pass.
func FuzzRPC(f *testing.F) {
	call := func(m *kong_plugin_protocol.RpcCall) []byte {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		return appendFrame(nil, b)
	}
	event := call(&kong_plugin_protocol.RpcCall{Sequence: 7, Call: &kong_plugin_protocol.RpcCall_CmdHandleEvent{
		CmdHandleEvent: &kong_plugin_protocol.CmdHandleEvent{InstanceId: 1, EventName: phaseAccess},
	}})
	start := call(&kong_plugin_protocol.RpcCall{Sequence: 7, Call: &kong_plugin_protocol.RpcCall_CmdStartInstance{
		CmdStartInstance: &kong_plugin_protocol.CmdStartInstance{Name: "p", Config: []byte("{}")},
	}})
	headers := appendFrame(nil, appendHeader(nil, "a", "b"))
	f.Add(bytes.Join([][]byte{start, event, headers, event, headers}, nil))
	f.Add(bytes.Join([][]byte{event, appendFrame(nil, "\xff"), appendFrame(nil, ""), appendFrame(nil, "")}, nil))
	f.Add(event[:len(event)-1])
	f.Fuzz(func(t *testing.T, stream []byte) {
		h := &asker{}
		s := NewServer(Plugin{Start: func([]byte) (Handler, error) { return h, nil }}, Options{})
		s.instances.byID.Store(int32(1), &instance{id: 1, plugin: new(Plugin), handler: h})
		kong, ours := net.Pipe()
		var written bytes.Buffer
		read := make(chan struct{})
		go func() {
			defer close(read)
			_, _ = io.Copy(&written, kong)
		}()
		go func() {
			_, _ = kong.Write(stream) // fails where the server has closed
			kong.Close()
		}()
		newConn(s, ours).serve()
		<-read

		ended := 0
		for rest := written.Bytes(); ; {
			name, after, ok := cutFrame(rest)
			if !ok {
				break
			}
			if len(name) == 0 {
				ended++
			}
			rest = after
		}
		// An RpcReturn with sequence 0 is an empty frame too.
		if ended > 2*h.passed {
			t.Errorf("%d empty frames for %d events that were let pass", ended, h.passed)
		}
	})
}

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
