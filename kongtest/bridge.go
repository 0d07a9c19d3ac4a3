package kongtest

import (
	"fmt"
	"maps"
)

// pdkFunc is a PDK function as far as a plugin server can call it. It takes the
// call's arguments and returns a Lua value, or raises a LuaError.
type pdkFunc func(*exchange, []any) (any, error)

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
func (x *exchange) serve(c *connection) error {
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
		if err != nil || x.exit != nil {
			return err // an exit never returns to the loop: Kong answers the client
		}
		if err := c.writeFrame(reply); err != nil {
			return err
		}
	}
}

func (x *exchange) call(name string, args []byte) ([]byte, error) {
	m, ok := methods()[name]
	if !ok {
		return nil, &CallError{Message: fmt.Sprintf("method %q not found", name)}
	}
	x.calls = append(x.calls, name)
	a, err := m.unwrap(args)
	if err != nil {
		return nil, err
	}
	f, ok := pdk[name]
	if !ok {
		return nil, raise("function %s cannot be called in access phase", name)
	}
	v, err := f(x, a)
	if err != nil {
		return nil, err
	}
	return m.wrap(v)
}
