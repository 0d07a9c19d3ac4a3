package kongtest

import (
	"context"
	"fmt"
	"time"
)

// AwaitReady waits until the socket is being listened on, or ctx ends. Kong
// itself never waits for a plugin server: until it listens, requests are 500.
func (c *Client) AwaitReady(ctx context.Context) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		conn, err := dial(c.Socket, c.Timeout)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("plugin server at %s: %w (last error: %v)", c.Socket, ctx.Err(), err)
		case <-time.After(pause):
		}
	}
}
