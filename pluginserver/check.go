package pluginserver

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"time"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
)

// checkTimeout is how long Check waits for an answer.
const checkTimeout = 2 * time.Second

// Check is a health check: it asks the plugin server at the command's socket for an answer. A
// socket's file alone proves little, since a server that was killed leaves it behind.
func (c *Command) Check(ctx context.Context) error {
	if err := askStatus(ctx, c.SocketPath); err != nil {
		return fmt.Errorf("no plugin server answers at %s: %w", c.SocketPath, err)
	}
	return nil
}

// askStatus asks for the status of an instance that does not exist, which costs
// nothing and changes nothing.
func askStatus(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })()
	call, err := proto.Marshal(&kong_plugin_protocol.RpcCall{Sequence: 1, Call: &kong_plugin_protocol.RpcCall_CmdGetInstanceStatus{
		CmdGetInstanceStatus: &kong_plugin_protocol.CmdGetInstanceStatus{},
	}})
	if err != nil {
		return err
	}
	if _, err := nc.Write(appendFrame(nil, call)); err != nil {
		return err
	}
	answer, err := readFrame(bufio.NewReader(nc), nil)
	if err != nil {
		return err
	}
	return proto.Unmarshal(answer, new(kong_plugin_protocol.RpcReturn))
}
