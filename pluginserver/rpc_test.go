package pluginserver

import (
	"testing"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
)

// FuzzDecodeEvent compares with protobuf's decoder: what is decoded here must
// mean the same there.
func FuzzDecodeEvent(f *testing.F) {
	for _, m := range []*kong_plugin_protocol.RpcCall{
		{Sequence: 7, Call: &kong_plugin_protocol.RpcCall_CmdHandleEvent{CmdHandleEvent: &kong_plugin_protocol.CmdHandleEvent{InstanceId: 1<<31 - 1, EventName: "access"}}},
		{Sequence: -1, Call: &kong_plugin_protocol.RpcCall_CmdHandleEvent{CmdHandleEvent: &kong_plugin_protocol.CmdHandleEvent{InstanceId: -1}}},
		{Sequence: 7, Call: &kong_plugin_protocol.RpcCall_CmdCloseInstance{CmdCloseInstance: &kong_plugin_protocol.CmdCloseInstance{InstanceId: 1}}},
		{},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		got, ok := decodeEvent(frame)
		if !ok {
			return
		}
		var m kong_plugin_protocol.RpcCall
		if err := proto.Unmarshal(frame, &m); err != nil {
			if string(got.phase) == phaseAccess {
				t.Fatalf("%x was read as %+v, protobuf says: %v", frame, got, err)
			}
			return // a phase that isn't UTF-8: no phase of ours
		}
		want := m.GetCmdHandleEvent()
		if want == nil || got.sequence != m.Sequence || got.instance != want.InstanceId || string(got.phase) != want.EventName {
			t.Errorf("%x was read as %+v, protobuf says: %v", frame, got, &m)
		}
	})
}

func TestTheUsualCallIsDecodedWithoutAllocating(t *testing.T) {
	frame, err := proto.Marshal(&kong_plugin_protocol.RpcCall{Sequence: 300, Call: &kong_plugin_protocol.RpcCall_CmdHandleEvent{
		CmdHandleEvent: &kong_plugin_protocol.CmdHandleEvent{InstanceId: 12345, EventName: phaseAccess},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if c, ok := decodeEvent(frame); !ok || c.sequence != 300 || c.instance != 12345 || string(c.phase) != phaseAccess {
			t.Fatalf("%+v, %v", c, ok)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
