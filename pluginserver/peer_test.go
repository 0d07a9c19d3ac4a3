package pluginserver

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
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
	if os.Getuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	const stranger = 54321
	many := make([]uint32, 1000) // more than there is room for at first
	for i := range many {
		many[i] = 100_000 + uint32(i)
	}
	for name, groups := range map[string][]uint32{"none": nil, "one": {4242}, "many": many} {
		t.Run(name, func(t *testing.T) {
			c := connectAs(t, stranger, groups)
			got, err := peerOf(c)
			if err != nil || got.uid != stranger || got.gid != stranger || !slices.Equal(got.groups, groups) {
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

// connectAs returns the server's side of a connection that a user made.
func connectAs(t *testing.T, id uintptr, groups []uint32) *net.UnixConn {
	t.Helper()
	path := filepath.Join(socketDir(t), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	for path, mode := range map[string]os.FileMode{path: 0o666, filepath.Dir(path): 0o755} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	dialed := make(chan error, 1)
	go func() {
		// The thread becomes that user, and ends with this goroutine.
		runtime.LockOSThread()
		dialed <- func() error {
			for _, call := range [][4]uintptr{
				{unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(unsafe.SliceData(groups)))},
				{unix.SYS_SETRESGID, id, id, id},
				{unix.SYS_SETRESUID, id, id, id},
			} {
				if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
					return errno
				}
			}
			c, err := net.Dial("unix", path)
			if err == nil {
				t.Cleanup(func() { c.Close() })
			}
			return err
		}()
	}()
	if err := <-dialed; err != nil {
		t.Fatal(err)
	}
	c, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
