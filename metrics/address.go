package metrics

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"kong-vault-auth/pluginserver"
)

// Address is where metrics are served. The zero Address is nowhere.
type Address struct{ network, address string }

// maxSocketPath is the longest path, in bytes, that ParseAddress takes: a unix
// socket's may have 107, and ours is first made under a longer name.
const maxSocketPath = 90

// ParseAddress reads host:port, where no host stands for all of the machine's
// addresses, or unix:/path. An empty setting is the zero Address. Whether the
// address can be had is not asked yet.
func ParseAddress(setting string) (Address, error) {
	if setting == "" {
		return Address{}, nil
	}
	if path, ok := strings.CutPrefix(setting, "unix:"); ok {
		switch {
		case !filepath.IsAbs(path) || filepath.Base(path) == "/":
			return Address{}, fmt.Errorf("a socket must be given by its whole path, such as unix:/run/kong/metrics.socket, not %.100q", setting)
		case len(path) > maxSocketPath:
			return Address{}, fmt.Errorf("a socket's path may have %d bytes, %.100q has %d", maxSocketPath, path, len(path))
		}
		return Address{"unix", filepath.Clean(path)}, nil
	}
	host, port, err := net.SplitHostPort(setting)
	if n, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil || n == 0 || !isHost(host) {
		return Address{}, fmt.Errorf("it must be host:port, such as 127.0.0.1:9542, or unix:/path, not %.100q", setting)
	}
	return Address{"tcp", setting}, nil
}

// isHost reports whether a host is empty, an IP address, or looks like a name.
func isHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return strings.Trim(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_") == ""
}

// socketMode lets Kong's user and its group scrape.
const socketMode fs.FileMode = 0o660

// listen listens at the address. A socket's path is taken over from whoever has
// it, as that of the plugin server itself is at a kong reload; a port can't be.
// ctx ends the wait for a name server.
func (a Address) listen(ctx context.Context) (net.Listener, error) {
	if a.network == "tcp" {
		var c net.ListenConfig
		return c.Listen(ctx, "tcp", a.address)
	}
	info, err := os.Lstat(a.address)
	switch {
	case err == nil && info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is there already, and is not a socket: choose another path", a.address)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return pluginserver.ListenSocket(a.address, socketMode, -1)
}

// String is the setting.
func (a Address) String() string {
	if a.network == "unix" {
		return "unix:" + a.address
	}
	return a.address
}
