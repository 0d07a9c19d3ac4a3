package pluginserver

import "google.golang.org/protobuf/encoding/protowire"

// eventCall is an RpcCall that holds a CmdHandleEvent.
type eventCall struct {
	sequence int64
	instance int32
	phase    []byte
}

// decodeEvent reads the one call that every request makes, without the
// allocations of protobuf's own decoder. ok is false for every other call and for anything
// unusual: the caller then decodes it with protobuf's.
func decodeEvent(frame []byte) (c eventCall, ok bool) {
	const sequence, handleEvent = 1, 36 // RpcCall's fields
	for len(frame) > 0 {
		n, t, size := protowire.ConsumeTag(frame)
		if size < 0 {
			return c, false
		}
		frame = frame[size:]
		switch {
		case n == sequence && t == protowire.VarintType:
			v, size := protowire.ConsumeVarint(frame)
			if size < 0 {
				return c, false
			}
			c.sequence, frame = int64(v), frame[size:]
		case n == handleEvent && t == protowire.BytesType && !ok:
			cmd, size := protowire.ConsumeBytes(frame)
			if size < 0 || !c.decodeCommand(cmd) {
				return c, false
			}
			ok, frame = true, frame[size:]
		default:
			return c, false
		}
	}
	return c, ok
}

func (c *eventCall) decodeCommand(cmd []byte) bool {
	const instance, phase = 1, 2 // CmdHandleEvent's fields
	for len(cmd) > 0 {
		n, t, size := protowire.ConsumeTag(cmd)
		if size < 0 {
			return false
		}
		cmd = cmd[size:]
		switch {
		case n == instance && t == protowire.VarintType:
			v, size := protowire.ConsumeVarint(cmd)
			if size < 0 {
				return false
			}
			c.instance, cmd = int32(v), cmd[size:]
		case n == phase && t == protowire.BytesType:
			v, size := protowire.ConsumeBytes(cmd)
			if size < 0 {
				return false
			}
			c.phase, cmd = v, cmd[size:]
		default:
			return false
		}
	}
	return true
}
