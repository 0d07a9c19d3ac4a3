package unixsocket

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// PeerCheck returns a check that a peer is the user uid, root, or, if gid is not negative, in
// that group. It asks the kernel for the peer's groups: in a container there is often no
// passwd entry to look them up in.
func PeerCheck(uid, gid int) func(*net.UnixConn) error {
	return func(c *net.UnixConn) error {
		p, err := peerOf(c)
		if err != nil {
			return fmt.Errorf("who the peer is can't be read: %w", err)
		}
		return p.mayConnect(uid, gid)
	}
}

// Peer is the remote address of a connection that Guarded has let in.
type Peer struct{ UID int }

// Network implements net.Addr.
func (Peer) Network() string { return "unix" }

// String names the user: uid:0.
func (p Peer) String() string { return fmt.Sprintf("uid:%d", p.UID) }

// Guarded is a listener that lets in this process's user, root and, if Group is not
// negative, the members of a group. The remote addresses of its connections are Peers.
type Guarded struct {
	*Socket
	Group   int
	Refused func(error) // is called for every other peer
}

// Accept waits for the next connection that may be let in.
func (l *Guarded) Accept() (net.Conn, error) {
	for {
		c, err := l.Socket.Accept()
		if err != nil {
			return nil, err
		}
		p, err := peerOf(c.(*net.UnixConn))
		if err == nil {
			err = p.mayConnect(os.Getuid(), l.Group)
		}
		if err != nil {
			l.Refused(err)
			c.Close()
			continue
		}
		return peerConn{c, Peer{int(p.uid)}}, nil
	}
}

type peerConn struct {
	net.Conn
	peer Peer
}

func (c peerConn) RemoteAddr() net.Addr { return c.peer }

// peer is the process at the other end of a connection, as it was when it
// connected.
type peer struct {
	uid, gid uint32
	groups   []uint32 // supplementary ones
}

func (p peer) mayConnect(uid, gid int) error {
	if p.uid == 0 || int(p.uid) == uid {
		return nil
	}
	if gid >= 0 && (int(p.gid) == gid || slices.Contains(p.groups, uint32(gid))) {
		return nil
	}
	allowed := fmt.Sprintf("uid %d and root", uid)
	if gid >= 0 {
		allowed += fmt.Sprintf(" and group %d", gid)
	}
	return fmt.Errorf("peer has uid %d, gid %d and groups %v; only %s may connect", p.uid, p.gid, p.groups, allowed)
}

func peerOf(c *net.UnixConn) (p peer, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return p, err
	}
	ctlErr := raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err != nil {
			return
		}
		p.uid, p.gid = cred.Uid, cred.Gid
		p.groups, err = peerGroups(fd)
	})
	return p, errors.Join(ctlErr, err)
}

// peerGroups reads SO_PEERGROUPS, an array of group ids for which x/sys has no
// function.
func peerGroups(fd uintptr) ([]uint32, error) {
	groups := make([]uint32, 64)
	for {
		size := uint32(len(groups)) * 4 // bytes; the kernel writes how many it has
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(unsafe.SliceData(groups))), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return groups[:size/4], nil
		case errno != unix.ERANGE || int(size/4) <= len(groups):
			return nil, errno
		}
		groups = make([]uint32, size/4)
	}
}
