package localhttp

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"kong-vault-auth/unixsocket"
)

// Address is where a Server listens. The zero Address is nowhere.
type Address struct {
	Network string // tcp or unix
	Address string // host:port, or a path
}

// Unix is the address of a socket at path; nowhere if that is empty.
func Unix(path string) Address {
	if path == "" {
		return Address{}
	}
	return Address{"unix", path}
}

// ParseAddress reads host:port, where an empty host stands for all of the machine's
// addresses, or unix:/path. An empty setting is the zero Address. Whether the address is
// free is not checked.
func ParseAddress(setting string) (Address, error) {
	if setting == "" {
		return Address{}, nil
	}
	if strings.HasPrefix(setting, "unix:") {
		path, err := unixsocket.ParsePath(setting, "unix:/run/kong/metrics.socket")
		return Unix(path), err
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

// String is the setting.
func (a Address) String() string {
	if a.Network == "unix" {
		return "unix:" + a.Address
	}
	return a.Address
}
