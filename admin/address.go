package admin

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Listener says where the API listens, and who may use it.
type Listener struct {
	Address    string   // unix:PATH, or HOST:PORT
	BearerFile string   // bearer tokens, one a line; not for a unix socket
	CertFile   string   // of TLS
	KeyFile    string   // of TLS
	Hosts      []string // host names of the API, in addition to the address
}

// socket is the path of a unix socket.
func (l *Listener) socket() (path string, isSocket bool) {
	return strings.CutPrefix(l.Address, "unix:")
}

// check refuses a listener that would let in anybody.
func (l *Listener) check() error {
	if path, isSocket := l.socket(); isSocket {
		switch {
		case !filepath.IsAbs(path):
			return errors.New("the address must be unix: and the absolute path of a socket, such as unix:/run/kong/vault-auth-admin.socket")
		case l.BearerFile != "" || l.CertFile != "" || l.KeyFile != "":
			return errors.New("a unix socket takes no bearer token and no TLS: its mode 0600 lets in only this user and root")
		}
		return nil
	}
	host, port, err := net.SplitHostPort(l.Address)
	if n, errPort := strconv.Atoi(port); err != nil || errPort != nil || n < 0 || n > 65535 || host == "" {
		return errors.New("the address must be unix:PATH, or a host and a port such as 127.0.0.1:8010")
	}
	switch {
	case l.BearerFile == "":
		return fmt.Errorf("anyone who can connect to %s could change credentials: name a file of bearer tokens, or listen on a unix socket", l.Address)
	case (l.CertFile == "") != (l.KeyFile == ""):
		return errors.New("TLS needs a certificate and its key")
	case !isLoopback(host) && l.CertFile == "":
		return fmt.Errorf("%s can be reached from other machines: give it a certificate and its key, or listen on 127.0.0.1 or a unix socket", l.Address)
	}
	return nil
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// serves reports whether a request's Host is a name of this listener. A request that a
// web page causes by DNS rebinding has the page's host instead.
func (l *Listener) serves(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.Trim(name, "[]")
	own, _, _ := net.SplitHostPort(l.Address)
	if strings.EqualFold(name, own) || isLoopback(own) && (isLoopback(name) || strings.EqualFold(name, "localhost")) {
		return true
	}
	return slices.ContainsFunc(l.Hosts, func(h string) bool { return strings.EqualFold(name, h) })
}
