package nginxlua

import (
	"context"
	"net"
	"net/http"
)

// transport reaches a unix socket, whatever the host.
func transport(socket string) *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
}
