package unixsocket

import (
	"context"
	"net"
	"net/http"
)

// Transport is HTTP over the socket at path, whatever host a request names. Each request
// has a connection of its own, since another server may take the path over at any time.
func Transport(path string) *http.Transport {
	return &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}
}
