package kongtest

import "net/netip"

var pdkNode = map[string]pdkFunc{
	"kong.node.get_id": func(*exchange, []any) (any, error) {
		return nodeID, nil
	},
	"kong.node.get_memory_stats": func(*exchange, []any) (any, error) {
		return map[string]any{"lua_shared_dicts": map[string]any{}, "workers_lua_vms": []any{}}, nil
	},
	"kong.ip.is_trusted": func(x *exchange, args []any) (any, error) {
		addr, err := netip.ParseAddr(text(args[0]))
		return err == nil && x.req.Trusted && addr == x.req.Client.Addr(), nil
	},
}

const nodeID = "7f3c2a5e-8d41-4b7c-9a0e-6b1d2c3e4f50"
