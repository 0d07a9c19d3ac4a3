package kongtest

import (
	"fmt"
	"maps"
)

// pdkFunc is a PDK function that a plugin server can call. It takes the
// call's arguments and returns a Lua value, or raises a LuaError.
type pdkFunc func(*Exchange, []any) (any, error)

// pdk holds the functions by name.
var pdk = func() map[string]pdkFunc {
	all := map[string]pdkFunc{}
	for _, module := range []map[string]pdkFunc{
		pdkClient, pdkContext, pdkLog, pdkNode, pdkRequest, pdkResponse, pdkRouter, pdkService, pdkServiceRequest,
	} {
		maps.Copy(all, module)
	}
	return all
}()

// serve answers an event's PDK calls, one after the other, until the plugin
// ends the event or exits.
func (x *Exchange) serve(c *connection) error {
	for {
		name, err := c.readFrame()
		if err != nil {
			return err
		}
		if len(name) == 0 {
			return nil
		}
		args, err := c.readFrame()
		if err != nil {
			return err
		}
		reply, err := x.call(string(name), args)
		if err != nil || x.Exit != nil {
			return err // an exit never returns to the loop: Kong answers the client
		}
		if err := c.writeFrame(reply); err != nil {
			return err
		}
	}
}

// PDK calls a PDK function as a plugin in Lua does, with Lua values: nil, bool,
// float64, string, []any and map[string]any. All arguments must be given. The
// call isn't among the Calls of the Outcome.
func (x *Exchange) PDK(name string, args ...any) (any, error) {
	f, ok := pdk[name]
	if !ok {
		return nil, raise("function %s cannot be called in access phase", name)
	}
	return f(x, args)
}

func (x *Exchange) call(name string, args []byte) ([]byte, error) {
	m, ok := methods()[name]
	if !ok {
		return nil, &CallError{Message: fmt.Sprintf("method %q not found", name)}
	}
	x.calls = append(x.calls, name)
	a, err := m.unwrap(args)
	if err != nil {
		return nil, err
	}
	v, err := x.PDK(name, a...)
	if err != nil {
		return nil, err
	}
	return m.wrap(v)
}
