package unixsocket

import (
	"net"
	"path/filepath"
	"slices"
	"testing"

	"kong-vault-auth/unixsocket/sockettest"
)

func TestOnlyOwnUserRootAndGroupMayConnect(t *testing.T) {
	for name, tc := range map[string]struct {
		peer peer
		gid  int // -socket-group
		ok   bool
	}{
		"own user":           {peer: peer{uid: 1000}, gid: -1, ok: true},
		"root":               {peer: peer{uid: 0}, gid: -1, ok: true},
		"other user":         {peer: peer{uid: 1001, gid: 1001}, gid: -1},
		"group is its own":   {peer: peer{uid: 1001, gid: 7}, gid: 7, ok: true},
		"in group":           {peer: peer{uid: 1001, groups: []uint32{5, 7}}, gid: 7, ok: true},
		"not in group":       {peer: peer{uid: 1001, gid: 1001, groups: []uint32{5}}, gid: 7},
		"group is zero":      {peer: peer{uid: 1001, gid: 1001, groups: []uint32{5}}, gid: 0},
		"in no other groups": {peer: peer{uid: 1001, gid: 1001}, gid: 7},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tc.peer.mayConnect(1000, tc.gid); (err == nil) != tc.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestPeersGroupsAreTheKernels: of a user whom no name service knows.
func TestPeersGroupsAreTheKernels(t *testing.T) {
	many := make([]uint32, 1000) // more than there is room for at first
	for i := range many {
		many[i] = 100_000 + uint32(i)
	}
	for name, groups := range map[string][]uint32{"none": nil, "one": {4242}, "many": many} {
		t.Run(name, func(t *testing.T) {
			c := connectAs(t, groups)
			got, err := peerOf(c)
			if err != nil || got.uid != sockettest.Stranger || got.gid != sockettest.Stranger || !slices.Equal(got.groups, groups) {
				t.Errorf("%+v, %v; want groups %v", got, err, groups)
			}
			if err := PeerCheck(1000, -1)(c); err == nil {
				t.Error("a stranger may connect without -socket-group")
			}
			for _, group := range groups {
				if err := PeerCheck(1000, int(group))(c); err != nil {
					t.Errorf("group %d: %v", group, err)
				}
			}
		})
	}
}

// connectAs returns the server's side of a stranger's connection.
func connectAs(t *testing.T, groups []uint32) *net.UnixConn {
	t.Helper()
	s := listen(t, filepath.Join(sockettest.Dir(t), "s"))
	t.Cleanup(func() { s.Close() })
	sockettest.DialAs(t, s.path, groups...)
	c, err := s.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.UnixConn)
}

func TestGuardedLetsInNoStranger(t *testing.T) {
	for name, tt := range map[string]struct {
		group int
		in    bool
	}{
		"without a group":     {-1, false},
		"of another group":    {7, false},
		"of the group itself": {sockettest.Stranger, true},
	} {
		t.Run(name, func(t *testing.T) {
			var refused error
			l := &Guarded{Socket: listen(t, filepath.Join(sockettest.Dir(t), "s")), Group: tt.group, Refused: func(err error) { refused = err }}
			defer l.Close()
			stranger := sockettest.DialAs(t, l.path)
			friend, err := net.Dial("unix", l.path)
			if err != nil {
				t.Fatal(err)
			}
			defer friend.Close()
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if in := c.RemoteAddr() == (Peer{sockettest.Stranger}); in != tt.in || (refused == nil) != tt.in {
				t.Fatalf("the first to get in is %s, and the refusal %v", c.RemoteAddr(), refused)
			}
			if tt.in {
				return
			}
			if n, err := stranger.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Error("the stranger's connection is open")
			}
		})
	}
}
